"""Rows of raw files, read and cleaned; `corpus` makes splits of them."""

import codecs
import os
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from pipeline.config.options import Symbols
from pipeline.data.packed import READ_ERRORS, is_packed, open_unpacked
from pipeline.errors import UserError
from pipeline.text import composed, one_spaced, shown

COUNT = re.compile("0*[1-9][0-9]{0,17}", re.ASCII)
CONTROL = re.compile(r"[\x00-\x1f]")
EXCERPT = 200  # bytes of a bad row in messages
BYTES_AT_ONCE = 2**16  # of a file; split into rows only if one of them may be bad
LONGEST_LINE = 2**20  # bytes; the rest of a longer line is dropped
MOST_REJECTED = 1_000_000  # skipped rows; a file with more is of another kind

# A packed file may unpack to FREELY_UNPACKED bytes, and beyond that to MOST_UNPACKED times its size: text never does.
FREELY_UNPACKED = 2**28
MOST_UNPACKED = 200

UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclass(frozen=True, slots=True)
class Rejected:
    """A skipped row; `text` is its first bytes, with control characters and invalid bytes escaped."""

    file: str
    line: int
    reason: str
    text: str


def read_rows(
    path: Path, columns: Mapping[str, Symbols | None], max_symbols: int, rejected: list[Rejected] | None
) -> Iterator[Sequence[str]]:
    """Read the cells of each row of a file of tab-separated columns.

    columns: the kind of symbols of each by name; None is that of a column of counts, whole numbers above 0. A bad row
    raises `UserError`, or is added to `rejected` if it is a list.
    """
    first = 1
    for block in blocks(path):
        plain = _plain_rows(block, max_symbols) if len(columns) == 1 else None
        yield from zip(plain or (), strict=True)
        for number, line in enumerate(() if plain else lines(block), start=first):
            try:
                cells = _clean(line, columns, max_symbols)
            except ValueError as reason:
                _reject(Rejected(path.as_posix(), number, str(reason), _excerpt(line)), rejected)
            else:
                yield cells
        first += block.count(b"\n")


def lines(block: bytes) -> list[bytes]:
    """Split a block into lines at line feeds alone; Python's text files also do so at characters such as U+2028."""
    return [line.removesuffix(b"\r") for line in block.removesuffix(b"\n").split(b"\n")]


def blocks(path: Path) -> Iterator[bytes]:
    """Read a file in blocks of whole lines, without its byte order mark; lines are cut at `LONGEST_LINE` bytes."""
    mark, line = codecs.BOM_UTF8, 0
    try:
        size = path.stat().st_size
        with open_unpacked(path) as file:
            most = max(FREELY_UNPACKED, MOST_UNPACKED * size) if is_packed(file) else None
            while block := file.read(BYTES_AT_ONCE):
                block += _rest_of_line(file, most)
                yield block.removeprefix(mark)
                mark = b""
                line += block.count(b"\n")
    except FileNotFoundError:
        raise UserError(f"{path} does not exist{_remedy(path)}") from None
    except READ_ERRORS as error:
        where = f" beyond line {line:,}" if line else ""
        raise UserError(f"{path} cannot be read{where}: {error}") from error


def utf_16_hint(line: bytes) -> str:
    """What to do if a line that is not UTF-8 begins like a file in UTF-16, in words that follow the reason."""
    return ", but a file in UTF-16 begins like that: save it as UTF-8" if line.startswith(UTF_16) else ""


def _remedy(path: Path) -> str:
    """What to do about a missing file: if the project itself has it, this is a copy that DVC made for an experiment."""
    if path.parts[:2] != ("data", "raw"):
        return ""
    if not (Path(os.environ.get("DVC_ROOT", "")) / path).exists():
        return ": put it there, or correct its name in params.yaml"
    name, pointer = shlex.quote(str(path)), shlex.quote(f"{path}.dvc")
    return (
        f" in this copy of the project, which DVC makes of tracked files alone. Run `git add {name}` first, "
        f"or for a large file `dvc add {name}` and `git add {pointer}`"
    )


def _rest_of_line(file: IO[bytes], most: int | None) -> bytes:
    """Read up to the next line feed; raises OSError where more than `most` bytes have been unpacked."""
    rest = more = file.readline(LONGEST_LINE)
    while most is None or file.tell() <= most:  # a pipe has no position
        if len(more) < LONGEST_LINE or more.endswith(b"\n"):
            return rest if rest.endswith(b"\n") or not more.endswith(b"\n") else rest + b"\n"
        more = file.readline(LONGEST_LINE)
    raise OSError(f"it unpacks to more than {MOST_UNPACKED} times its size, as no text does")


