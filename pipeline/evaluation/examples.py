"""Test items that one strategy gets right and another does not."""

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
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
    columns = ["item", "result", "source", "target"]
    columns += [f"{name}_{column}" for name in groups for column in ("prediction", "accuracy")]
    rows = []
    for result, chosen in (("won", chosen_won), ("lost", chosen_lost)):
        for item in chosen:
            row = [item, result, printable(first.sources[item]), printable(first.targets[item])]
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
