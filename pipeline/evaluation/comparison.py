"""The comparison of strategies: from the scores of single runs to the numbers of metrics.json and tables of them.

How one number is computed belongs to `metrics`, learning curves to `curves`, words to `summary` and `examples`, plots
to `figures`, files to `report`. Strategies are plain strings. Any number of them can be compared: each with all that
come before it in `ORDER`, then in order of appearance.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from pipeline.evaluation.metrics import (
    CONFIDENCE,
    RESAMPLES,
    character_error_rate,
    expected_calibration_error,
    paired_difference,
    reliability_curve,
    word_accuracy,
)
from pipeline.evaluation.results import COMPARISONS, CONTROLS, ENSEMBLES, ORDER, Metrics, rows, strategies

BUCKETS = 5  # of source lengths


@dataclass(frozen=True, eq=False)
class RunResult:
    """What one strategy did with one seed on the test set; or an ensemble of its seeds, or a control, with seed 0.

    confidences: the probability, in [0, 1], that each prediction is right; None where it is not known. orders: bool
    [items], which items are right where another order of the candidates decides.
    """

    strategy: str
    seed: int
    sources: Sequence[str]
    targets: Sequence[str]
    predictions: Sequence[str]
    scores: pd.DataFrame  # as `scoring.score` returns it, one row per test item
    steps: int  # in all, those of pretraining included
    paired_steps: int  # of these, batches of pairs
    seconds: float
    history: pd.DataFrame = field(default_factory=pd.DataFrame)  # columns step, dev_word_accuracy, ...
    log_probabilities: Sequence[float] | None = None  # of the predictions
    confidences: Sequence[float] | None = None
    orders: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)


def by_strategy(results: Iterable[RunResult]) -> dict[str, list[RunResult]]:
    """The runs of each strategy by seed; the strategies of `ORDER` first.

    Raises ValueError if there are no runs, a run stands there twice, or runs were tested on different items.
    """
    groups: dict[str, list[RunResult]] = {}
    for result in results:
        groups.setdefault(result.strategy, []).append(result)
    if not groups:
        raise ValueError("there are no runs to compare")
    if reserved := {COMPARISONS, ENSEMBLES, CONTROLS}.intersection(groups):
        raise ValueError(f"a strategy cannot be named {reserved.pop()!r}")
    first = next(iter(groups.values()))[0]
    for strategy, runs in groups.items():
        if len({run.seed for run in runs}) < len(runs):
            raise ValueError(f"strategy {strategy!r} has two runs of one seed")
        for run in runs:
            if list(run.sources) != list(first.sources) or list(run.targets) != list(first.targets):
                raise ValueError(f"{strategy!r} with seed {run.seed} was tested on other items than {first.strategy!r}")
            if not len(run.sources) == len(run.predictions) == len(run.scores) > 0:
                raise ValueError(f"{strategy!r} with seed {run.seed} lacks predictions or scores of some items")
    names = sorted(groups, key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER))
    return {name: sorted(groups[name], key=lambda run: run.seed) for name in names}


def compare(
    results: Iterable[RunResult],
    seen: Sequence[bool],
    source_lengths: Sequence[int],
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
    seed: int = 0,
    ensembles: Iterable[RunResult] = (),
    controls: Iterable[RunResult] = (),
) -> Metrics:
    """The content of metrics.json: every strategy by its name, `ensembles`, `controls` and `comparisons`.

    seen: per test item, whether its target is among the unpaired ones. source_lengths: its symbols. Accuracies, rates
    and the expected calibration error (seeds pooled) are fractions; steps and seconds are means over seeds. Every
    number is resampled with a fresh generator of `seed`, so that one more strategy leaves the numbers of the others as
    they are.
    """
    groups = by_strategy(results)
    seen_items = np.asarray(seen, dtype=bool)
    lengths = np.asarray(source_lengths, dtype=np.int64)
    items = len(next(iter(groups.values()))[0].targets)
    if not len(seen_items) == len(lengths) == items:
        raise ValueError(f"{items} test items, but {len(seen_items)} marks of seen ones and {len(lengths)} lengths")
    buckets = length_buckets(lengths)
    correct = {name: stacked(runs, "correct") for name, runs in groups.items()}

    def accuracy(scores: ArrayLike) -> dict[str, float]:
        return asdict(word_accuracy(scores, np.random.default_rng(seed), resamples, confidence))

    def part(name: str, chosen: NDArray[np.bool_]) -> dict[str, Any]:
        return {"items": int(chosen.sum()), "word_accuracy": accuracy(correct[name][:, chosen])}

    def row(runs: Sequence[RunResult]) -> dict[str, Any]:
        rate = partial(character_error_rate, stacked(runs, "edits"), stacked(runs, "length"))
        return {
            "word_accuracy": accuracy(stacked(runs, "correct")),
            "by_order": {order: accuracy([run.orders[order] for run in runs]) for order in runs[0].orders},
            "character_error_rate": asdict(rate(np.random.default_rng(seed), resamples, confidence)),
            "calibration_error": calibration_error(runs),
            "steps": float(np.mean([run.steps for run in runs])),
            "paired_steps": float(np.mean([run.paired_steps for run in runs])),
            "seconds": float(np.mean([run.seconds for run in runs])),
            "items": items,
        }

    metrics: Metrics = {}
    for name, runs in groups.items():
        metrics[name] = row(runs) | {
            "seeds": len(runs),
            "confidence": confidence,
            "by_seed": {str(run.seed): float(run.scores["correct"].mean()) for run in runs},
            "by_source_length": [
                {"from": low, "to": high, **part(name, (lengths >= low) & (lengths <= high))} for low, high in buckets
            ],
            "seen_targets": part(name, seen_items) if seen_items.any() else None,
            "unseen_targets": part(name, ~seen_items) if not seen_items.all() else None,
        }
    metrics[ENSEMBLES] = {result.strategy: row([result]) for result in ensembles}
    metrics[CONTROLS] = {result.strategy: row([result]) for result in controls}
    metrics[COMPARISONS] = {
        f"{name}_vs_{baseline}": asdict(
            paired_difference(correct[name], correct[baseline], np.random.default_rng(seed), resamples, confidence)
        )
        for baseline, name in combinations(groups, 2)
    }
    return metrics


def calibration_error(runs: Sequence[RunResult]) -> float | None:
    """Expected calibration error, the predictions of all runs pooled; None where confidences are not known."""
    pooled = _pooled(runs)
    return expected_calibration_error(*pooled) if pooled else None


def calibration_table(results: Iterable[RunResult]) -> pd.DataFrame:
    """The reliability curve of each strategy, its seeds pooled: column `strategy` and those of `reliability_curve`."""
    pooled = {name: _pooled(runs) for name, runs in by_strategy(results).items()}
    curves = [reliability_curve(*found).assign(strategy=name) for name, found in pooled.items() if found]
    columns = ["strategy", "low", "high", "confidence", "accuracy", "items"]
    return pd.concat(curves, ignore_index=True)[columns] if curves else pd.DataFrame(columns=columns)


def _pooled(runs: Sequence[RunResult]) -> tuple[NDArray[np.float64], NDArray[np.bool_]] | None:
    """Confidences, and whether they were justified, of all runs one behind the other."""
    confidences = [run.confidences for run in runs if run.confidences is not None]
    if len(confidences) < len(runs):
        return None
    return np.concatenate(confidences).astype(np.float64), stacked(runs, "correct").ravel()


def length_buckets(lengths: ArrayLike, buckets: int = BUCKETS) -> list[tuple[int, int]]:
    """Shortest and longest of at most `buckets` ranges of lengths with about equally many items each.

    Fewer where few lengths occur: items of one length are never split.
    """
    lengths = np.asarray(lengths)
    cuts = np.quantile(lengths, np.arange(1, buckets) / buckets, method="inverted_cdf")
    places = np.searchsorted(np.unique(cuts), lengths)
    groups = [lengths[places == place] for place in np.unique(places)]
    return [(int(group.min()), int(group.max())) for group in groups]


def stacked(runs: Sequence[RunResult], column: str) -> NDArray[Any]:
    """One column of the scores of all seeds, [seeds, items]."""
    return np.stack([run.scores[column].to_numpy() for run in runs])


def accuracy_table(metrics: Metrics) -> pd.DataFrame:
    """One row per strategy, ensemble and control: word accuracy as a fraction, and its interval."""
    return pd.DataFrame([{"strategy": name} | _flat(row) for name, row in rows(metrics).items()])


def by_length_table(metrics: Metrics) -> pd.DataFrame:
    """One row per strategy and range of source lengths."""
    parts = [
        {"strategy": name, "from": bucket["from"], "to": bucket["to"], "items": bucket["items"]} | _flat(bucket)
        for name in strategies(metrics)
        for bucket in metrics[name]["by_source_length"]
    ]
    return pd.DataFrame(parts)


def _flat(part: dict[str, Any]) -> dict[str, float]:
    interval = part["word_accuracy"]
    return {"word_accuracy": interval["mean"], "low": interval["low"], "high": interval["high"]}
