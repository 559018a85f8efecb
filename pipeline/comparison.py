"""The comparison of strategies: from the scores of single runs to metrics.json, tables and a verdict.

How one number is computed belongs to `metrics`, learning curves to `curves`, plots and files to `report`.
Strategies are plain strings. Any number of them can be compared: each with all that come before it in `ORDER`, then in
order of appearance.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from pipeline.markdown import markdown_table, p_value_text, percent, points, printable
from pipeline.metrics import CONFIDENCE, RESAMPLES, character_error_rate, paired_difference, word_accuracy

ORDER = ("supervised", "two_stage", "tandem")
FOCUS = "tandem"
COMPARISONS = "comparisons"  # beside the strategies in the metrics
BUCKETS = 5  # of source lengths

Metrics = dict[str, Any]


@dataclass(frozen=True, eq=False)
class RunResult:
    """What one strategy did with one seed on the test set."""

    strategy: str
    seed: int
    sources: Sequence[str]
    targets: Sequence[str]
    predictions: Sequence[str]
    scores: pd.DataFrame  # as `scoring.score` returns it, one row per test item
    updates: int  # in all, those of pretraining included
    paired_updates: int  # of these, batches of pairs
    seconds: float
    history: pd.DataFrame = field(default_factory=pd.DataFrame)  # columns update, dev_word_accuracy, ...


def by_strategy(results: Iterable[RunResult]) -> dict[str, list[RunResult]]:
    """The runs of each strategy by seed; the strategies of `ORDER` first.

    Raises ValueError if there are no runs, a run stands there twice, or runs were tested on different items.
    """
    groups: dict[str, list[RunResult]] = {}
    for result in results:
        groups.setdefault(result.strategy, []).append(result)
    if not groups:
        raise ValueError("there are no runs to compare")
    if COMPARISONS in groups:
        raise ValueError(f"a strategy cannot be named {COMPARISONS!r}")
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
) -> Metrics:
    """The content of metrics.json: every strategy by its name, and `comparisons`.

    seen: per test item, whether its target is among the unpaired ones. source_lengths: its symbols. Accuracies and
    rates are fractions; updates and seconds are means over seeds. Every number is resampled with a fresh generator of
    `seed`, so that one more strategy leaves the numbers of the others as they are.
    """
    groups = by_strategy(results)
    seen_items = np.asarray(seen, dtype=bool)
    lengths = np.asarray(source_lengths, dtype=np.int64)
    items = len(next(iter(groups.values()))[0].targets)
    if not len(seen_items) == len(lengths) == items:
        raise ValueError(f"{items} test items, but {len(seen_items)} marks of seen ones and {len(lengths)} lengths")
    buckets = length_buckets(lengths)
    correct = {name: _stack(runs, "correct") for name, runs in groups.items()}

    def accuracy(scores: ArrayLike) -> dict[str, float]:
        return asdict(word_accuracy(scores, np.random.default_rng(seed), resamples, confidence))

    def part(name: str, chosen: NDArray[np.bool_]) -> dict[str, Any]:
        return {"items": int(chosen.sum()), "word_accuracy": accuracy(correct[name][:, chosen])}

    metrics: Metrics = {}
    for name, runs in groups.items():
        rate = partial(character_error_rate, _stack(runs, "edits"), _stack(runs, "length"))
        metrics[name] = {
            "word_accuracy": accuracy(correct[name]),
            "character_error_rate": asdict(rate(np.random.default_rng(seed), resamples, confidence)),
            "updates": float(np.mean([run.updates for run in runs])),
            "paired_updates": float(np.mean([run.paired_updates for run in runs])),
            "seconds": float(np.mean([run.seconds for run in runs])),
            "items": items,
            "seeds": len(runs),
            "confidence": confidence,
            "by_seed": {str(run.seed): float(run.scores["correct"].mean()) for run in runs},
            "by_source_length": [
                {"from": low, "to": high, **part(name, (lengths >= low) & (lengths <= high))} for low, high in buckets
            ],
            "seen_targets": part(name, seen_items) if seen_items.any() else None,
            "unseen_targets": part(name, ~seen_items) if not seen_items.all() else None,
        }
    metrics[COMPARISONS] = {
        f"{name}_vs_{baseline}": asdict(
            paired_difference(correct[name], correct[baseline], np.random.default_rng(seed), resamples, confidence)
        )
        for baseline, name in combinations(groups, 2)
    }
    return metrics


def strategies(metrics: Metrics) -> list[str]:
    """The names of the strategies in the metrics, in their order."""
    return [name for name in metrics if name != COMPARISONS]


def length_buckets(lengths: ArrayLike, buckets: int = BUCKETS) -> list[tuple[int, int]]:
    """Shortest and longest of at most `buckets` ranges of lengths with about equally many items each.

    Fewer where few lengths occur: items of one length are never split.
    """
    lengths = np.asarray(lengths)
    cuts = np.quantile(lengths, np.arange(1, buckets) / buckets, method="inverted_cdf")
    places = np.searchsorted(np.unique(cuts), lengths)
    groups = [lengths[places == place] for place in np.unique(places)]
    return [(int(group.min()), int(group.max())) for group in groups]


def _stack(runs: Sequence[RunResult], column: str) -> NDArray[Any]:
    """One column of the scores of all seeds, [seeds, items]."""
    return np.stack([run.scores[column].to_numpy() for run in runs])


def accuracy_table(metrics: Metrics) -> pd.DataFrame:
    """One row per strategy: word accuracy as a fraction, and its interval."""
    return pd.DataFrame([{"strategy": name} | _flat(metrics[name]) for name in strategies(metrics)])


def by_length_table(metrics: Metrics) -> pd.DataFrame:
    """One row per strategy and range of source lengths."""
    rows = [
        {"strategy": name, "from": bucket["from"], "to": bucket["to"], "items": bucket["items"]} | _flat(bucket)
        for name in strategies(metrics)
        for bucket in metrics[name]["by_source_length"]
    ]
    return pd.DataFrame(rows)


def _flat(part: dict[str, Any]) -> dict[str, float]:
    interval = part["word_accuracy"]
    return {"word_accuracy": interval["mean"], "low": interval["low"], "high": interval["high"]}


def examples(results: Iterable[RunResult], limit: int = 40) -> pd.DataFrame:
    """Test items that the strategy in focus wins or loses, those that differ in most seeds first.

    Won: most of its seeds are right, and most seeds of another strategy are not; lost is the reverse. The focus is
    tandem, or the last strategy without it. Half of `limit` each, more of one where the other has fewer; of repeated
    items one. Columns: item (row of the test set), outcome, source, target, and per strategy `NAME_prediction` (the
    most frequent one on the side of the majority) and `NAME_accuracy` (fraction of its seeds that are right).
    Characters that cannot be written are U+FFFD.
    """
    groups = by_strategy(results)
    focus = focus_of(list(groups))
    accuracy = pd.DataFrame({name: _stack(runs, "correct").mean(axis=0) for name, runs in groups.items()})
    others = accuracy.drop(columns=focus)
    right, right_others = accuracy[focus] > 0.5, others > 0.5
    first = groups[focus][0]
    pairs = list(zip(first.sources, first.targets, strict=True))
    first_place = dict(zip(reversed(pairs), reversed(range(len(pairs))), strict=True))
    repeated = np.array([first_place[pair] != item for item, pair in enumerate(pairs)])
    won = (accuracy[focus] - others.min(axis=1))[right & ~right_others.all(axis=1) & ~repeated]
    lost = (others.max(axis=1) - accuracy[focus])[~right & right_others.any(axis=1) & ~repeated]
    half = limit // 2
    most_won = max(limit - half, limit - len(lost))
    chosen_won = won.sort_values(ascending=False, kind="stable").index[:most_won]
    chosen_lost = lost.sort_values(ascending=False, kind="stable").index[: limit - len(chosen_won)]
    columns = ["item", "outcome", "source", "target"]
    columns += [f"{name}_{column}" for name in groups for column in ("prediction", "accuracy")]
    rows = []
    for outcome, chosen in (("won", chosen_won), ("lost", chosen_lost)):
        for item in chosen:
            row = [item, outcome, printable(first.sources[item]), printable(first.targets[item])]
            for name, runs in groups.items():
                row += [printable(_typical_prediction(runs, item)), accuracy.loc[item, name]]
            rows.append(row)
    return pd.DataFrame(rows, columns=columns)


def _typical_prediction(runs: Sequence[RunResult], item: int) -> str:
    right = [bool(run.scores["correct"].iloc[item]) for run in runs]
    majority = sum(right) * 2 > len(runs)
    # Among equally frequent ones that of the lowest seed.
    sided = [run.predictions[item] for run, is_right in zip(runs, right, strict=True) if is_right == majority]
    return Counter(sided).most_common(1)[0][0]


def focus_of(names: Sequence[str]) -> str:
    """The strategy that verdict and examples are about: tandem, or the last one without it."""
    return FOCUS if FOCUS in names else names[-1]


def verdict(metrics: Metrics) -> str:
    """What the comparison shows, in one sentence: gains, losses, what may be luck, and unequal budgets."""
    names = strategies(metrics)
    focus = focus_of(names)
    items = f"{metrics[focus]['items']:,}"
    fewest, most = (choose(metrics[name]["seeds"] for name in names) for choose in (min, max))
    seeds = str(most) if fewest == most else f"{fewest} to {most}"
    opening = f"On {_counted(items, 'test item')} and {_counted(seeds, 'seed')}"
    if len(names) == 1:
        accuracy = percent(metrics[focus]["word_accuracy"])
        return f"{opening}, {focus} gets {accuracy} % right, and there is nothing to compare it with."
    known = [name for name in reversed(ORDER) if name in names and name != focus]
    rest = [name for name in names if name != focus and name not in known]
    best_of_rest = [max(rest, key=lambda name: metrics[name]["word_accuracy"]["mean"])] if rest else []
    clauses = [_clause(metrics, focus, rival) for rival in known + best_of_rest]
    spent = {name: metrics[name]["paired_updates"] for name in names}
    if len(set(spent.values())) > 1:
        amounts = ", ".join(f"{name} {updates:,.0f}" for name, updates in spent.items())
        clauses.append(f"the paired updates spent differ ({amounts})")
    return f"{opening}, {'; '.join(clauses)}."


def _counted(count: str, noun: str) -> str:
    return f"{count} {noun}" if count == "1" else f"{count} {noun}s"


def _clause(metrics: Metrics, focus: str, rival: str) -> str:
    found = metrics[COMPARISONS].get(f"{focus}_vs_{rival}")
    if found is None:
        found = _reversed(metrics[COMPARISONS][f"{rival}_vs_{focus}"])
    confidence = metrics[focus]["confidence"]
    p_value = p_value_text(found["p_value"])
    evidence = (
        f"{_level(confidence)} {points(found['low'])} to {points(found['high'])}, "
        f"p {p_value if p_value.startswith('≤') else '= ' + p_value}"
    )
    if found["p_value"] >= round(1 - confidence, 9):
        return f"{focus} and {rival} cannot be told apart ({points(found['difference'])} points, {evidence})"
    verb = "beats" if found["difference"] > 0 else "loses to"
    return f"{focus} {verb} {rival} by {100 * abs(found['difference']):.1f} points of word accuracy ({evidence})"


def _reversed(found: dict[str, float]) -> dict[str, float]:
    return found | {"difference": -found["difference"], "low": -found["high"], "high": -found["low"]}


def table(metrics: Metrics) -> str:
    """The strategies and, below, their comparisons as two markdown tables."""
    names = strategies(metrics)
    level = _level(metrics[names[0]]["confidence"])
    header = ["strategy", f"word accuracy, % ({level})", f"character error rate, % ({level})"]
    rows = [
        [
            name,
            percent(metrics[name]["word_accuracy"]),
            percent(metrics[name]["character_error_rate"]),
            *(f"{metrics[name][key]:,.0f}" for key in ("paired_updates", "updates", "seconds")),
        ]
        for name in names
    ]
    text = markdown_table([*header, "paired updates", "all updates", "seconds"], rows)
    if not metrics[COMPARISONS]:
        return text
    rows = [
        [
            name.replace("_vs_", " vs "),
            f"{points(found['difference'])} ({points(found['low'])} to {points(found['high'])})",
            p_value_text(found["p_value"]),
        ]
        for name, found in metrics[COMPARISONS].items()
    ]
    return text + "\n" + markdown_table(["comparison", f"word accuracy, points ({level})", "p"], rows)


def _level(confidence: float) -> str:
    return f"{100 * confidence:.4g}% interval"
