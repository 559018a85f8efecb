"""Millions of strings: packed in memory, and on disk as one flat array of symbol ids plus row offsets.

Also what several modules do with arrays: files of them, spans of rows, similar rows in batches, neighbours of symbols.
"""

import struct
import zlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import chain
from pathlib import Path
from tokenize import TokenError
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from pipeline.data.alphabet import END, PADDING, START, Alphabet, Ids, in_parts
from pipeline.errors import UserError

Integers = NDArray[np.int64]
Rows = NDArray[np.int64]
Reals = NDArray[np.float64]

# Everything that is raised for a damaged .npy or .npz file.
DAMAGE = (
    *(OSError, ValueError, TypeError, LookupError, ArithmeticError, RuntimeError, SyntaxError, EOFError, MemoryError),
    *(AttributeError, TokenError, BadZipFile, zlib.error, struct.error),
)


def save_arrays(path: Path, **parts: Any) -> None:
    """Write arrays, and those in dataclasses and tuples, to an .npz file; equal arrays give identical bytes."""
    with path.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **dict(_named(parts.items())))


def _named(parts: Iterable[tuple[Any, Any]], before: str = "") -> Iterator[tuple[str, NDArray[Any]]]:
    for name, part in parts:
        if isinstance(part, np.ndarray):
            yield f"{before}{name}", part
        else:
            inner = enumerate(part) if isinstance(part, tuple) else vars(part).items()
            yield from _named(inner, f"{before}{name}/")


def load_arrays(path: Path) -> dict[str, Any]:
    """Read what `save_arrays` wrote; each dataclass or tuple becomes a dict.

    Raises one of `DAMAGE` for any other file, also where a single bit has changed.
    """
    parts: dict[str, Any] = {}
    with np.load(path, allow_pickle=False) as file:
        for name in file.files:
            *folders, last = name.split("/")
            reduce(lambda part, folder: part.setdefault(folder, {}), folders, parts)[last] = file[name]
    return parts


def spans(starts: Rows, lengths: Rows) -> tuple[Rows, Rows]:
    """The numbers from each start on, `lengths` many, one span behind the other; and the offsets of the spans."""
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], lengths), offsets


def evenly(rows: int, most: int) -> Rows:
    """The numbers from 0 to `rows`, or `most` of them at equal distances, the first and the last included."""
    return np.linspace(0, rows - 1, min(rows, most)).astype(np.int64)


def look_up(keys: NDArray[Any], values: NDArray[Any], wanted: NDArray[Any], default: float) -> NDArray[Any]:
    """The value of each key that is wanted, and `default` for what is no key; keys are sorted."""
    if not len(keys):
        return np.full(wanted.shape, default, dtype=values.dtype)
    places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[places] == wanted, values[places], default)


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
        parts = [("\n".join(part), len(part)) for part in in_parts(strings)]
        return cls(tuple(part for part, _ in parts), sum(count for _, count in parts))

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
        fits = ids.dtype == np.uint16 and offsets.dtype == np.int64 and ids.ndim == offsets.ndim == 1 and len(offsets)
        if not fits or offsets[0] != 0 or (offsets[1:] < offsets[:-1]).any() or offsets[-1] != len(ids):
            raise UserError(f"{prefix} is not a store of strings (ids and offsets do not fit): run `dvc repro prepare`")
        return cls(ids, offsets)

    def largest(self) -> int:
        """The largest id, or 0 without any."""
        return int(self.ids.max(initial=0))

    def save(self, prefix: Path) -> None:
        """Write `prefix`.ids.npy and `prefix`.offsets.npy."""
        np.save(f"{prefix}.ids.npy", self.ids)
        np.save(f"{prefix}.offsets.npy", self.offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def lengths(self, rows: Rows) -> NDArray[np.int64]:
        """The number of symbols of each row, int64 [len(rows)]."""
        return self.offsets[rows + 1] - self.offsets[rows]

    def take(self, rows: Rows) -> "StringStore":
        """Copy some rows, in that order, into a store in memory."""
        places, offsets = spans(self.offsets[rows], self.lengths(rows))
        return StringStore(self.ids[places], offsets)

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


def similar_pairs(sources: StringStore, targets: StringStore, cells: int) -> Iterator[Rows]:
    """Row-aligned pairs with symbols on both sides, in batches of similar lengths, so that there is little padding.

    cells: how many a batch has, where a pair of S and T symbols has (S + 1) * (T + 1).
    """
    source_lengths, target_lengths = np.diff(sources.offsets), np.diff(targets.offsets)
    rows = np.flatnonzero((source_lengths > 0) & (target_lengths > 0))
    order = rows[np.lexsort((source_lengths[rows], target_lengths[rows]))]
    total = np.cumsum((source_lengths[order] + 1) * (target_lengths[order] + 1))
    yield from np.split(order, np.flatnonzero(np.diff(total // cells)) + 1)


def neighbours(ids: NDArray[np.int32], places: Sequence[int]) -> Iterator[NDArray[np.int64]]:
    """For each of `places`, relative to a symbol, the neighbour there of every symbol of ids [B, T], row after row.

    START stands before a row, END after it, PADDING further out.
    """
    B, T = ids.shape
    inside, reach = ids != PADDING, max(map(abs, places))
    wide = np.pad(ids.astype(np.int64), ((0, 0), (reach, reach)))
    wide[:, reach - 1] = START
    wide[np.arange(B), reach + inside.sum(axis=1)] = END
    for place in places:
        yield wide[:, reach + place : reach + place + T][inside]
