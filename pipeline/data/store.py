"""Millions of strings: packed in memory, and on disk as one flat array of symbol ids plus row offsets."""

import struct
import zlib
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from tokenize import TokenError
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from pipeline.data.alphabet import END, Alphabet, Ids, in_parts
from pipeline.errors import UserError

Rows = NDArray[np.int64]

AT_ONCE = 2**20  # numbers of a mapped file that are checked together

# Everything that numpy raises for a damaged .npy or .npz file.
DAMAGE = (
    *(OSError, ValueError, TypeError, LookupError, ArithmeticError, RuntimeError, SyntaxError, EOFError, MemoryError),
    *(TokenError, BadZipFile, zlib.error, struct.error),
)


@dataclass(frozen=True)
class PackedStrings(Collection[str]):
    """Strings without line feeds, in a fraction of the memory of a list, to be iterated over.

    parts: many strings each, separated by line feeds. count: number of strings.
    """

    parts: tuple[str, ...]
    count: int

    @classmethod
    def of(cls, strings: Iterable[str]) -> "PackedStrings":
        """Pack strings while iterating over them."""
        parts, count = [], 0
        for part in in_parts(strings):
            parts.append("\n".join(part))
            count += len(part)
        return cls(tuple(parts), count)

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[str]:
        return chain.from_iterable(part.split("\n") for part in self.parts)

    def __contains__(self, string: object) -> bool:
        return isinstance(string, str) and string in iter(self)


@dataclass(frozen=True)
class StringStore:
    """Strings as symbol ids: row i is `ids[offsets[i]:offsets[i + 1]]`, without start or end symbols.

    ids: uint16 [symbols]. offsets: int64 [rows + 1].
    """

    ids: Ids
    offsets: NDArray[np.int64]

    @classmethod
    def of(cls, strings: Collection[str], alphabet: Alphabet) -> "StringStore":
        """Encode strings into a store in memory."""
        ids, offsets, row = bytearray(), np.zeros(len(strings) + 1, dtype=np.int64), 0
        # In parts, because encoding takes many times the memory of the ids.
        for part in in_parts(strings):
            part_ids, part_offsets = alphabet.encode_all(part)
            offsets[row : row + len(part) + 1] = offsets[row] + part_offsets
            ids += part_ids.data
            row += len(part)
        return cls(np.frombuffer(ids, dtype=np.uint16), offsets)

    @classmethod
    def open(cls, prefix: Path) -> "StringStore":
        """Map `prefix`.ids.npy and `prefix`.offsets.npy into memory; raises `UserError` if they are damaged."""
        try:
            ids = np.lib.format.open_memmap(f"{prefix}.ids.npy", mode="r")
            offsets = np.lib.format.open_memmap(f"{prefix}.offsets.npy", mode="r")
        except DAMAGE as error:
            raise UserError(f"{prefix} is not a store of strings ({error}): run `dvc repro prepare`") from error
        fits = ids.dtype == np.uint16 and offsets.dtype == np.int64 and ids.ndim == offsets.ndim == 1
        if not fits or not _ascending(offsets) or offsets[-1] != len(ids):
            raise UserError(f"{prefix} is not a store of strings (ids and offsets do not fit): run `dvc repro prepare`")
        return cls(ids, offsets)

    def largest(self) -> int:
        """The largest id, or 0 without any; reads all of them, in parts."""
        return max((int(self.ids[i : i + AT_ONCE].max()) for i in range(0, len(self.ids), AT_ONCE)), default=0)

    def save(self, prefix: Path) -> None:
        """Write `prefix`.ids.npy and `prefix`.offsets.npy."""
        np.save(f"{prefix}.ids.npy", self.ids)
        np.save(f"{prefix}.offsets.npy", self.offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def lengths(self, rows: Rows) -> NDArray[np.int64]:
        """The number of symbols of each row, int64 [len(rows)]."""
        return self.offsets[rows + 1] - self.offsets[rows]

    def padded(self, rows: Rows, end: bool = False) -> NDArray[np.int32]:
        """The ids of rows as a matrix, int32 [B, longest], padded with 0; `end` appends END to each."""
        starts, lengths = self.offsets[rows], self.lengths(rows)
        width = int(lengths.max(initial=0)) + end
        columns = np.arange(width)
        inside = columns < lengths[:, None]
        matrix = np.zeros((len(rows), width), dtype=np.int32)
        matrix[inside] = self.ids[(starts[:, None] + columns)[inside]]
        if end:
            matrix[np.arange(len(rows)), lengths] = END
        return matrix


def _ascending(offsets: NDArray[np.int64]) -> bool:
    """Whether offsets begin at 0 and never fall."""
    if len(offsets) == 0 or offsets[0] != 0:
        return False
    parts = (offsets[i : i + AT_ONCE + 1] for i in range(0, len(offsets), AT_ONCE))
    return all(bool((part[1:] >= part[:-1]).all()) for part in parts)
