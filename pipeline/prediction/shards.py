"""Shards: files of sources, matched by a pattern and read slice by slice, whatever their size.

A slice is the part of a shard that one worker reads at a time. Predicting is left to `files`.
"""

import codecs
import gzip
import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from glob import glob, has_magic
from itertools import islice, takewhile
from pathlib import Path
from typing import IO, NamedTuple, cast

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import UserError

SOURCE = "source"  # the column that is read if none is named
SLICE_ROWS = 2**17  # of Parquet: some ten seconds of greedy decoding by a core
SLICE_BYTES = 2**21  # of text: about as many rows
LONGEST_LINE = 2**20  # bytes; no more of a line is kept in memory
EXCERPT = 200  # characters that are kept of a source that cannot be used
ROWS_AT_ONCE = 2**13


class Format(StrEnum):
    """The format of a shard, by the ending of its name."""

    PARQUET = "parquet"
    TSV = "tsv"
    TEXT = "text"


ENDINGS = {
    ".parquet": Format.PARQUET,
    ".tsv": Format.TSV,
    ".tsv.gz": Format.TSV,
    ".txt": Format.TEXT,
    ".txt.gz": Format.TEXT,
}


class Row(NamedTuple):
    """A row of a shard: a source, or why it has none that can be used."""

    source: str | None
    fault: str | None = None


@dataclass(frozen=True)
class Shard:
    """A file of sources. name: its path below the folder that the pattern starts from, without the ending."""

    path: Path
    name: str
    format: Format

    @property
    def is_packed(self) -> bool:
        """Whether the file is compressed and can only be read from its start."""
        return self.path.suffix == ".gz"

    def state(self) -> dict[str, int]:
        """Size in bytes and time of the last change in nanoseconds: they differ once the file has changed."""
        try:
            status = self.path.stat()
        except OSError as error:
            raise UserError(f"{self.path} cannot be read: {error.strerror}") from error
        return {"bytes": status.st_size, "modified": status.st_mtime_ns}


@dataclass(frozen=True)
class Slice:
    """Rows `start` to `stop` of a Parquet file, or the lines of a text file that begin at these bytes.

    stop: None for the end of the file. cell: the one of a line that is the source.
    """

    shard: Shard
    start: int
    stop: int | None
    column: str = SOURCE
    cell: int = 0


def find_shards(pattern: str) -> list[Shard]:
    """The files that a pattern such as `shards/**/*.parquet` matches, in the order of their names.

    Raises `UserError` if there are none, one has an unknown format or lies above the folder, or two have the same name.
    """
    parts = Path(pattern).parts
    if Path(pattern).is_file():
        base, paths = Path(pattern).parent, [Path(pattern)]
    else:
        base = Path(*takewhile(lambda part: not has_magic(part), parts))
        paths = sorted(path for path in map(Path, glob(pattern, recursive=True)) if path.is_file())
    if not paths:
        hint = f", which is a folder: name its files, '{pattern}/*.parquet'" if Path(pattern).is_dir() else ""
        raise UserError(f"--input {pattern}{hint or ' matches no file: correct it, and put patterns in quotes'}")
    shards: dict[str, Shard] = {}
    for path in paths:
        ending = next((ending for ending in ENDINGS if path.name.lower().endswith(ending)), None)
        if ending is None:
            raise UserError(f"{path}: unknown format, its name must end in {', '.join(ENDINGS)}")
        below = path.relative_to(base)
        if ".." in below.parts:  # its predictions would be written outside of the output
            raise UserError(f"--input {pattern} goes up again after a wildcard: name the folder that holds all files")
        name = below.as_posix()[: -len(ending)]
        if name in shards:
            raise UserError(f"{shards[name].path} and {path} would both be written to {name}.parquet: rename one")
        shards[name] = Shard(path.absolute(), name, ENDINGS[ending])
    return list(shards.values())


def slices(shard: Shard, column: str | None = None) -> Iterator[Slice]:
    """All of a shard, at least one slice; a compressed file is one.

    column: of Parquet or TSV, by default `source`, or the first of a TSV without that. Raises `UserError` if it is
    missing.
    """
    match shard.format:
        case Format.PARQUET:
            rows = _check_parquet(shard, column or SOURCE)
            for start in range(0, max(rows, 1), SLICE_ROWS):
                yield Slice(shard, start, min(start + SLICE_ROWS, rows), column or SOURCE)
        case Format.TSV | Format.TEXT:
            start, cell = _find_cell(shard, column)
            size = shard.state()["bytes"]
            if shard.is_packed or size - start <= SLICE_BYTES:
                yield Slice(shard, start, None, cell=cell)
                return
            for begin in range(start, size, SLICE_BYTES):
                yield Slice(shard, begin, begin + SLICE_BYTES if begin + SLICE_BYTES < size else None, cell=cell)


