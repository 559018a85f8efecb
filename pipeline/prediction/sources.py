"""What a command is given to predict from: sources from anywhere, with notes about those that cannot be used or read.

A source that cannot be used costs no other one its prediction: it is left out, and a warning says where and why.
"""

import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pipeline.config.options import Symbols
from pipeline.data.alphabet import Alphabet, split
from pipeline.data.packed import READ_ERRORS, open_unpacked
from pipeline.data.raw import LONGEST_LINE, Rejected, read_rows
from pipeline.errors import UserError
from pipeline.text import fault_of, listed, normal_form, shown

if TYPE_CHECKING:
    from pipeline.prediction.shards import SourceRow

STANDARD_INPUT = Path("/dev/stdin")
NOTES = 10  # of a kind that are shown, the rest is counted
MOST_SYMBOLS = 10_000  # of a target to choose from

log = logging.getLogger(__name__)


class GivenSource(NamedTuple):
    """A source, where it comes from, and why it cannot be used, if so."""

    place: str
    text: str
    fault: str | None = None


def from_arguments(sources: Sequence[str]) -> list[GivenSource]:
    """Sources of a command line."""
    return [GivenSource(f"source {number}", source) for number, source in enumerate(sources, start=1)]


def from_input(path: Path | None, column: str | None = None) -> list[GivenSource]:
    """The sources in a file, in all files of a pattern, or of standard input: None or `-`. Blank ones are left out.

    column: of Parquet or TSV. Raises `UserError` if something cannot be read.
    """
    if path is None and sys.stdin.isatty():
        raise UserError('give sources, e.g. tandem predict "F AO R K", or --input FILE, or pipe them in')
    rows = list(_rows(STANDARD_INPUT if path in (None, Path("-")) else path, column))
    filled = [row for row in rows if row.fault or row.text.strip()]
    if blank := len(rows) - len(filled):
        log.info("%s blank %s skipped", f"{blank:,}", "line was" if blank == 1 else "lines were")
    return filled


def usable(given: Sequence[GivenSource], fault_of: Callable[[str], str | None] = fault_of) -> list[GivenSource]:
    """The sources without a fault; a warning names the others. Raises `UserError` if all have one."""
    faults = [row.fault or fault_of(row.text) for row in given]
    kept = [row for row, fault in zip(given, faults, strict=True) if fault is None]
    notes = [f"{_named(row)} {fault}" for row, fault in zip(given, faults, strict=True) if fault]
    if notes and not kept:
        raise UserError(notes[0] if len(notes) == 1 else f"none of {len(notes):,} sources can be used: {notes[0]}")
    _warn(notes, "so it is left out", "sources are left out")
    return kept


def unknown_symbols(given: Sequence[GivenSource], alphabet: Alphabet) -> list[str]:
    """For each source its symbols that training never saw, to be shown; a warning names the sources that have some."""
    unknown, notes = [], []
    for row in given:
        text = normal_form(row.text)
        symbols = alphabet.unknown_in(text)
        unknown.append(listed(symbols))
        if symbols:
            better = alphabet.known_spelling(text)
            hint = f": do you mean {shown(better)}?" if better else ""
            notes.append(f"{_named(row)} has symbols that training never saw, {unknown[-1]}{hint}")
    _warn(notes, "", "sources have symbols that training never saw")
    return unknown


def among_file(path: Path) -> Path:
    """The file of --among; `-` is standard input. Raises `UserError` if it does not exist."""
    file = STANDARD_INPUT if path == Path("-") else path
    if not file.exists():
        raise UserError(f"--among {path} does not exist: correct it")
    return file


def targets_among(path: Path, kind: Symbols) -> list[str]:
    """The targets to choose from in a file, one a line; `-` is standard input. A warning names those left out.

    Raises `UserError` if there is none, or the file cannot be read.
    """
    rejected: list[Rejected] = []
    file = among_file(path)
    rows = [target for (target,) in read_rows(file, {"target": kind}, LONGEST_LINE, rejected)]
    targets = [row for row in rows if len(row) <= MOST_SYMBOLS or len(split(row, kind)) <= MOST_SYMBOLS]
    bad = [row for row in rejected if row.text.strip()]
    _warn([f"{row.file}, line {row.line}: {row.reason}" for row in bad], "so it is left out", "targets are left out")
    if longer := len(rows) - len(targets):
        log.warning("%s targets of more than %s symbols are left out", f"{longer:,}", f"{MOST_SYMBOLS:,}")
    if not targets:
        raise UserError(f"{path} has no usable target: --among needs at least one to choose from")
    return targets


def _rows(path: Path, column: str | None) -> Iterator[GivenSource]:
    from pipeline.prediction.shards import PARQUET, find_shards, read, slices, text_rows  # here: they import pyarrow

    if path.exists() and not path.is_file() and not path.is_dir():  # a pipe
        if column:
            raise UserError("--column is for files: leave it out, every line of standard input is a source")
        try:
            with open_unpacked(path) as file:
                yield from _placed(text_rows(file, 0, sys.maxsize), "standard input, line", 1)
        except READ_ERRORS as error:
            raise UserError(f"standard input cannot be read: {error}") from error
        return
    for shard in find_shards(str(path)):
        pieces = slices(shard, column)
        rows = (row for piece in pieces for part in read(piece) for row in part)
        kind, first = ("row", 1) if shard.ending == PARQUET else ("line", 1 + bool(pieces[0].start))
        yield from _placed(rows, f"{shard.path.name}, {kind}", first)


def _placed(rows: "Iterable[SourceRow]", where: str, first: int) -> Iterator[GivenSource]:
    for number, row in enumerate(rows, start=first):
        yield GivenSource(f"{where} {number:,}", row.source or "", row.fault)


def _named(row: GivenSource) -> str:
    return f"{row.place}, {shown(row.text)}," if row.text.strip() else row.place


def _warn(notes: Sequence[str], end: str, what: str) -> None:
    for note in notes[:NOTES]:
        log.warning("%s", ", ".join(part for part in (note, end) if part))
    if len(notes) > NOTES:
        log.warning("%s more %s", f"{len(notes) - NOTES:,}", what)
