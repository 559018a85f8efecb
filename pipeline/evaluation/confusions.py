"""Which target symbols are written for which: the edits between predictions and targets, symbol by symbol."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence

import pandas as pd
from rapidfuzz.distance import Levenshtein

from pipeline.config.options import Symbols
from pipeline.data.alphabet import split
from pipeline.evaluation.comparison import RunResult, by_strategy
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
                edits.update(
                    (
                        "" if edit.tag == "insert" else wanted[edit.src_pos],
                        "" if edit.tag == "delete" else written[edit.dest_pos],
                    )
                    for edit in Levenshtein.editops(wanted, written)
                )
        occurrences[""] = occurrences.total()
        rows += [
            (strategy, printable(target), printable(written), count, occurrences[target])
            for (target, written), count in sorted(edits.items(), key=lambda item: (-item[1], item[0]))
        ]
    return pd.DataFrame(rows, columns=["strategy", "target", "written", "count", "occurrences"])


def _closest(written: Sequence[str], target: str, choices: Collection[str], symbols: Symbols) -> list[str]:
    split_choices = ((choice != target, choice, split(choice, symbols)) for choice in choices)
    return min(split_choices, key=lambda choice: (Levenshtein.distance(written, choice[2]), *choice[:2]))[2]
