"""Test items that one strategy gets right and another does not."""

from collections import Counter
from collections.abc import Iterable, Sequence

import pandas as pd

from pipeline.evaluation.comparison import RunResult, by_strategy, stacked
from pipeline.text import printable


def examples(results: Iterable[RunResult], focus: str, limit: int = 40) -> pd.DataFrame:
    """Test items that the strategy `focus` wins or loses, those that differ in most seeds first.

    Won: most of its seeds are right, and most seeds of another strategy are not; lost is the reverse. Half of `limit`
    each, more of one if there are fewer of the other; repeated items once. Columns: item (row of the test set),
    result, source, target, and per strategy `NAME_prediction` (the most frequent one on the side of the majority) and
    `NAME_accuracy` (fraction of its seeds that are right). Characters that cannot be written are U+FFFD.
    """
    groups = by_strategy(results)
    accuracy = pd.DataFrame({name: stacked(runs, "correct").mean(axis=0) for name, runs in groups.items()})
    others = accuracy.drop(columns=focus)
    first = groups[focus][0]
    is_right, is_new = (
        accuracy[focus] > 0.5,
        ~pd.Series(list(zip(first.sources, first.targets, strict=True))).duplicated(),
    )
    won = (accuracy[focus] - others.min(axis=1))[is_right & (others <= 0.5).any(axis=1) & is_new]
    lost = (others.max(axis=1) - accuracy[focus])[~is_right & (others > 0.5).any(axis=1) & is_new]
    won = won.sort_values(ascending=False, kind="stable").head(max(limit - limit // 2, limit - len(lost)))
    lost = lost.sort_values(ascending=False, kind="stable").head(limit - len(won))
    items = [*won.index, *lost.index]
    table = pd.DataFrame({"item": items, "result": ["won"] * len(won) + ["lost"] * len(lost)})
    table["source"] = [printable(first.sources[item]) for item in items]
    table["target"] = [printable(first.targets[item]) for item in items]
    for name, runs in groups.items():
        table[f"{name}_prediction"] = [printable(_typical_prediction(runs, item)) for item in items]
        table[f"{name}_accuracy"] = accuracy.loc[items, name].to_numpy()
    return table


def _typical_prediction(runs: Sequence[RunResult], item: int) -> str:
    right = [bool(run.scores["correct"].iloc[item]) for run in runs]
    majority = sum(right) * 2 > len(runs)
    # Among equally frequent ones that of the lowest seed.
    sided = [run.predictions[item] for run, is_right in zip(runs, right, strict=True) if is_right == majority]
    return Counter(sided).most_common(1)[0][0]