def read(piece: Slice) -> Iterator[list[Row]]:
    """The rows of a slice in their order, up to `ROWS_AT_ONCE` at a time.

    Raises `UserError` if the file cannot be read; a single row that cannot be read has a fault.
    """
    rows = _parquet_rows(piece) if piece.shard.format is Format.PARQUET else _text_rows(piece)
    try:
        while part := list(islice(rows, ROWS_AT_ONCE)):
            yield part
    except (OSError, EOFError, zlib.error, pa.ArrowException) as error:
        raise UserError(f"{piece.shard.path} cannot be read: {error}") from error


def _check_parquet(shard: Shard, column: str) -> int:
    """The number of rows; raises `UserError` if the column is missing or not of strings."""
    try:
        with pq.ParquetFile(shard.path) as file:
            schema, rows = file.schema_arrow, file.metadata.num_rows
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{shard.path} cannot be read as Parquet: {error}") from error
    if column not in schema.names:
        raise UserError(f"{shard.path} has no column '{column}' (it has {', '.join(schema.names)}): use --column")
    kind = schema.field(column).type
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)):
        raise UserError(f"{shard.path}: column '{column}' is of type {kind}, sources are strings")
    return int(rows)


def _parquet_rows(piece: Slice) -> Iterator[Row]:
    stop = cast(int, piece.stop)
    # Buffered, or all pages of a row group would be in memory at once.
    with pq.ParquetFile(piece.shard.path, buffer_size=2**20) as file:
        groups: list[int] = []
        ends = first = 0
        for group in range(file.num_row_groups):
            begins, ends = ends, ends + file.metadata.row_group(group).num_rows
            if begins < stop and ends > piece.start:
                first = begins if not groups else first
                groups.append(group)
        if not groups:
            return
        for batch in file.iter_batches(ROWS_AT_ONCE, groups, [piece.column]):
            skipped = min(len(batch), max(0, piece.start - first))
            here = batch.slice(skipped, max(0, stop - first - skipped))
            first += len(batch)
            if len(here):
                texts = here.column(0).cast(pa.large_string(), safe=False).cast(pa.large_binary())
                yield from (Row(None, "is null") if text is None else _decoded(text) for text in texts.to_pylist())


def _find_cell(shard: Shard, column: str | None) -> tuple[int, int]:
    """The byte at which the first row begins, and the number of the cell that is the source."""
    if shard.format is Format.TEXT:
        if column:
            raise UserError(
                f"{shard.path} is text, a source per line, and has no column '{column}': leave --column out"
            )
        return 0, 0
    try:
        with _opened(shard) as file:
            header = file.readline(LONGEST_LINE)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{shard.path} cannot be read: {error}") from error
    names = header.removeprefix(codecs.BOM_UTF8).decode(errors="replace").rstrip("\r\n").split("\t")
    if (column or SOURCE) in names:
        return len(header), names.index(column or SOURCE)
    if column:
        raise UserError(f"{shard.path} has no column '{column}' in its first line: correct --column or leave it out")
    return 0, 0


def _text_rows(piece: Slice) -> Iterator[Row]:
    stop = math.inf if piece.stop is None else piece.stop
    with _opened(piece.shard) as file:
        place = piece.start
        if place:  # the line that began before belongs to the slice before
            file.seek(place - 1)
            place += _skip_line(file) - 1
        while place < stop and (line := file.readline(LONGEST_LINE)):
            begins, place = place, place + len(line)
            if begins == 0:
                line = line.removeprefix(codecs.BOM_UTF8)
            if len(line) == LONGEST_LINE and not line.endswith(b"\n"):
                place += _skip_line(file)
                excerpt = line[:EXCERPT].decode(errors="replace")
                yield Row(f"{excerpt}…", f"is in a line of more than {LONGEST_LINE:,} bytes")
            else:
                yield _cell(line.removesuffix(b"\n").removesuffix(b"\r"), piece)


def _skip_line(file: IO[bytes]) -> int:
    """Skip to the next line; the number of bytes that were left of this one."""
    skipped = 0
    while part := file.readline(LONGEST_LINE):
        skipped += len(part)
        if part.endswith(b"\n"):
            break
    return skipped


def _cell(line: bytes, piece: Slice) -> Row:
    if piece.shard.format is Format.TEXT:
        return _decoded(line)
    cells = line.split(b"\t")
    if piece.cell < len(cells):
        return _decoded(cells[piece.cell])
    return Row(None, f"is missing: the line has {len(cells)} columns")


def _decoded(text: bytes) -> Row:
    try:
        return Row(text.decode())
    except UnicodeDecodeError as error:
        return Row(text.decode(errors="replace"), f"is not UTF-8 at its byte {error.start + 1}")


def _opened(shard: Shard) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(shard.path)) if shard.is_packed else shard.path.open("rb")
