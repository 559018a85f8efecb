"""Which strings of a list are a few edits from given ones."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from rapidfuzz import process
from rapidfuzz.distance import Levenshtein

from pipeline.data.store import Integers, Rows, StringStore, evenly

CELLS_AT_ONCE = 2**25
FIRST = 0x10000  # code point that stands for id 0; the surrogates lie below


@dataclass(frozen=True, eq=False)
class Neighbourhood:
    """Different strings in order of length."""

    store: StringStore

    @classmethod
    def of(cls, store: StringStore, largest: int) -> "Neighbourhood":
        """The rows of a store; of more than `largest` an even selection."""
        rows = evenly(len(store), largest)
        different = dict(zip(comparable(store.take(rows)), rows.tolist(), strict=True))
        order = sorted(different, key=lambda string: (len(string), string))
        return cls(store.take(np.array([different[string] for string in order], dtype=np.int64)))

    @cached_property
    def _strings(self) -> list[str]:
        return comparable(self.store)

    def near(self, queries: StringStore, offsets: Integers, edits: int, from_first: int) -> list[Rows]:
        """For each group of queries the rows at most `edits` symbols from one, and `from_first` from its first one.

        Group i has the queries `offsets[i]` to `offsets[i + 1]`, at least one. Only its first one is compared with the
        whole list: with all of them it would take several times as long.
        """
        strings, starts = comparable(queries), offsets.tolist()
        near: list[Rows] = [np.zeros(0, dtype=np.int64)] * (len(starts) - 1)
        for i, rows in self._near_one([strings[start] for start in starts[:-1]], from_first):
            group, listed = strings[starts[i] : starts[i + 1]], [self._strings[row] for row in rows.tolist()]
            near[i] = rows[(_distances(group, listed, edits) <= edits).any(axis=0)]
        return near

    def _near_one(self, strings: Sequence[str], edits: int) -> Iterator[tuple[int, Rows]]:
        """The place of each string, in any order, and the rows at most so many edits from it, if there may be any."""
        listed_lengths, lengths = np.diff(self.store.offsets), np.array(list(map(len, strings)), dtype=np.int64)
        for length in np.unique(lengths):
            start, end = np.searchsorted(listed_lengths, [length - edits, length + edits + 1])
            if start == end:
                continue
            wanted = np.flatnonzero(lengths == length)
            for some in np.array_split(wanted, 1 + len(wanted) * (end - start) // CELLS_AT_ONCE):
                distances = _distances([strings[i] for i in some], self._strings[start:end], edits, workers=-1)
                for i, row in zip(some.tolist(), distances, strict=True):
                    yield i, start + np.flatnonzero(row <= edits)


def _distances(strings: Sequence[str], others: Sequence[str], most: int, workers: int = 1) -> NDArray[np.uint8]:
    """Edits between each of N and each of M, uint8 [N, M]; more than `most` are `most` + 1."""
    return process.cdist(
        strings, others, scorer=Levenshtein.distance, score_cutoff=most, dtype=np.uint8, workers=workers
    )


def comparable(strings: StringStore) -> list[str]:
    """Rows as Python strings with one character for each id, for measures that work on characters."""
    whole = (strings.ids.astype("<u4") + FIRST).tobytes().decode("utf-32-le")
    offsets = strings.offsets.tolist()
    return [whole[start:end] for start, end in pairwise(offsets)]
