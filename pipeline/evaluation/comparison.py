"""The comparison of strategies: from the scores of single runs to the content of metrics.json.

How one number is computed is left to `metrics`, files to `results`. Any number of strategies can be compared, each with
all before it in order of appearance.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations, permutations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from pipeline.config.params import Strategy
from pipeline.evaluation.metrics import Resampling, expected_calibration_error, reliability_curve
from pipeline.evaluation.results import WITHOUT_LIST, Metrics, ensemble_title, ranked
from pipeline.evaluation.variation import Estimate
from pipeline.evaluation.verdict import as_json, family

BUCKETS = 5  # of source lengths
INGREDIENTS = ("synthetic", "autoencode", "pretrained", "pseudo")
RERANKER, LISTED, UNLISTED = "reranker", "reranker_listed", "reranker_unlisted"
LIST, ENSEMBLE = "list", "ensemble"

Bought = tuple[str, str, str, Estimate]  # an ingredient, what has it, the same without it, and their difference


@dataclass(frozen=True, eq=False)
class RunResult:
    """Predictions of one strategy with one seed for the test set; or of an ensemble or a control, with seed 0.

    scores: as `scoring.score` returns them, a row per test item. steps: of all tasks, pretraining included;
    paired_steps: those on pairs. symbols: of targets trained on, in all steps. reranked: whether the predictions are
    the first by rerank. history: columns step, dev_word_accuracy, ... confidences: the probability, in [0, 1],
    that each prediction is right; None if unknown. orders: bool [items], which items another order of the candidates
    gets right, as `evaluate.evaluate` has them.
    """

    strategy: str
    seed: int
    sources: Sequence[str]
    targets: Sequence[str]
    predictions: Sequence[str]
    scores: pd.DataFrame
    steps: int
    paired_steps: int
    symbols: int = 0
    reranked: bool = False
    history: pd.DataFrame = field(default_factory=pd.DataFrame)
    log_probabilities: Sequence[float] | None = None  # of the predictions
    confidences: Sequence[float] | None = None
    orders: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)


def by_strategy(results: Iterable[RunResult]) -> dict[str, list[RunResult]]:
    """The runs of each strategy by seed.

    Raises ValueError if there are no runs, a run occurs twice, or runs have predictions for different items.
    """
    groups: dict[str, list[RunResult]] = {}
    for run in (results := list(results)):
        if list(run.sources) != list(results[0].sources) or list(run.targets) != list(results[0].targets):
            raise ValueError(f"{run.strategy!r} with seed {run.seed} has other test items than {results[0].strategy!r}")
        groups.setdefault(run.strategy, []).append(run)
    if not groups:
        raise ValueError("there are no runs to compare")
    for strategy, runs in groups.items():
        if len({run.seed for run in runs}) < len(runs):
            raise ValueError(f"strategy {strategy!r} has two runs of one seed")
    return {name: sorted(runs, key=lambda run: run.seed) for name, runs in groups.items()}


def compare(
    results: Iterable[RunResult],
    listed: Sequence[bool],
    source_lengths: Sequence[int],
    settings: Mapping[str, Strategy] | None = None,
    resampling: Resampling | None = None,
    ensembles: Iterable[RunResult] = (),
    controls: Iterable[RunResult] = (),
) -> Metrics:
    """The content of metrics.json: every strategy by its name, and `results.SECTIONS` beside them.

    listed: per test item, whether its target is among the unpaired ones. source_lengths: in symbols. settings: of each
    strategy, for what the ingredients buy and which strategies the verdict compares. Accuracies, rates and the expected
    calibration error (seeds pooled) are fractions; steps and symbols are means over seeds. Numbers of `comparisons` are
    of two strategies alone: one more strategy leaves them as they are. `pairs`, `ingredients` and `verdict` are each
    corrected for the number of differences in them (`verdict.family`).
    """
    groups, resampling = by_strategy(results), resampling or Resampling()
    settings = {name: settings[name] for name in groups} if settings else {}
    is_listed, lengths = np.asarray(listed, dtype=bool), np.asarray(source_lengths, dtype=np.int64)
    items = len(next(iter(groups.values()))[0].targets)
    if not len(is_listed) == len(lengths) == items:
        raise ValueError(f"{items} test items, but {len(is_listed)} marks of listed ones and {len(lengths)} lengths")
    buckets = length_buckets(lengths)
    correct = {name: stacked(runs, "correct") for name, runs in groups.items()}

    def accuracy(scores: ArrayLike) -> dict[str, float]:
        return asdict(resampling.word_accuracy(scores))

    def part(name: str, chosen: NDArray[np.bool_]) -> dict[str, Any]:
        return {"items": int(chosen.sum()), "word_accuracy": accuracy(correct[name][:, chosen])}

    def row(runs: Sequence[RunResult]) -> dict[str, Any]:
        error_rate = resampling.character_error_rate(stacked(runs, "edits"), stacked(runs, "length"))
        return {
            "word_accuracy": accuracy(stacked(runs, "correct")),
            "by_order": {order: accuracy([run.orders[order] for run in runs]) for order in runs[0].orders},
            "character_error_rate": asdict(error_rate),
            "calibration_error": calibration_error(runs),
            "steps": float(np.mean([run.steps for run in runs])),
            "paired_steps": float(np.mean([run.paired_steps for run in runs])),
            "symbols": float(np.mean([run.symbols for run in runs])),
            "items": items,
        }

    metrics: Metrics = {}
    for name, runs in groups.items():
        metrics[name] = row(runs) | {
            "seeds": len(runs),
            "confidence": resampling.confidence,
            "ingredients": sorted(settings[name].ingredients) if settings else [],
            "by_seed": {str(run.seed): float(run.scores["correct"].mean()) for run in runs},
            "by_source_length": [
                {"from": low, "to": high, **part(name, (lengths >= low) & (lengths <= high))} for low, high in buckets
            ],
            "listed_targets": part(name, is_listed) if is_listed.any() else None,
            "unlisted_targets": part(name, ~is_listed) if not is_listed.all() else None,
        }
    ensembles = list(ensembles)
    metrics["ensembles"] = {result.strategy: row([result]) for result in ensembles}
    metrics["controls"] = {result.strategy: row([result]) for result in controls}
    confidence = resampling.confidence
    estimates = {pair: Estimate.of(correct[pair[0]], -1 * correct[pair[1]]) for pair in permutations(groups, 2)}
    pairs = [(name, baseline) for baseline, name in combinations(groups, 2)]

    def shown(pairs: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
        rows = family([estimates[pair] for pair in pairs], confidence)
        return [{"name": name, "other": other, **row} for (name, other), row in zip(pairs, rows, strict=True)]

    metrics["comparisons"] = {
        f"{name}_vs_{baseline}": asdict(resampling.paired_difference(correct[name], correct[baseline]))
        | {"two_level": family([one := estimates[name, baseline]], confidence)[0] | as_json(one.variation)}
        for name, baseline in pairs
    }
    metrics["pairs"] = shown(pairs)
    metrics["verdict"] = focus_and_rivals(list(groups), settings)
    focus = metrics["verdict"]["focus"]
    bought = [*of_training(settings, estimates), *of_decoding(groups[focus], ensembles, is_listed)]
    metrics["ingredients"] = [
        {"ingredient": ingredient, "with": name, "without": other, **row}
        for (ingredient, name, other, _), row in zip(
            bought, family([one[-1] for one in bought], confidence), strict=True
        )
    ]
    metrics["verdict"]["differences"] = shown(compared_in_verdict(metrics))
    return metrics


def of_training(settings: Mapping[str, Strategy], estimates: Mapping[tuple[str, str], Estimate]) -> list[Bought]:
    """The difference of every two strategies with equal budgets of which one has exactly one ingredient more."""
    bought = [
        (min(more), name, other, estimates[name, other])
        for other, name in permutations(settings, 2)
        if len(more := settings[name].ingredients - settings[other].ingredients) == 1
        and settings[name].ingredients > settings[other].ingredients
        and settings[name].total_steps == settings[other].total_steps
    ]
    return sorted(bought, key=lambda one: INGREDIENTS.index(one[0]))


def of_decoding(
    runs: Sequence[RunResult], ensembles: Iterable[RunResult], is_listed: NDArray[np.bool_]
) -> Iterator[Bought]:
    """What reranker, list and ensemble add to one strategy, and the reranker to items whose target is listed or not.

    The same trainings are compared with and without, so their seeds are paired. An ensemble exists once: its difference
    to the mean of its members speaks of these trainings alone.
    """
    name, correct = runs[0].strategy, stacked(runs, "correct").astype(int)
    if all(run.reranked and "beam" in run.orders for run in runs):
        gains = correct - np.stack([run.orders["beam"] for run in runs])
        yield RERANKER, name, f"{name} by beam", Estimate.of(gains)
        for ingredient, chosen in ((LISTED, is_listed), (UNLISTED, ~is_listed)):
            if chosen.any() and not chosen.all():
                yield ingredient, name, f"{name} by beam", Estimate.of(gains[:, chosen])
    if all(WITHOUT_LIST in run.orders for run in runs):
        gains = correct - np.stack([run.orders[WITHOUT_LIST] for run in runs])
        yield LIST, name, f"{name} without it", Estimate.of(gains)
    for result in ensembles:
        if result.strategy == name:
            gains = result.scores["correct"].to_numpy() - correct.mean(axis=0, keepdims=True)
            yield ENSEMBLE, ensemble_title(name), name, Estimate.of(gains)


def compared_in_verdict(metrics: Metrics) -> list[tuple[str, str]]:
    """The pairs of strategies that the verdict compares: the one in focus with each of its rivals.

    Without rivals the most accurate one is compared with the next two. A strategy that is more accurate than all of
    these is compared with the best of them as well.
    """
    (best, *others), verdict = ranked(metrics), metrics["verdict"]
    first, *rivals = [verdict["focus"], *verdict["rivals"]] if verdict["rivals"] else [best, *others[:2]]
    pairs = [(first, rival) for rival in rivals]
    if best not in (first, *rivals):
        pairs.append((best, next(name for name in others if name in (first, *rivals))))
    return pairs


def focus_and_rivals(names: Sequence[str], settings: Mapping[str, Strategy]) -> dict[str, Any]:
    """The strategy `focus` of the verdict, and its `rivals`, which learn from the same materials in other ways.

    The focus is the last strategy that has a rival with other ingredients, or else any rival, or else the last one.
    """
    ingredients = {name: strategy.ingredients for name, strategy in settings.items()}
    # Whether each learns from made-up pairs, from predictions, and from unpaired targets by copying them.
    materials = {
        name: ("synthetic" in used, "pseudo" in used, not used.isdisjoint(("autoencode", "pretrained")))
        for name, used in ingredients.items()
    }
    rivals = {
        name: [other for other in settings if other != name and materials[other] == materials[name]] for name in names
    }
    mixed = [name for name in names for other in rivals[name] if ingredients[other] != ingredients[name]]
    focus = (mixed or [name for name in names if rivals[name]] or names)[-1]
    return {"focus": focus, "rivals": rivals[focus]}


def calibration_error(runs: Sequence[RunResult]) -> float | None:
    """Expected calibration error, the predictions of all runs pooled; None if confidences are unknown."""
    pooled = _pooled(runs)
    return expected_calibration_error(*pooled) if pooled else None


def calibration_table(results: Iterable[RunResult]) -> pd.DataFrame:
    """The reliability curve of each strategy, its seeds pooled: column `strategy` and those of `reliability_curve`."""
    pooled = {name: _pooled(runs) for name, runs in by_strategy(results).items()}
    curves = [reliability_curve(*known).assign(strategy=name) for name, known in pooled.items() if known]
    columns = ["strategy", "low", "high", "confidence", "accuracy", "items"]
    return pd.concat(curves, ignore_index=True)[columns] if curves else pd.DataFrame(columns=columns)


def _pooled(runs: Sequence[RunResult]) -> tuple[NDArray[np.float64], NDArray[np.bool_]] | None:
    """Confidences of all runs in one array, and which of the predictions are right."""
    confidences = [run.confidences for run in runs if run.confidences is not None]
    if len(confidences) < len(runs):
        return None
    return np.concatenate(confidences).astype(np.float64), stacked(runs, "correct").ravel()


def histories_table(results: Iterable[RunResult]) -> pd.DataFrame:
    """Every evaluation of every run: columns strategy, seed, step and dev_word_accuracy."""
    columns = ["strategy", "seed", "step", "dev_word_accuracy"]
    parts = [
        run.history.reindex(columns=columns)
        .assign(strategy=name, seed=run.seed)
        .dropna()
        .drop_duplicates("step", keep="last")
        for name, runs in by_strategy(results).items()
        for run in runs
    ]
    return pd.concat([part for part in parts if len(part)] or [pd.DataFrame(columns=columns)], ignore_index=True)


def curves_table(results: Iterable[RunResult]) -> pd.DataFrame:
    """Column `step` and, per strategy, the mean dev word accuracy of its seeds.

    A seed that stopped early continues with its best value, that of the weights it keeps, to the end of the table. At a
    step without an evaluation of a seed its last value counts. NaN before all seeds were evaluated once.
    """
    histories = histories_table(results)
    runs = histories.pivot_table(index="step", columns=["strategy", "seed"], values="dev_word_accuracy")
    for name in runs:
        curve = runs[name]
        runs[name] = curve.ffill().where(runs.index <= curve.last_valid_index(), curve.max())
    means = pd.DataFrame({name: runs[name].T.mean(skipna=False) for name in by_strategy(results) if name in runs})
    means = means.reindex(columns=list(by_strategy(results)))
    return means.set_axis(runs.index.astype(int)).rename_axis("step").reset_index()


def length_buckets(lengths: ArrayLike, buckets: int = BUCKETS) -> list[tuple[int, int]]:
    """The shortest and the longest length in each of at most `buckets` ranges with about equally many items.

    There are fewer ranges if few lengths occur: items of one length are never split.
    """
    lengths = np.asarray(lengths)
    cuts = np.quantile(lengths, np.arange(1, buckets) / buckets, method="inverted_cdf")
    places = np.searchsorted(np.unique(cuts), lengths)
    groups = [lengths[places == place] for place in np.unique(places)]
    return [(int(group.min()), int(group.max())) for group in groups]


def stacked(runs: Sequence[RunResult], column: str) -> NDArray[Any]:
    """One column of the scores of all seeds, [seeds, items]."""
    return np.stack([run.scores[column].to_numpy() for run in runs])
