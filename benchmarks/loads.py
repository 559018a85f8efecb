"""Synthetic targets: distinct, word-like, and quick to make in millions.

A word is two to five syllables, each a consonant or two and a vowel, and perhaps a last consonant. Where one syllable
ends is plain from its vowel, so different choices make different words.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from pipeline.training.batches import permute

ONSETS = (*"bcdfghjklmnprstvwz", "br", "ch", "cl", "dr", "fl", "gr", "pl", "pr", "qu", "sh", "sl", "st", "th", "tr")
VOWELS, CODAS = "aeiouy", ("", *"dklmnrst")
SYLLABLES = tuple(onset + vowel for onset in ONSETS for vowel in VOWELS)
SHARES = (0.0, 0.002, 0.598, 0.3, 0.1)  # of words with one syllable, two, ...; enough for 50 million words
ROWS_AT_ONCE = 2**18

Bytes = NDArray[np.uint8]


def words(count: int, seed: int) -> Iterator[bytes]:
    """`count` distinct words in random order, each closed by a line feed, many to a piece; the same for a seed."""
    rng = np.random.default_rng(seed)
    syllables = 1 + np.searchsorted(np.cumsum(SHARES)[:-1], rng.random(count), side="right")
    numbers = np.empty(count, np.int64)
    for some in np.unique(syllables):
        rows = np.flatnonzero(syllables == some)
        possible = len(CODAS) * len(SYLLABLES) ** int(some)
        numbers[rows] = permute(np.arange(len(rows)), possible, (seed, int(some)))
    for start in range(0, count, ROWS_AT_ONCE):
        here = slice(start, start + ROWS_AT_ONCE)
        yield _spelled(numbers[here], syllables[here]).tobytes()


def _spelled(numbers: NDArray[np.int64], syllables: NDArray[np.int64]) -> Bytes:
    """The letters of all words, one behind the other."""
    left, coda = np.divmod(numbers, len(CODAS))
    columns = []
    for place in range(int(syllables.max())):
        left, digit = np.divmod(left, len(SYLLABLES))
        letters = _table(SYLLABLES)[digit]
        letters[place >= syllables] = 0
        columns.append(letters)
    closed = np.full((len(numbers), 1), ord("\n"), np.uint8)
    letters = np.concatenate([*columns, _table(CODAS)[coda], closed], axis=1)
    return letters[letters != 0]


def _table(pieces: tuple[str, ...]) -> Bytes:
    """One piece a row, filled up with 0."""
    return np.array([piece.encode() for piece in pieces], dtype="S").view(np.uint8).reshape(len(pieces), -1)
