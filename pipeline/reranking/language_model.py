"""How likely a string is among the targets: an n-gram model over their symbols.

Modified Kneser-Ney smoothing in its interpolated form (Chen and Goodman 1999, "An empirical study of smoothing
techniques for language modeling", equations 27 to 29). An n-gram is one number in base V, the latest symbol in its
lowest digit: dividing by V leaves the context, the remainder by a power of V the next shorter n-gram.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.data.alphabet import END, START
from pipeline.data.store import Integers, Reals, StringStore, look_up

ORDER = 6
LARGEST_NGRAM = 2**63
ROWS_AT_ONCE = 2**19  # of which the n-grams are counted at once
DISCOUNTS = (0.5, 1.0, 1.5)  # of counts 1, 2, and 3 or more, where the counts are too few to estimate them


@dataclass(frozen=True, eq=False)
class Level:
    """N-grams of one length, both arrays of keys sorted.

    ngrams: int64 [N]. shares: float32 [N], what the last symbol keeps of its context's probability after the discount.
    contexts: int64 [C]. backoffs: float32 [C], what is left for the shorter context.
    """

    ngrams: Integers
    shares: NDArray[np.float32]
    contexts: Integers
    backoffs: NDArray[np.float32]

    @classmethod
    def of_counts(cls, ngrams: Integers, counts: Integers, base: int) -> "Level":
        """Discount and normalize the counts of sorted n-grams over an alphabet of `base` ids."""
        discounts = np.array([0.0, *_discounts(counts)])[np.minimum(counts, 3)]
        contexts, starts = np.unique(ngrams // base, return_index=True)
        totals = np.add.reduceat(counts, starts).astype(np.float64)
        ends = np.append(starts[1:], len(ngrams))
        shares = (counts - discounts) / np.repeat(totals, ends - starts)
        backoffs = np.add.reduceat(discounts, starts) / totals
        return cls(ngrams, shares.astype(np.float32), contexts, backoffs.astype(np.float32))


@dataclass(frozen=True, eq=False)
class CharacterLanguageModel:
    """A distribution over all strings of an alphabet, the empty one included.

    alphabet_size: V, the special ids included. levels: of n-grams of length 1, 2, ..., the order of the model. Any
    symbol, the unknown one too, is possible after any other; padding and start are not.
    """

    alphabet_size: int
    levels: tuple[Level, ...]

    @classmethod
    def learn(
        cls, strings: StringStore, alphabet_size: int, times: Integers | None = None, order: int = ORDER
    ) -> "CharacterLanguageModel":
        """Count the n-grams of all rows, in parts: memory follows the number of different n-grams.

        times: how often each row counts, int64 [rows]; None counts each once. order: symbols of the longest n-gram;
        less where so many symbols of the alphabet do not fit one number.
        """
        if len(strings) == 0:
            raise ValueError("a language model is learned from at least one string")
        while alphabet_size**order >= LARGEST_NGRAM:
            order -= 1
        ngrams, counts = _count(strings, times, alphabet_size, order)
        levels = [Level.of_counts(ngrams, counts, alphabet_size)]
        for length in range(order - 1, 0, -1):
            ngrams, counts = _shorter(ngrams, counts, alphabet_size, length)
            levels.append(Level.of_counts(ngrams, counts, alphabet_size))
        return cls(alphabet_size, tuple(reversed(levels)))

    @classmethod
    def of_levels(cls, levels: Mapping[str, Any], alphabet_size: int) -> "CharacterLanguageModel":
        """Make a model of what `load_arrays` read of its levels; raises TypeError where an array is missing."""
        return cls(alphabet_size, tuple(Level(**level) for level in levels.values()))

    def log_probabilities(self, strings: StringStore) -> Reals:
        """Natural logarithm of the probability of each row and of its end, float64 [rows]."""
        totals = np.zeros(len(strings))
        for start in range(0, len(strings), ROWS_AT_ONCE):
            rows = np.arange(start, min(start + ROWS_AT_ONCE, len(strings)))
            stream, row = _stream(strings, rows, len(self.levels))
            predicted = np.flatnonzero(stream != START)
            scores = np.log(self._probabilities(stream, predicted))
            totals[rows] = np.bincount(row[predicted], scores, len(rows))
        return totals

    def _probabilities(self, stream: Integers, places: Integers) -> Reals:
        """Probability of the symbol at each of `places` after those before it."""
        V = self.alphabet_size
        probabilities = np.full(len(places), 1.0 / (V - 2))  # END, unknown and the symbols
        for length, level in enumerate(self.levels, start=1):
            ngrams = _keys(stream, places, V, length)
            probabilities = probabilities * look_up(level.contexts, level.backoffs, ngrams // V, 1.0)
            probabilities += look_up(level.ngrams, level.shares, ngrams, 0.0)
        return probabilities


def _stream(strings: StringStore, rows: Integers, order: int) -> tuple[Integers, Integers]:
    """Rows one behind the other, START order - 1 times before each (once at least), END after; and whose each is."""
    lengths, before = strings.lengths(rows), max(order - 1, 1)
    row = np.repeat(np.arange(len(rows)), lengths + before + 1)
    ends = np.cumsum(lengths + before + 1)
    place = np.arange(len(row)) - (ends - lengths - 1)[row]  # in the string; negative before it
    stream = np.full(len(row), START, dtype=np.int64)
    stream[ends - 1] = END
    inside = (place >= 0) & (place < lengths[row])
    stream[inside] = strings.ids[strings.offsets[rows[0]] : strings.offsets[rows[-1] + 1]]
    return stream, row


def _keys(stream: Integers, places: Integers, base: int, length: int) -> Integers:
    """The n-grams of `length` symbols that end at `places`."""
    keys = np.zeros(len(places), dtype=np.int64)
    for back in range(length - 1, -1, -1):
        keys = keys * base + stream[places - back]
    return keys


def _count(strings: StringStore, times: Integers | None, base: int, order: int) -> tuple[Integers, Integers]:
    """Sorted n-grams of length `order` and their counts."""
    parts = []
    for start in range(0, len(strings), ROWS_AT_ONCE):
        rows = np.arange(start, min(start + ROWS_AT_ONCE, len(strings)))
        stream, row = _stream(strings, rows, order)
        written = np.flatnonzero(stream != START)
        ngrams, places = np.unique(_keys(stream, written, base, order), return_inverse=True)
        parts.append((ngrams, np.bincount(places, None if times is None else times[rows][row[written]])))
    ngrams, places = np.unique(np.concatenate([ngrams for ngrams, _ in parts]), return_inverse=True)
    counts = np.bincount(places, np.concatenate([counts for _, counts in parts]))
    return ngrams, counts.astype(np.int64)


def _shorter(ngrams: Integers, counts: Integers, base: int, length: int) -> tuple[Integers, Integers]:
    """N-grams of `length` symbols, and after how many different symbols each occurs.

    At the start of a string there is no symbol before to differ: there, how often each occurs.
    """
    shorter, places = np.unique(ngrams % base**length, return_inverse=True)
    at_start = shorter // base ** (length - 1) == START
    return shorter, np.bincount(places, np.where(at_start[places], counts, 1)).astype(np.int64)


def _discounts(counts: Integers) -> tuple[float, ...]:
    """What is taken from counts of 1, of 2, and of 3 or more."""
    once, twice, thrice, four_times = (int(np.count_nonzero(counts == number)) for number in range(1, 5))
    if not (once and twice and thrice):
        return DISCOUNTS
    share = once / (once + 2 * twice)
    estimated = (1 - 2 * share * twice / once, 2 - 3 * share * thrice / twice, 3 - 4 * share * four_times / thrice)
    in_range = all(0 < value < number for number, value in enumerate(estimated, start=1))
    return estimated if in_range else DISCOUNTS
