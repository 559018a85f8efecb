"""Shards: files of sources, matched by a pattern and read slice by slice, whatever their size.

A slice is the part of a shard that one worker reads at a time. Predicting is left to `files`.
"""

import codecs
import sys
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from glob import glob
from itertools import accumulate, islice, takewhile
from pathlib import Path
from typing import IO, Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.data import packed
from pipeline.data.packed import open_unpacked
from pipeline.data.raw import LONGEST_LINE, utf_16_hint
from pipeline.errors import UserError

PARQUET, TSV, TEXT = ".parquet", ".tsv", ".txt"
ENDINGS = (PARQUET, *(kind + packing for kind in (TSV, TEXT) for packing in ("", *packed.ENDINGS)))
SOURCE = "source"  # the column that is read if none is named
SLICE_ROWS = 2**17  # of Parquet: some ten seconds of greedy decoding by a core
SLICE_BYTES = 2**21  # of text: about as many rows
EXCERPT = 200  # characters that are kept of a source that cannot be used
ROWS_AT_ONCE = 2**13


class SourceRow(NamedTuple):
    """A row of a shard: a source, or why it has none that can be used."""

    source: str | None
    fault: str | None = None


@dataclass(frozen=True)
class Shard:
    """A file of sources.

    name: its path below the folder that the pattern starts from, without the ending. ending: one of `ENDINGS`, or empty
    for text. bytes, modified: its size and the time of its last change in nanoseconds since 1970, which differ once it
    has changed.
    """

    path: Path
    name: str
    ending: str
    bytes: int
    modified: int


@dataclass(frozen=True)
class Slice:
    """Rows `start` to `stop` of a Parquet file, or the lines of a text file that begin at these bytes.

    stop: may lie behind the end of the file. column: the name of one of a Parquet file, the number of one of a text.
    """

    shard: Shard
    start: int
    stop: int
    column: Any


def find_shards(pattern: str) -> list[Shard]:
    """The files that a pattern such as `shards/**/*.parquet` matches, in the order of their names.

    A file whose name is given in full is text, unless its ending says otherwise. Raises `UserError` if there are none,
    one has an unknown format or lies above the folder, or two have the same name.
    """
    parts = Path(pattern).parts
    if Path(pattern).is_file():
        base, paths = Path(pattern).parent, [Path(pattern)]
    else:
        folders = takewhile(Path.is_dir, accumulate(parts[:-1], Path.joinpath, initial=Path()))
        *_, base = folders  # a `?` or `[` in the name of an existing folder is no wildcard
        names = glob(str(Path(*parts[len(base.parts) :])), root_dir=base, recursive=True)
        paths = sorted(path for path in (base / name for name in names) if path.is_file())
    if not paths:
        hint = f", which is a folder: name its files, '{pattern}/*.parquet'" if Path(pattern).is_dir() else ""
        raise UserError(f"--input {pattern}{hint or ' matches no file: correct it, and put patterns in quotes'}")
    shards: dict[str, Shard] = {}
    for path in paths:
        otherwise = "" if path == Path(pattern) else None
        ending = next((ending for ending in ENDINGS if path.name.lower().endswith(ending)), otherwise)
        if ending is None:
            raise UserError(f"{path}: unknown format, its name must end in {', '.join(ENDINGS)}")
        below = path.relative_to(base)
        if ".." in below.parts:  # its predictions would be written outside of the output
            raise UserError(f"--input {pattern} goes up again after a wildcard: name the folder that holds all files")
        name = below.as_posix().removesuffix(path.name[len(path.name) - len(ending) :])
        if name in shards:
            raise UserError(f"{shards[name].path} and {path} would both be written to {name}.parquet: rename one")
        status = path.stat()
        shards[name] = Shard(path.absolute(), name, ending, status.st_size, status.st_mtime_ns)
    return list(shards.values())


def slices(shard: Shard, column: str | None = None) -> list[Slice]:
    """All of a shard, at least one slice; a compressed file, which can only be read from its start, is one.

    column: of Parquet or TSV, by default `source`, or the first of a TSV without that. Raises `UserError` if it is
    missing or has no strings, or the file cannot be read.
    """
    with _reading(shard.path):
        if shard.ending == PARQUET:
            first, which, size = 0, column or SOURCE, SLICE_ROWS
            end = _count_rows(shard, which)
        else:
            first, which = _find_column(shard, column)
            with open_unpacked(shard.path) as file:
                end, size = shard.bytes, sys.maxsize if packed.is_packed(file) else SLICE_BYTES
    return [Slice(shard, start, start + size, which) for start in range(first, max(end, first + 1), size)]


