"""Which strings of a list are a few edits from a given one."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rapidfuzz import process
from rapidfuzz.distance import Levenshtein

from pipeline.data.alphabet import Ids
from pipeline.data.store import Rows, StringStore

CELLS_AT_ONCE = 2**25
FIRST = 0x10000  # code point that stands for id 0; the surrogates lie below


@dataclass(frozen=True, eq=False)
class Neighbourhood:
    """Different strings in order of length, with one character for each symbol."""

    strings: list[str]
    lengths: NDArray[np.int64]

    @classmethod
    def of(cls, store: StringStore, largest: int) -> "Neighbourhood":
        """The rows of a store; of more than `largest` an even selection."""
        rows = np.unique(np.linspace(0, len(store) - 1, min(len(store), largest)).astype(np.int64))
        strings = sorted(dict.fromkeys(comparable(_take(store, rows))), key=lambda string: (len(string), string))
        return cls(strings, np.array([len(string) for string in strings], dtype=np.int64))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The strings as ids, for `of_arrays`."""
        return {"ids": self.take(np.arange(len(self.strings))).ids, "lengths": self.lengths}

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> "Neighbourhood":
        """The inverse of `arrays`; raises KeyError where one is missing."""
        lengths = arrays["lengths"]
        return cls(comparable(StringStore(arrays["ids"], np.concatenate([[0], np.cumsum(lengths)]))), lengths)

    def near(self, queries: StringStore, edits: int = 2) -> list[Rows]:
        """For each query the rows at a distance of at most `edits` symbols, itself included."""
        strings = comparable(queries)
        near: list[Rows] = [np.zeros(0, dtype=np.int64)] * len(strings)
        lengths = np.diff(queries.offsets)
        for length in np.unique(lengths):
            start, end = np.searchsorted(self.lengths, [length - edits, length + edits + 1])
            if start == end:
                continue
            wanted = np.flatnonzero(lengths == length)
            for some in np.array_split(wanted, 1 + len(wanted) * (end - start) // CELLS_AT_ONCE):
                distances = process.cdist(
                    [strings[i] for i in some],
                    self.strings[start:end],
                    scorer=Levenshtein.distance,
                    score_cutoff=edits,
                    dtype=np.uint8,
                    workers=-1,
                )
                for i, row in zip(some, distances, strict=True):
                    near[i] = start + np.flatnonzero(row <= edits)
        return near

    def take(self, rows: Rows) -> StringStore:
        """Some of the strings as a store."""
        whole = "".join(self.strings[row] for row in rows.astype(np.int64))
        offsets = np.concatenate([[0], np.cumsum(self.lengths[rows.astype(np.int64)])]).astype(np.int64)
        return StringStore(_ids(whole), offsets)

    def ids(self, row: int) -> Ids:
        """One of the strings, uint16 [length]."""
        return _ids(self.strings[row])


def comparable(strings: StringStore) -> list[str]:
    """Rows as Python strings with one character for each id, for measures that work on characters."""
    whole = (strings.ids.astype("<u4") + FIRST).tobytes().decode("utf-32-le")
    offsets = strings.offsets.tolist()
    return [whole[start:end] for start, end in pairwise(offsets)]


def _ids(string: str) -> Ids:
    return (np.frombuffer(string.encode("utf-32-le"), dtype="<u4") - FIRST).astype(np.uint16)


def _take(store: StringStore, rows: Rows) -> StringStore:
    lengths = store.lengths(rows)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    places = np.arange(offsets[-1]) + np.repeat(store.offsets[rows] - offsets[:-1], lengths)
    return StringStore(store.ids[places], offsets)
