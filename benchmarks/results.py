"""What a benchmark has measured, on disk: the CSV with its rows, and the predictions that they summarize.

Files are the record; the view in MLflow is `benchmarks.board`, tables and plots are made from here.
"""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.cells import Cell
from pipeline.config.options import Symbols
from pipeline.data import scoring
from pipeline.data.examples import Example
from pipeline.errors import UserError

COLUMNS = ("corpus", "size", "fold", "strategy", "split", "word_accuracy", "character_error_rate", "seconds")
RUN = ["corpus", "size", "fold", "strategy"]
COMPRESSION = {"method": "gzip", "mtime": 1}  # the same predictions give the same bytes
AS_TEXT = dict.fromkeys(["corpus", "strategy", "split", "source", "target", "prediction"], str)


@dataclass(frozen=True, eq=False)
class Measurement:
    """What one strategy did in one cell.

    rows: of the CSV without `RUN`, one for each split. predictions: as `scored` makes them, with a column `split`.
    parameters: all that the strategy depended on, by dotted name.
    """

    cell: Cell
    strategy: str
    rows: Sequence[dict[str, Any]]
    predictions: pd.DataFrame
    parameters: dict[str, Any]

    def csv_rows(self) -> list[dict[str, Any]]:
        """The rows with all columns."""
        return [{**self.cell._asdict(), "strategy": self.strategy, **row} for row in self.rows]


def scored(examples: Sequence[Example], predictions: Sequence[str]) -> pd.DataFrame:
    """A row for each token, as it stands in the text, with `scoring`'s columns."""
    sources, targets = [example.source for example in examples], [example.target for example in examples]
    scores = scoring.score(predictions, targets, [{target} for target in targets], Symbols.CHARACTERS)
    words = pd.DataFrame({"source": sources, "target": targets, "prediction": predictions})
    return pd.concat([words, scores.astype({"correct": int})], axis=1)


class Results:
    """A CSV that is only ever appended to, and below `predictions` a file for each strategy of each cell."""

    def __init__(self, out: Path, predictions: Path) -> None:
        """Raises `UserError` where `out` is a file of another kind."""
        self.out = out
        self._predictions = predictions
        if out.exists():
            try:
                header = out.read_text(encoding="utf-8").partition("\n")[0]
            except (OSError, UnicodeError) as error:
                raise UserError(f"{out} cannot be read ({error}): name another file with --out") from error
            if header.split(",") != list(COLUMNS):
                raise UserError(
                    f"{out} begins with '{header[:100]}', not with '{','.join(COLUMNS)}': name another --out"
                )

    @property
    def rows(self) -> pd.DataFrame:
        """All rows; of a row that stands there twice, the later one."""
        if not self.out.exists():
            return pd.DataFrame(columns=list(COLUMNS))
        rows = pd.read_csv(self.out, dtype=AS_TEXT, keep_default_na=False)
        return rows.drop_duplicates([*RUN, "split"], keep="last").reset_index(drop=True)

    def metrics(self) -> dict[tuple[Cell, str], dict[str, float]]:
        """What stands there of every strategy of a cell with all its rows: `dev_word_accuracy`, `seconds` and so on."""
        found: dict[tuple[Cell, str], dict[str, float]] = {}
        for row in self.rows.to_dict("records"):
            own = found.setdefault((Cell(row["corpus"], int(row["size"]), int(row["fold"])), row["strategy"]), {})
            own |= {f"{row['split']}_{name}": float(row[name]) for name in ("word_accuracy", "character_error_rate")}
            own["seconds"] = max(own.get("seconds", 0.0), float(row["seconds"]))
        return {run: own for run, own in found.items() if {"dev_word_accuracy", "test_word_accuracy"} <= own.keys()}

    def add(self, found: Measurement) -> None:
        """Write the predictions, then the rows, all at once."""
        path = self.predictions_file(found.cell, found.strategy)
        path.parent.mkdir(parents=True, exist_ok=True)
        found.predictions.to_csv(
            path, sep="\t", index=False, lineterminator="\n", quoting=csv.QUOTE_NONE, compression=COMPRESSION
        )
        parameters = json.dumps(found.parameters, indent=1, ensure_ascii=False)
        self._parameters_file(found.cell, found.strategy).write_text(parameters + "\n", encoding="utf-8")
        lines = StringIO()
        writer = csv.DictWriter(lines, COLUMNS, lineterminator="\n")
        if not self.out.exists():
            self.out.parent.mkdir(parents=True, exist_ok=True)
            writer.writeheader()
        writer.writerows(found.csv_rows())
        with self.out.open("a", encoding="utf-8", newline="") as file:
            file.write(lines.getvalue())

    def predictions(self, cell: Cell, strategy: str) -> pd.DataFrame | None:
        """What the rows summarize; None if it is not kept."""
        path = self.predictions_file(cell, strategy)
        if not path.exists():
            return None
        return pd.read_csv(path, sep="\t", dtype=AS_TEXT, keep_default_na=False, quoting=csv.QUOTE_NONE)

    def parameters(self, cell: Cell, strategy: str) -> dict[str, Any]:
        """The parameters of a measurement; empty if they are not kept."""
        path = self._parameters_file(cell, strategy)
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        return content

    def predictions_file(self, cell: Cell, strategy: str) -> Path:
        """Where the predictions of a strategy in a cell are kept."""
        return self._predictions / cell.corpus / f"{cell.size}-{cell.fold}" / f"{strategy}.tsv.gz"

    def _parameters_file(self, cell: Cell, strategy: str) -> Path:
        return self.predictions_file(cell, strategy).with_name(f"{strategy}.json")
