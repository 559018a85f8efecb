"""Which target symbols are written for which: the edits between predictions and targets, symbol by symbol."""

import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Sequence

import pandas as pd
from rapidfuzz.distance import Levenshtein

from pipeline.config.options import Symbols
from pipeline.data.alphabet import split
from pipeline.evaluation.comparison import RunResult, by_strategy
from pipeline.text import printable

COLUMNS = ["strategy", "target", "written", "count", "seen"]
NOTHING = "\N{EMPTY SET}"
SPACE = "\N{OPEN BOX}"
BASE = "\N{DOTTED CIRCLE}"  # what a combining mark is shown on


def confusions(results: Iterable[RunResult], accepted: Sequence[Collection[str]], symbols: Symbols) -> pd.DataFrame:
    """How often each strategy writes one symbol where the target has another, the most frequent confusion first.

    A wrong prediction is aligned (Levenshtein) with the closest of what `accepted` has for its item, its own target
    first, then in code point order. Columns: strategy; target and written, of which the one is empty where a symbol
    was put in and the other where it was left out; count; and seen, how often the target symbol stands in what was to
    be written, or for a symbol that was put in how many symbols stand there in all. Seeds are pooled. Characters that
    cannot be written are U+FFFD.
    """
    rows = []
    for strategy, runs in by_strategy(results).items():
        seen: Counter[str] = Counter()
        found: Counter[tuple[str, str]] = Counter()
        for run in runs:
            for prediction, target, choices in zip(run.predictions, run.targets, accepted, strict=True):
                written = split(prediction, symbols)
                wanted = written if prediction in choices else _closest(written, target, choices, symbols)
                seen.update(wanted)
                found.update(differences(wanted, written))
        seen[""] = seen.total()
        rows += [
            (strategy, printable(target), printable(written), count, seen[target])
            for (target, written), count in sorted(found.items(), key=lambda item: (-item[1], item[0]))
        ]
    return pd.DataFrame(rows, columns=COLUMNS)


def differences(wanted: Sequence[str], written: Sequence[str]) -> list[tuple[str, str]]:
    """The edits from what was to be written to what was: symbols that stand for each other, "" for none."""
    return [
        (
            "" if edit.tag == "insert" else wanted[edit.src_pos],
            "" if edit.tag == "delete" else written[edit.dest_pos],
        )
        for edit in Levenshtein.editops(wanted, written)
    ]


def visible(symbol: str) -> str:
    """A symbol as a label that can be seen: nothing as the empty set, a mark that combines on a dotted circle."""
    if not symbol:
        return NOTHING
    if symbol.isspace():
        return SPACE * len(symbol)
    return printable(BASE + symbol if unicodedata.category(symbol[0]).startswith("M") else symbol)


def how_often(mean: float) -> str:
    """Times in one run, where that is a mean: whole, but for what is rare."""
    return f"{mean:,.0f}" if mean >= 10 else f"{mean:.2g}"


def _closest(written: Sequence[str], target: str, choices: Collection[str], symbols: Symbols) -> list[str]:
    if not choices:
        raise ValueError(f"nothing is accepted for the target {target!r}")
    split_choices = ((choice != target, choice, split(choice, symbols)) for choice in choices)
    return min(split_choices, key=lambda choice: (Levenshtein.distance(written, choice[2]), *choice[:2]))[2]
