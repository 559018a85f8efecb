"""Which strings of a list are a few edits from a given one."""

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from rapidfuzz import process
from rapidfuzz.distance import Levenshtein

from pipeline.data.store import Rows, StringStore

CELLS_AT_ONCE = 2**25
FIRST = 0x10000  # code point that stands for id 0; the surrogates lie below


@dataclass(frozen=True, eq=False)
class Neighbourhood:
    """Different strings in order of length."""

    store: StringStore

    @classmethod
    def of(cls, store: StringStore, largest: int) -> "Neighbourhood":
        """The rows of a store; of more than `largest` an even selection."""
        rows = np.unique(np.linspace(0, len(store) - 1, min(len(store), largest)).astype(np.int64))
        different = dict(zip(comparable(store.take(rows)), rows.tolist(), strict=True))
        order = sorted(different, key=lambda string: (len(string), string))
        return cls(store.take(np.array([different[string] for string in order], dtype=np.int64)))

    @cached_property
    def _strings(self) -> list[str]:
        return comparable(self.store)

    def near(self, queries: StringStore, edits: int = 2) -> list[Rows]:
        """For each query the rows at a distance of at most `edits` symbols, itself included."""
        strings = comparable(queries)
        near: list[Rows] = [np.zeros(0, dtype=np.int64)] * len(strings)
        listed_lengths, lengths = np.diff(self.store.offsets), np.diff(queries.offsets)
        for length in np.unique(lengths):
            start, end = np.searchsorted(listed_lengths, [length - edits, length + edits + 1])
            if start == end:
                continue
            wanted = np.flatnonzero(lengths == length)
            for some in np.array_split(wanted, 1 + len(wanted) * (end - start) // CELLS_AT_ONCE):
                asked, listed = [strings[i] for i in some], self._strings[start:end]
                distances = process.cdist(
                    asked, listed, scorer=Levenshtein.distance, score_cutoff=edits, dtype=np.uint8, workers=-1
                )
                for i, row in zip(some, distances, strict=True):
                    near[i] = start + np.flatnonzero(row <= edits)
        return near


def comparable(strings: StringStore) -> list[str]:
    """Rows as Python strings with one character for each id, for measures that work on characters."""
    whole = (strings.ids.astype("<u4") + FIRST).tobytes().decode("utf-32-le")
    offsets = strings.offsets.tolist()
    return [whole[start:end] for start, end in pairwise(offsets)]
