"""The sheet between model and annotator: suggestions with predictions are written to it, and it is read corrected.

It is a TSV of source, target, ok, confidence, occurrences and the n-best list. The target is filled in with the best
prediction. A row counts as annotated if its target was changed, or if there is anything in its column `ok`. A file with
two columns, source and target, is a sheet too: each of its rows counts.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pipeline.config.params import Params
from pipeline.data.inspection import read_content
from pipeline.data.raw import clean_cells
from pipeline.data.tables import Table, read_table
from pipeline.errors import UserError
from pipeline.text import cell, composed

if TYPE_CHECKING:  # it predicts, which reading a sheet does without
    from pipeline.annotation.suggest import Suggestion

SOURCE, TARGET, OK, PREDICTION = "source", "target", "ok", "prediction"
SHOWN = 10  # rows that cannot be used


class Correction(NamedTuple):
    """A pair that a person gave, and its line."""

    line: int
    source: str
    target: str


def sheet_of(suggestions: Sequence["Suggestion"]) -> str:
    """The sheet for suggestions, all of them yet to be annotated."""
    most = max((len(one.predictions) for one in suggestions), default=1)
    further = [f"{PREDICTION} {rank}" for rank in range(2, most + 1)]
    rows = [[SOURCE, TARGET, OK, "confidence", "occurrences", PREDICTION, *further]]
    for source, occurrences, predictions in suggestions:
        texts = [one.text for one in predictions] + [""] * (most - len(predictions))
        rows.append([source, texts[0], "", f"{predictions[0].confidence:.4f}", str(occurrences), *texts])
    return "".join("\t".join(map(cell, row)) + "\n" for row in rows)


def read_sheet(path: Path, params: Params, unchanged: bool = False) -> tuple[list[Correction], list[str]]:
    """The corrections in a sheet, and notes about rows that are left out; raises `UserError` with all bad rows.

    unchanged: whether rows whose target is the prediction count without a mark, too.
    """
    kinds = {SOURCE: params.data.source_symbols, TARGET: params.data.target_symbols}
    corrections, wrong, empty, waiting = [], [], 0, 0
    for line, source, target, is_annotated in _rows(read_table(path)):
        if not target:
            empty += 1
        elif not (is_annotated or unchanged):
            waiting += 1
        else:
            try:
                cells = clean_cells([composed(source), composed(target)], kinds, params.prepare.max_symbols)
                corrections.append(Correction(line, *cells))
            except ValueError as reason:
                wrong.append(f"line {line}: {reason}")
    if wrong:
        raise UserError("\n  ".join([f"{path} has {len(wrong)} row(s) that cannot be used:", *wrong[:SHOWN]]))
    notes = [f"{path}: {empty:,} rows have no target and are left out"] * (empty > 0)
    if waiting:
        notes.append(
            f"{path}: {waiting:,} rows are as predicted and not marked, so they are left out: put an x into column "
            f"`{OK}` where the prediction is right, or use --unchanged if all of them are"
        )
    return corrections, notes


def _rows(table: Table) -> Iterator[tuple[int, str, str, bool]]:
    """Line, source and target of each row, and whether a person has annotated it."""
    names = {name: number for number, name in reversed(list(enumerate(table.rows[0].cells)))}
    if {SOURCE, TARGET} <= names.keys():
        for row in table.rows[1:]:
            cells = {name: row.cells[number] for name, number in names.items() if number < len(row.cells)}
            target = cells.get(TARGET, "")
            yield row.line, cells.get(SOURCE, ""), target, bool(cells.get(OK)) or target != cells.get(PREDICTION)
        return
    if table.width != 2:
        raise UserError(
            f"{table.path} has {table.width} columns and no header with {SOURCE} and {TARGET}: name the columns so, or "
            "give a file with these two alone"
        )
    for row in table.rows[bool(read_content(table.path).header) :]:
        yield row.line, row.cells[0], "".join(row.cells[1:2]), True
