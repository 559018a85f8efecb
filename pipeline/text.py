"""Text: normal form and limits of Unicode, what a source may be, and what messages, tables and terminals show."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from pipeline.errors import UserError

MARKS = range(0x300, 0x1F000)  # code points among which all combining marks are
MOST_MARKS = 30  # in a row
SHOWN = 60  # characters of a value in a message

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def is_unicode(string: str) -> bool:
    """Whether a string has no lone surrogates, which stand for bytes that are not text."""
    return string.isascii() or not any("\ud800" <= character <= "\udfff" for character in string)


def composed(string: str) -> str:
    """Compose a string to normal form C, in which symbols are counted and compared.

    Raises ValueError for a string that is not in that form already and has more than `MOST_MARKS` combining marks in a
    row: no script has so many, and ordering them takes time quadratic in their number.

    Source: Unicode Standard Annex 15, "Unicode Normalization Forms", section 13, Stream-Safe Text Format.
    """
    if string.isascii() or unicodedata.is_normalized("NFC", string):  # which is quick to find marks out of order
        return string
    if _too_many_marks().search(string):
        raise ValueError(f"more than {MOST_MARKS} combining marks in a row")
    return unicodedata.normalize("NFC", string)


def one_spaced(string: str) -> str:
    """A string without white space around it, and with one space for each run of white space in it."""
    return " ".join(string.split())


def normal_form(string: str) -> str:
    """The form in which all that reads sources and targets compares them: `composed` and `one_spaced`."""
    return one_spaced(composed(string))


@cache
def _too_many_marks() -> re.Pattern[str]:
    marks = (chr(point) for point in MARKS if unicodedata.combining(unicodedata.normalize("NFD", chr(point))[0]))
    return re.compile(f"[{re.escape(''.join(marks))}]{{{MOST_MARKS + 1}}}")


def check_sources(sources: Sequence[str]) -> None:
    """Raise `UserError` for the first string that cannot be a source, with the reason that `fault_of` gives."""
    for number, source in enumerate(sources, start=1):
        if (fault := fault_of(source)) is not None:
            name = f"source {number}, {shown(source)}," if source.strip() else f"source {number}"
            raise UserError(f"{name} {fault}")


def fault_of(source: str) -> str | None:
    """Why a string cannot be a source, in words that follow its name; None if it can be one."""
    text = source.strip()
    if not text:
        return "is empty"
    if any(control in text for control in "\t\n\r\0"):
        return "has a tab, line break or NUL in it"
    if not is_unicode(text):
        return "has bytes in it that are not Unicode text"
    try:
        composed(text)
    except ValueError as error:
        return f"has {error}"
    return None


def listed(symbols: Iterable[str]) -> str:
    """Show symbols in one cell, separated by spaces; characters that cannot be seen appear as their code points."""
    return " ".join("".join(c if c.isprintable() and c != " " else f"U+{ord(c):04X}" for c in one) for one in symbols)


def shown(value: Any) -> str:
    """Show a value in a message: on one line, and cut after `SHOWN` characters."""
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def cell(text: str) -> str:
    """Show text in a cell of a TSV or a terminal: every control character, tab and line break becomes U+FFFD."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


def printable(text: str) -> str:
    """Show text on one line: controls, line breaks, direction overrides and lone surrogates become U+FFFD."""
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text)
