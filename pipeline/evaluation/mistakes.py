"""What strategies get wrong: the symbols they write for others, and the test items that only some of them get right."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence

import pandas as pd
from rapidfuzz.distance import Levenshtein

from pipeline.config.options import Symbols
from pipeline.data.alphabet import split
from pipeline.evaluation.comparison import RunResult, by_strategy, stacked
from pipeline.text import printable


def confusions(results: Iterable[RunResult], accepted: Sequence[Collection[str]], symbols: Symbols) -> pd.DataFrame:
    """How often each strategy writes one symbol where the target has another, the most frequent confusion first.

    A wrong prediction is aligned (Levenshtein) with the closest of what `accepted` has for its item, its own target
    first, then in code point order. Columns: strategy; target, empty for an inserted symbol; written, empty for a
    deleted one; count; and occurrences of the target symbol in the aligned targets, or of all symbols for an inserted
    one. Seeds are pooled. Characters that cannot be written are U+FFFD.
    """
    rows = []
    for strategy, runs in by_strategy(results).items():
        occurrences: Counter[str] = Counter()
        edits: Counter[tuple[str, str]] = Counter()
        for run in runs:
            for prediction, target, choices in zip(run.predictions, run.targets, accepted, strict=True):
                written = split(prediction, symbols)
                wanted = written if prediction in choices else _closest(written, target, choices, symbols)
                occurrences.update(wanted)
                for edit in Levenshtein.editops(wanted, written):
                    symbol = "" if edit.tag == "insert" else wanted[edit.src_pos]
                    edits[symbol, "" if edit.tag == "delete" else written[edit.dest_pos]] += 1
        occurrences[""] = occurrences.total()
        rows += [
            (strategy, printable(target), printable(written), count, occurrences[target])
            for (target, written), count in sorted(edits.items(), key=lambda item: (-item[1], item[0]))
        ]
    return pd.DataFrame(rows, columns=["strategy", "target", "written", "count", "occurrences"])


def _closest(written: Sequence[str], target: str, choices: Collection[str], symbols: Symbols) -> list[str]:
    split_choices = ((choice != target, choice, split(choice, symbols)) for choice in choices)
    return min(split_choices, key=lambda choice: (Levenshtein.distance(written, choice[2]), *choice[:2]))[2]


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