def read(piece: Slice) -> Iterator[list[SourceRow]]:
    """The rows of a slice in their order, up to `ROWS_AT_ONCE` at a time.

    Raises `UserError` if the file cannot be read or has changed; a single row that cannot be read has a fault.
    """
    shard = piece.shard
    rows = _parquet_rows(piece) if shard.ending == PARQUET else _text_rows(piece)
    with _reading(shard.path):
        while part := list(islice(rows, ROWS_AT_ONCE)):
            yield part
        status = shard.path.stat()
    if (status.st_size, status.st_mtime_ns) != (shard.bytes, shard.modified):
        raise UserError(f"{shard.path} changed while it was read: start again")


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except (*packed.READ_ERRORS, pa.ArrowException) as error:
        raise UserError(f"{path} cannot be read: {error}") from error


def _count_rows(shard: Shard, column: str) -> int:
    with pq.ParquetFile(shard.path) as file:
        schema, rows = file.schema_arrow, file.metadata.num_rows
    if column not in schema.names:
        raise UserError(f"{shard.path} has no column '{column}' (it has {', '.join(schema.names)}): use --column")
    kind = schema.field(column).type
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)):
        raise UserError(f"{shard.path}: column '{column}' is of type {kind}, sources are strings")
    return int(rows)


def _parquet_rows(piece: Slice) -> Iterator[SourceRow]:
    # Buffered, or all pages of a row group would be in memory at once.
    with pq.ParquetFile(piece.shard.path, buffer_size=2**20) as file:
        sizes = (file.metadata.row_group(group).num_rows for group in range(file.num_row_groups))
        *begins, _ = accumulate(sizes, initial=0)
        groups = range(max(0, bisect_right(begins, piece.start) - 1), bisect_left(begins, piece.stop))
        first = begins[groups.start] if groups else 0
        for batch in file.iter_batches(ROWS_AT_ONCE, groups, [piece.column]):
            skipped = min(len(batch), max(0, piece.start - first))
            wanted = batch.column(0).slice(skipped, max(0, piece.stop - first - skipped))
            first += len(batch)
            texts = wanted.cast(pa.large_string(), safe=False).cast(pa.large_binary())
            yield from (SourceRow(None, "is null") if text is None else _decoded(text) for text in texts.to_pylist())


def _find_column(shard: Shard, column: str | None) -> tuple[int, Any]:
    """The byte at which the first row begins, and the number of the column with the sources."""
    if not shard.ending.startswith(TSV):
        if column:
            raise UserError(f"{shard.path} is text and has no column '{column}': leave --column out")
        return 0, None
    with open_unpacked(shard.path) as file:
        header = file.readline(LONGEST_LINE)
    names = header.removeprefix(codecs.BOM_UTF8).decode(errors="replace").rstrip("\r\n").split("\t")
    if (column or SOURCE) in names:
        return len(header), names.index(column or SOURCE)
    if column:
        raise UserError(f"{shard.path} has no column '{column}' in its first line: correct --column or leave it out")
    return 0, 0


def _text_rows(piece: Slice) -> Iterator[SourceRow]:
    with open_unpacked(piece.shard.path) as file:
        yield from text_rows(file, piece.start, piece.stop, piece.column)


def text_rows(file: IO[bytes], start: int, stop: int, column: int | None = None) -> Iterator[SourceRow]:
    """The sources on the lines that begin at the bytes from `start` to `stop`, in their order.

    file: if `start` is 0, it need not be able to seek. column: of lines with tabs; None takes the whole line.
    """
    if start:  # the line that began before belongs to the slice before
        file.seek(start - 1)
        start += _skip_line(file) - 1
    while start < stop and (line := file.readline(LONGEST_LINE)):
        text = line if start else line.removeprefix(codecs.BOM_UTF8)
        start += len(line)
        if len(line) == LONGEST_LINE and not line.endswith(b"\n"):
            start += _skip_line(file)
            excerpt = text[:EXCERPT].decode(errors="replace")
            yield SourceRow(f"{excerpt}…", f"is in a line of more than {LONGEST_LINE:,} bytes")
            continue
        text = text.removesuffix(b"\n").removesuffix(b"\r")
        columns = [text] if column is None else text.split(b"\t")
        if (column or 0) < len(columns):
            yield _decoded(columns[column or 0])
        elif not text.strip():
            yield SourceRow("")
        else:
            yield SourceRow(None, f"is missing: the line has {len(columns)} columns")


def _skip_line(file: IO[bytes]) -> int:
    """Read on to the next line, and return the number of bytes."""
    skipped = 0
    while part := file.readline(LONGEST_LINE):
        skipped += len(part)
        if part.endswith(b"\n"):
            break
    return skipped


def _decoded(text: bytes) -> SourceRow:
    try:
        return SourceRow(text.decode())
    except UnicodeDecodeError as error:
        return SourceRow(
            text.decode(errors="replace"), f"is not UTF-8 at its byte {error.start + 1}{utf_16_hint(text)}"
        )
