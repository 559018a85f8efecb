"""Tables that people made, in whatever encoding and with whatever delimiter, read as rows of cells.

`raw` reads files in the project's own form, and refuses others; `inspection` says what the columns of a table are.
"""

import codecs
import csv
import io
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pipeline.data.packed import READ_ERRORS, is_packed, open_unpacked
from pipeline.data.raw import FREELY_UNPACKED, MOST_UNPACKED
from pipeline.errors import UserError
from pipeline.text import one_spaced, shown

SAMPLE = 2_000  # lines that tell the delimiter
ALIKE = 0.9  # of the lines must have the same number of columns
DELIMITERS = {"\t": "tabs", ";": "semicolons", ",": "commas", "|": "bars", "  ": "two or more spaces"}
WIDE = re.compile(" {2,}")
LONGEST_CELL = 10  # lines: a quoted cell with more was never closed
# The first bytes of files in other encodings than UTF-8; of UTF-32 before those of UTF-16, which they begin with.
MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
NAMES = {"utf-8": "UTF-8", "utf-8-sig": "UTF-8 with a byte order mark"}
OFTEN_MEANT = ("cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "mac_roman", "shift_jis", "gb18030")


@dataclass(frozen=True)
class Row:
    """The cells of a row, without white space around them, and the line of the file on which it begins."""

    line: int
    cells: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """The rows that are not blank. encoding, delimiter: in words, empty for one column. notes: what else is unusual."""

    path: Path
    encoding: str
    delimiter: str
    rows: list[Row]
    notes: tuple[str, ...] = ()

    @cached_property
    def width(self) -> int:
        """The number of columns of most rows."""
        return Counter(len(row.cells) for row in self.rows).most_common(1)[0][0]

    def column(self, number: int) -> list[str]:
        """The cells of a column, of all rows that have it."""
        return [row.cells[number] for row in self.rows if number < len(row.cells)]


def read_table(path: Path, encoding: str | None = None) -> Table:
    """Read a file, which may be compressed; raises `UserError` where that needs a person.

    encoding: if it is neither UTF-8 nor UTF-16. Without it, a file in another one is an error that shows how a line of
    it reads in several.
    """
    text, name = _decoded(_content(path), path, encoding)
    notes = []
    text = text.replace("\r\n", "\n")
    if "\r" in text and "\n" not in text:
        text = text.replace("\r", "\n")
        notes.append("lines end in carriage returns alone")
    delimiter = _delimiter(text, path)
    rows = [Row(line, tuple(map(str.strip, cells))) for line, cells in _rows(text, delimiter, path)]
    if not rows:
        raise UserError(f"{path} has no rows: name another file")
    filled = sorted({number for row in rows for number, cell in enumerate(row.cells) if cell})
    if len(filled) < max(len(row.cells) for row in rows):  # such as those that delimiters at the ends of lines make
        rows = [Row(row.line, tuple(row.cells[number] for number in filled if number < len(row.cells))) for row in rows]
    return Table(path, name, DELIMITERS.get(delimiter, "") if len(filled) > 1 else "", rows, tuple(notes))


def _content(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        with open_unpacked(path) as file:
            most = max(FREELY_UNPACKED, MOST_UNPACKED * size) if is_packed(file) else size
            content = file.read(most + 1)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: correct its name") from None
    except READ_ERRORS as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    if len(content) > most:
        raise UserError(f"{path} unpacks to more than {MOST_UNPACKED} times its size, as no text does")
    return content


def _decoded(content: bytes, path: Path, encoding: str | None) -> tuple[str, str]:
    marked = next((name for mark, name in MARKS.items() if content.startswith(mark)), None)
    name = marked or encoding or _without_mark(content)
    try:
        return content.decode(name), NAMES.get(name, name.upper())
    except LookupError:
        raise UserError(f"--encoding {name} is unknown: write a name such as cp1252, latin-1 or shift_jis") from None
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        reason = f"{path}, line {line}: byte 0x{content[error.start]:02X} is not {NAMES.get(name, name.upper())}"
        if marked or encoding:
            raise UserError(f"{reason}: correct --encoding, or save the file as UTF-8") from None
        readings = _readings(content[content.rfind(b"\n", 0, error.start) + 1 :].split(b"\n", 1)[0])
        raise UserError(f"{reason}. Save the file as UTF-8, or name its encoding{readings}") from None


def _without_mark(content: bytes) -> str:
    """UTF-16 for text with a NUL in every other byte, as Latin text in it has, else UTF-8."""
    head = content[:4096]
    if 4 * head.count(0) > len(head):
        return "utf-16-be" if head[::2].count(0) > head[1::2].count(0) else "utf-16-le"
    return "utf-8"


def _readings(line: bytes) -> str:
    """How a line reads in the encodings that are often meant, different readings only."""
    readings: dict[str, str] = {}
    for name in OFTEN_MEANT:
        try:
            text = line.decode(name)
        except UnicodeDecodeError:
            continue
        if text.replace("\t", " ").strip().isprintable():
            readings.setdefault(shown(text.strip()), name)
    return "".join(f"\n  --encoding {name} reads the line as {text}" for text, name in readings.items())


def _delimiter(text: str, path: Path) -> str:
    """The delimiter that gives most lines the same number of columns, at least two; empty for one without quotes."""
    sample = [line for line in text[: SAMPLE * 1000].split("\n")[:SAMPLE] if line.strip()]
    shares = {}
    for delimiter in DELIMITERS:
        widths = Counter(len(cells) for line in sample for _, cells in _rows(line, delimiter, path))
        width, lines = widths.most_common(1)[0] if widths else (1, 0)
        if delimiter == "\t":  # which is never part of a string
            lines = sum(number for columns, number in widths.items() if columns > 1)
        if width > 1 and lines >= ALIKE * widths.total():
            shares[delimiter] = lines
    if "," in shares and path.suffix.lower() != ".csv" and sum(", " in line for line in sample) > len(sample) / 2:
        del shares[","]  # names such as `Smith, John`
    quoted = sum(line.startswith('"') and line.rstrip().endswith('"') for line in sample)
    return max(shares, key=lambda one: shares[one], default="," if quoted >= ALIKE * max(len(sample), 1) else "")


def _rows(text: str, delimiter: str, path: Path) -> Iterator[tuple[int, list[str]]]:
    """The rows with their lines. In files with commas and the like cells may be quoted, between tabs they are not."""
    if delimiter not in (";", ",", "|"):
        for number, line in enumerate(text.split("\n"), start=1):
            if line.strip():
                yield number, WIDE.split(line) if delimiter == "  " else line.split(delimiter) if delimiter else [line]
        return
    reader, first = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), 1
    try:
        for cells in reader:
            if reader.line_num - first >= LONGEST_CELL:
                raise UserError(f"{path}, line {first}: a quotation mark opens a cell that is never closed: close it")
            if any(map(one_spaced, cells)):
                yield first, cells
            first = reader.line_num + 1
    except csv.Error as error:
        raise UserError(f"{path}, line {first}: not a row of cells ({error}): correct it") from None