def _plain_rows(block: bytes, max_symbols: int) -> list[str] | None:
    """The rows of a block of one column if a check of the whole block shows that all are good, else None."""
    try:
        # No character composes with a line feed, so that all rows can be composed as one.
        text = composed(block.decode().replace("\r\n", "\n").removesuffix("\n"))
    except ValueError:
        return None
    between = f"\n{text}\n"
    if any(gap in between for gap in ("\n\n", "\n ", " \n", "  ")):  # a row or symbol may be empty
        return None
    rows = text.split("\n")
    # What is printable has neither control characters nor tabs; no row has more symbols than characters.
    return rows if "".join(rows).isprintable() and max(map(len, rows)) <= max_symbols else None


def _reject(row: Rejected, rejected: list[Rejected] | None) -> None:
    """Add a bad row to `rejected`, or raise `UserError`."""
    where = f"{row.file}, line {row.line}: {row.reason}."
    if rejected is None:
        raise UserError(
            f"{where} The row is '{row.text}'. "
            "Correct it, or set prepare.on_bad_row: skip to have `dvc repro` leave such rows out"
        )
    if len(rejected) == MOST_REJECTED:
        skipped = f"{MOST_REJECTED:,} bad rows were skipped before it, too many for mistakes"
        raise UserError(f"{where} {skipped}: is it a file of this kind?")
    rejected.append(row)


def has_counts(path: Path) -> bool:
    """Whether the first line of a file of targets has a second column: a count behind a tab."""
    first = next(blocks(path), b"")
    return any(b"\t" in line.strip() for line in lines(first)[:1])


def _clean(line: bytes, columns: Mapping[str, Symbols | None], max_symbols: int) -> list[str]:
    """The cells of a row; raises ValueError for a bad one."""
    if len(line) >= LONGEST_LINE:
        raise ValueError(f"it has {LONGEST_LINE:,} bytes or more")
    try:
        text = composed(line.decode())
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start + 1} is not UTF-8{utf_16_hint(line)}") from None
    except ValueError as error:
        raise ValueError(f"it has {error}") from None
    cells = text.split("\t")
    if len(cells) != len(columns):
        separated = (mark for mark in ",;|" if len(cells) == 1 and 1 + text.count(mark) == len(columns))
        hint = "".join(f": are they separated by '{mark}'? Write a tab in its place" for mark in separated)
        if "\r" in text.strip():
            hint = ": do the lines end in carriage returns alone? Save the file with line feeds"
        raise ValueError(f"{len(cells)} tab-separated columns instead of {len(columns)} ({', '.join(columns)}){hint}")
    return clean_cells(cells, columns, max_symbols)


def clean_cells(cells: Sequence[str], columns: Mapping[str, Symbols | None], max_symbols: int) -> list[str]:
    """Cells, composed already, without needless white space; raises ValueError with the reason for a bad one."""
    sides = zip(cells, columns.items(), strict=True)
    return [_clean_cell(cell, name, kind, max_symbols) for cell, (name, kind) in sides]


def _clean_cell(cell: str, name: str, kind: Symbols | None, max_symbols: int) -> str:
    cell = cell.strip()
    if not cell:
        raise ValueError(f"the {name} is empty")
    if not cell.isprintable() and (control := CONTROL.search(cell)):
        raise ValueError(f"the {name} has the control character U+{ord(control[0]):04X}")
    if kind is None:
        if not COUNT.fullmatch(cell):
            raise ValueError(f"the {name} is {shown(cell)}, but must be a whole number above 0")
        return cell
    cell = one_spaced(cell)
    symbols = cell.count(" ") + 1 if kind is Symbols.SPACES else len(cell)
    if symbols > max_symbols:
        raise ValueError(f"the {name} has {symbols:,} symbols, prepare.max_symbols is {max_symbols:,}")
    return cell


def _excerpt(line: bytes) -> str:
    text = line[:EXCERPT].decode("utf-8", "backslashreplace") + ("…" if len(line) > EXCERPT else "")
    # Controls, and characters that end lines or change the direction of writing, would garble a message.
    return "".join(part if part.isprintable() else part.encode("unicode_escape").decode() for part in text)
