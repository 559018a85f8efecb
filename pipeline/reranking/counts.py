"""How often strings occur, without keeping the strings: ten million take 160 MB."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.data.store import StringStore

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
    def of(cls, strings: Fingerprints) -> "Counts":
        """Count equal fingerprints."""
        return cls(*np.unique(strings, return_counts=True))

    def __getitem__(self, wanted: Fingerprints) -> NDArray[np.int64]:
        """How often each of `wanted` occurs, int64 [len(wanted)]."""
        if not len(self.keys):
            return np.zeros(len(wanted), dtype=np.int64)
        places = np.minimum(np.searchsorted(self.keys, wanted), len(self.keys) - 1)
        return np.where(self.keys[places] == wanted, self.counts[places], 0)


def fingerprints(strings: StringStore) -> Fingerprints:
    """A number for each row: equal for equal rows, and for others but by an accident of some 2**-64. uint64 [rows]."""
    parts = [
        _fingerprints(strings, start, min(start + ROWS_AT_ONCE, len(strings)))
        for start in range(0, len(strings), ROWS_AT_ONCE)
    ]
    return np.concatenate([np.zeros(0, dtype=np.uint64), *parts])


def _fingerprints(strings: StringStore, start: int, end: int) -> Fingerprints:
    """A polynomial of scrambled ids modulo 2**64, and once more scrambled."""
    offsets = strings.offsets[start : end + 1] - strings.offsets[start]
    ids = strings.ids[strings.offsets[start] : strings.offsets[end]].astype(np.uint64)
    lengths = np.diff(offsets)
    places = np.arange(len(ids)) - np.repeat(offsets[:-1], lengths)
    powers = np.cumprod(np.full(int(lengths.max(initial=0)) + 1, FACTOR))
    sums = np.concatenate([np.zeros(1, dtype=np.uint64), np.cumsum(_scrambled(ids + np.uint64(1)) * powers[places])])
    return _scrambled(sums[offsets[1:]] - sums[offsets[:-1]] + lengths.astype(np.uint64))


def _scrambled(numbers: Fingerprints) -> Fingerprints:
    for _ in range(2):
        numbers = (numbers ^ (numbers >> SHIFT)) * FACTOR
    return numbers ^ (numbers >> SHIFT)
