"""Scores of single predictions: whether each is right, and how many edits off."""

from collections.abc import Collection, Sequence

import numpy as np
import pandas as pd
from rapidfuzz.distance import Levenshtein

from pipeline.config.options import Symbols
from pipeline.data.alphabet import split


def score(
    predictions: Sequence[str],
    targets: Sequence[str],
    accepted: Sequence[Collection[str]],
    symbols: Symbols,
) -> pd.DataFrame:
    """Compare each prediction with the targets accepted for its source; one row per prediction.

    Columns: `correct` (bool), `edits` (Levenshtein distance in symbols to the closest accepted target) and `length`
    (symbols of that target). Of equally close ones, `targets` come first, then the others in code point order. Raises
    ValueError if the sequences differ in length or nothing is accepted for a source.
    """
    rows = []
    for prediction, target, choices in zip(predictions, targets, accepted, strict=True):
        if not choices:
            raise ValueError(f"nothing is accepted for the target {target!r}")
        predicted, edits, closest = split(prediction, symbols), 0, prediction
        if prediction not in choices:
            edits, _, closest = min(
                (Levenshtein.distance(predicted, split(choice, symbols)), choice != target, choice)
                for choice in choices
            )
        rows.append((edits == 0, edits, len(split(closest, symbols))))
    table = pd.DataFrame(rows, columns=["correct", "edits", "length"])
    return table.astype({"correct": bool, "edits": np.int64, "length": np.int64})


def accuracy(scores: pd.DataFrame) -> float:
    """Fraction of predictions that are right."""
    return float(scores["correct"].mean())


def error_rate(scores: pd.DataFrame) -> float:
    """Edits per symbol of the closest targets."""
    return float(scores["edits"].sum() / scores["length"].sum())
