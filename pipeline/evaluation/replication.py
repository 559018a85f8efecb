"""In how many of several data sets one strategy is better than another, with an error rate for the count.

Source: Dror et al. 2017, "Replicability analysis for natural language processing: testing significance with multiple
data sets" (partial conjunction; Bonferroni for data sets that may depend on each other, Fisher for independent ones).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc

from pipeline.errors import UserError
from pipeline.evaluation.results import BETTER, COMPARISONS, VERDICT, WORSE, Metrics, strategies


def at_least(p_values: Sequence[float], error: float, independent: bool = False) -> int:
    """In how many data sets an effect exists at least; too large a number with a probability of at most `error`.

    p_values: one-sided, one for each data set. independent: whether the data sets have no text in common, for
    Fisher's method; Bonferroni's needs no such thing, and its effects exist in the data sets with the smallest values.
    """
    p = np.sort(np.maximum(p_values, np.finfo(float).tiny))
    left = np.arange(len(p), 0, -1)  # data sets besides the u - 1 with the smallest p-values
    conjunction = chdtrc(2 * left, -2 * np.cumsum(np.log(p[::-1]))[::-1]) if independent else left * p
    return int(np.count_nonzero(np.maximum.accumulate(conjunction) <= error))


def found(p_values: Sequence[float], error: float) -> NDArray[np.bool_]:
    """The data sets that Bonferroni's count consists of (Holm's method)."""
    places = np.argsort(p_values, kind="stable")[: at_least(p_values, error)]
    return np.isin(np.arange(len(p_values)), places)


@dataclass(frozen=True)
class Replication:
    """One comparison in several data sets.

    rows: of each data set its name, items, seeds and the numbers of `verdict.family` for the difference better - than.
    error: of a count in one direction; both together err with 1 - confidence.
    """

    better: str
    than: str
    rows: list[dict[str, Any]]
    error: float

    @classmethod
    def of(cls, comparisons: Mapping[str, Metrics], better: str | None = None, than: str | None = None) -> Self:
        """Compare two strategies in all comparisons; default: the first two that the first verdict compares.

        Raises `UserError` if a comparison lacks one of them.
        """
        first = next(iter(comparisons.values()))
        (shown,) = first[VERDICT]["differences"][:1] or [{"name": strategies(first)[0], "other": strategies(first)[0]}]
        better, than = str(better or shown["name"]), str(than or shown["other"])
        rows = []
        for name, metrics in comparisons.items():
            if better == than or not {better, than} <= {*(existing := strategies(metrics))}:
                compared = f"{name} does not compare {better} with {than} (compared: {', '.join(existing)})"
                raise UserError(f"{compared}: use --better and --than")
            row = {"data": name, "items": metrics[better]["items"], "seeds": metrics[better]["seeds"]}
            rows.append(row | two_level(metrics, better, than))
        return cls(better, than, rows, (1 - first[better]["confidence"]) / 2)

    def p_values(self, of_better: bool = True) -> list[float]:
        """One-sided p-values, that `better` is better, or that `than` is."""
        towards = [(row["difference"] > 0) == of_better for row in self.rows]
        return [
            row["p_value"] / 2 if yes else 1 - row["p_value"] / 2 for yes, row in zip(towards, self.rows, strict=True)
        ]


def two_level(metrics: Metrics, name: str, other: str) -> dict[str, Any]:
    """The difference name - other for new items and seeds, by itself: numbers of `verdict.family`, and variances."""
    if row := metrics[COMPARISONS].get(f"{name}_vs_{other}"):
        return dict(row["two_level"])
    row = metrics[COMPARISONS][f"{other}_vs_{name}"]["two_level"]
    turned = {"difference": -row["difference"], "low": -row["high"], "high": -row["low"]}
    turned["answer"] = {BETTER: WORSE, WORSE: BETTER}.get(row["answer"], row["answer"])
    known = row["probability"] is not None
    sides = {key: row[key][::-1] for key in ("training", "residual")}
    return {**row, **turned, **sides, "probability": 1 - row["probability"] if known else None}
