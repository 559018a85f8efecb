"""Numbers and any text as markdown, safe in tables and readable on a terminal."""

import re
from collections.abc import Iterable, Sequence

from pipeline.text import printable

# An underscore inside a word is literal in markdown, and `two_stage` is to stay readable on a terminal.
# What looks like an address would become a link.
_SPECIAL = re.compile(r"[\\`*\[\]|~$]|@(?=[\w-]+\.)|(?<![^\W_])_|_(?![^\W_])|:(?=//)|(?<=www)\.", re.IGNORECASE)
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def percent(interval: dict[str, float]) -> str:
    """A fraction and its interval in per cent: `28.4 (26.5 to 30.3)`."""
    mean, low, high = (f"{100 * interval[key]:.1f}" for key in ("mean", "low", "high"))
    return f"{mean} ({low} to {high})"


def points(fraction: float) -> str:
    """A difference of fractions in percentage points with its sign: `+1.9`."""
    text = f"{100 * fraction:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text


def p_value_text(p_value: float) -> str:
    """A p-value with two digits, or `≤ 0.0001`."""
    return f"{p_value:.2g}" if p_value > 0.0001 else "≤ 0.0001"


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> str:
    """A markdown table of any text, aligned for a terminal too: the first `left` columns to the left, numbers right."""
    cells = [[escape(cell) for cell in row] for row in (header, *rows)]
    widths = [max(3, *map(len, column)) for column in zip(*cells, strict=True)]
    rule = ["-" * width if place < left else "-" * (width - 1) + ":" for place, width in enumerate(widths)]
    lines = [
        [
            cell.ljust(width) if place < left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        for row in cells
    ]
    return "".join(f"| {' | '.join(line)} |\n" for line in (lines[0], rule, *lines[1:]))


def escape(text: str) -> str:
    """Text that markdown shows as it is, on one line: no markup, HTML, formula or end of a table cell in it.

    Characters that cannot be shown or written (controls, lone surrogates) become U+FFFD; no text shows as `*(empty)*`.
    """
    if not text:
        return "*(empty)*"
    text = _SPECIAL.sub(lambda found: "\\" + found[0], printable(text))
    return "".join(_ENTITIES.get(character, character) for character in text)
