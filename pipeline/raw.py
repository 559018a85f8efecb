"""Rows of raw files: reading and cleaning. What is made of them is `pipeline.corpus`'s."""

import codecs
import gzip
import re
import unicodedata
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from pipeline.alphabet import Symbols
from pipeline.errors import UserError

CONTROL = re.compile(r"[\x00-\x1f]")
EXCERPT = 200  # bytes of a bad row that are shown
BYTES_AT_ONCE = 2**16  # read, and looked at row by row only if one of their rows might be bad


@dataclass(frozen=True, slots=True)
class Rejected:
    """A row that was left out; `text` is its beginning, control characters and invalid bytes escaped."""

    file: str
    line: int
    reason: str
    text: str


def read_rows(
    path: Path, columns: dict[str, Symbols], max_symbols: int, rejected: list[Rejected] | None
) -> Iterator[Sequence[str]]:
    """The cells of each good row of a file of tab-separated columns, by name the kinds of their symbols.

    A bad row raises `UserError`, or is added to `rejected` where such a list is given.
    """
    first = 1
    for block in blocks(path):
        plain = _plain_rows(block, max_symbols) if len(columns) == 1 else None
        if plain is None:
            yield from _clean_rows(path, first, lines(block), columns, max_symbols, rejected)
        else:
            yield from zip(plain, strict=True)
        first += block.count(b"\n")


def lines(block: bytes) -> list[bytes]:
    """Lines end at a line feed alone: to Python's text files, characters such as U+2028 end one as well."""
    return [line.removesuffix(b"\r") for line in block.removesuffix(b"\n").split(b"\n")]


def blocks(path: Path) -> Iterator[bytes]:
    """A file in blocks of whole lines, without a byte order mark."""
    try:
        with cast(IO[bytes], gzip.open(path) if path.suffix == ".gz" else path.open("rb")) as file:
            mark = codecs.BOM_UTF8
            while block := file.read(BYTES_AT_ONCE):
                yield (block + file.readline()).removeprefix(mark)
                mark = b""
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: put it there, or correct its name in params.yaml") from None
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} cannot be read: {error}") from error


class _BadRowError(Exception):
    """Why a row cannot be used."""


def _plain_rows(block: bytes, max_symbols: int) -> list[str] | None:
    """The rows of one column in a block where it is plain to see for all at once that each is good, else None."""
    try:
        text = block.decode()
    except UnicodeDecodeError:
        return None
    # No character composes with a line feed, so that all rows may be composed as one.
    text = _composed(text.replace("\r\n", "\n").removesuffix("\n"))
    between = f"\n{text}\n"
    if any(gap in between for gap in ("\n\n", "\n ", " \n", "  ")):  # a row or symbol may be empty
        return None
    rows = text.split("\n")
    # What is printable has neither control characters nor tabs; no row has more symbols than characters.
    return rows if "".join(rows).isprintable() and max(map(len, rows)) <= max_symbols else None


def _clean_rows(
    path: Path,
    first: int,
    raw: Sequence[bytes],
    columns: dict[str, Symbols],
    max_symbols: int,
    rejected: list[Rejected] | None,
) -> Iterator[list[str]]:
    for number, line in enumerate(raw, start=first):
        try:
            yield _clean(line, columns, max_symbols)
        except _BadRowError as reason:
            row = Rejected(path.as_posix(), number, str(reason), _excerpt(line))
            if rejected is None:
                raise UserError(
                    f"{path}, line {number}: {reason}. The row is '{row.text}'. "
                    "Correct it, or leave such rows out with prepare.on_bad_row: skip"
                ) from None
            rejected.append(row)


def _composed(text: str) -> str:
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def _clean(line: bytes, columns: dict[str, Symbols], max_symbols: int) -> list[str]:
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        raise _BadRowError(f"byte {error.start + 1} is not UTF-8") from None
    cells = _composed(text).split("\t")
    if len(cells) != len(columns):
        raise _BadRowError(f"{len(cells)} tab-separated columns instead of {len(columns)} ({', '.join(columns)})")
    for cell, (name, kind) in zip(cells, columns.items(), strict=True):
        if not cell or cell.isspace():
            raise _BadRowError(f"the {name} is empty")
        if not cell.isprintable() and (control := CONTROL.search(cell)):
            raise _BadRowError(f"the {name} has the control character U+{ord(control[0]):04X}")
        symbols = len(cell)
        if kind is Symbols.SPACES:
            if cell[0] == " " or cell[-1] == " " or "  " in cell:
                raise _BadRowError(f"the {name} has an empty symbol: a space at its start or end, or two in a row")
            symbols = cell.count(" ") + 1
        if symbols > max_symbols:
            raise _BadRowError(f"the {name} has {symbols:,} symbols, prepare.max_symbols is {max_symbols:,}")
    return cells


def _excerpt(line: bytes) -> str:
    text = line[:EXCERPT].decode("utf-8", "backslashreplace") + ("…" if len(line) > EXCERPT else "")
    return CONTROL.sub(lambda control: f"\\x{ord(control[0]):02x}", text)
