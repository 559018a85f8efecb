"""How often strings occur, without keeping the strings: ten million take 160 MB."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.data.store import StringStore, look_up, spans

Fingerprints = NDArray[np.uint64]

FACTOR = np.uint64(0x9E3779B97F4A7C15)  # odd, so that no power of it is 0 modulo 2**64
SHIFT = np.uint64(29)
ROWS_AT_ONCE = 2**20


@dataclass(frozen=True, eq=False)
class Counts:
    """How often each string occurs. keys: uint64 [n], sorted fingerprints. counts: int64 [n]."""

    keys: Fingerprints
    counts: NDArray[np.int64]

    @classmethod
    def of(cls, strings: Fingerprints, times: NDArray[np.int64] | None = None) -> "Counts":
        """Count equal fingerprints; `times` says how often each one occurs, None that each occurs once."""
        if times is None:
            return cls(*np.unique(strings, return_counts=True))
        keys, places = np.unique(strings, return_inverse=True)
        counts = np.zeros(len(keys), dtype=np.int64)
        np.add.at(counts, places, times)
        return cls(keys, counts)

    def __getitem__(self, wanted: Fingerprints) -> NDArray[np.int64]:
        """How often each of `wanted` occurs, int64 [len(wanted)]."""
        return look_up(self.keys, self.counts, wanted, 0)


def fingerprints(strings: StringStore) -> Fingerprints:
    """A number for each row: equal for equal rows, and for others but by an accident of some 2**-64. uint64 [rows]."""
    parts = [np.zeros(0, dtype=np.uint64)]
    for start in range(0, len(strings), ROWS_AT_ONCE):
        some = strings.take(np.arange(start, min(start + ROWS_AT_ONCE, len(strings))))
        # A polynomial of scrambled ids modulo 2**64, and once more scrambled.
        lengths = np.diff(some.offsets)
        places, _ = spans(np.zeros_like(lengths), lengths)
        powers = np.cumprod(np.full(int(lengths.max()) + 1, FACTOR))
        sums = np.cumsum(_scrambled(some.ids.astype(np.uint64) + np.uint64(1)) * powers[places])
        sums = np.append(np.uint64(0), sums)
        parts.append(_scrambled(np.diff(sums[some.offsets]) + lengths.astype(np.uint64)))
    return np.concatenate(parts)


def _scrambled(numbers: Fingerprints) -> Fingerprints:
    for _ in range(2):
        numbers = (numbers ^ (numbers >> SHIFT)) * FACTOR
    return numbers ^ (numbers >> SHIFT)
