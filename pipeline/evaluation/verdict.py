"""What is concluded from differences that are shown together: corrected p-values, intervals to match, and answers.

How one difference varies is left to `variation`, how it is shown to the report.

Sources: Holm 1979, "A simple sequentially rejective multiple test procedure"; Dror et al. 2018, "The hitchhiker's guide
to testing statistical significance in natural language processing".
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.evaluation.results import BETTER, UNDECIDED, WORSE
from pipeline.evaluation.variation import Estimate, Variation

MOST_ITEMS, MOST_SEEDS = 10**9, 1_000  # that a plan may ask for
PLANNED_SEEDS = (2, 3, 5, 10, 20)


def answer(difference: float, p_adjusted: float, confidence: float) -> str:
    """The one rule: better or worse if the corrected p-value is at most 1 - confidence, or else not told apart."""
    if p_adjusted > round(1 - confidence, 9):
        return UNDECIDED
    return BETTER if difference > 0 else WORSE


def family(estimates: Sequence[Estimate], confidence: float) -> list[dict[str, Any]]:
    """What each difference comes to if all of these are shown.

    Keys: difference; p_value, and p_adjusted for the number of differences, by Holm's method; low and high of the
    interval at level `level`, which excludes zero exactly if p_adjusted is at most 1 - confidence; answer; probability
    that a further training of the first is more accurate than one of the other, None if there is one seed;
    detectable, the difference that this test finds with a probability of 80%.
    """
    p_values = np.array([float(one.p_value) for one in estimates])
    order, steps = np.argsort(p_values, kind="stable"), np.arange(len(p_values), 0, -1)
    factors = np.empty(len(p_values))  # by which Holm's method multiplies
    sure = np.maximum(p_values[order], np.finfo(float).tiny)
    factors[order] = np.maximum.accumulate(steps * sure) / sure
    rows = []
    for one, p_value, factor in zip(estimates, p_values.tolist(), factors.tolist(), strict=True):
        difference, p_adjusted = float(one.difference), min(1.0, p_value * factor)
        level = 1 - (1 - confidence) / factor
        low, high = map(float, one.interval(level))
        ends = {"difference": difference, "low": low, "high": high, "level": level}
        judged = {"p_value": p_value, "p_adjusted": p_adjusted, "answer": answer(difference, p_adjusted, confidence)}
        known = {"probability": float(one.probability) if one.knows_seeds else None}
        known |= {"detectable": one.variation.detectable(one.items, one.seeds, level) if one.items > 1 else None}
        rows.append(ends | judged | known)
    return rows


def plan(variation: Variation, level: float, wanted: float, items: int, seeds: int) -> dict[str, Any]:
    """How large a test has to be to find a difference of `wanted`, a fraction, with a probability of 80%.

    Keys: items, by number of seeds, test items that it takes with so many, None where no number suffices; seeds, that
    it takes with as many items as now, None where no number suffices.
    """

    def finds(items: int, seeds: int) -> bool:
        return variation.detectable(items, seeds, level) <= wanted

    counts = sorted({*PLANNED_SEEDS, seeds} - {1}) if seeds > 1 else [1]
    return {
        "items": {count: _smallest(lambda items, count=count: finds(items, count), MOST_ITEMS) for count in counts},
        "seeds": _smallest(lambda seeds: finds(items, seeds), MOST_SEEDS) if seeds > 1 else None,
    }


def _smallest(suffices: Any, most: int) -> int | None:
    """The smallest number from 2 to `most` that suffices, if all larger ones do as well; None if `most` does not."""
    if not suffices(most):
        return None
    low, high = 1, most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if suffices(middle) else (middle, high)
    return high


def as_json(variation: Variation) -> dict[str, Any]:
    """The variances of one difference, for metrics.json."""
    return {name: np.asarray(getattr(variation, name)).tolist() for name in ("item", "training", "residual")}


def from_json(content: Mapping[str, Any]) -> Variation:
    """What `as_json` wrote."""
    return Variation(content["item"], np.array(content["training"]), np.array(content["residual"]))
