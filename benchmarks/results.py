"""What a benchmark has measured, on disk: a CSV with its rows, the predictions that they summarize, and MLflow's view.

Tables and plots are made from here.
"""

import csv
import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from pipeline.config.options import Symbols
from pipeline.data import scoring
from pipeline.data.examples import Example
from pipeline.errors import UserError
from pipeline.tracking.client import Connection, project_root
from pipeline.tracking.runs import Run

COLUMNS = ("corpus", "size", "fold", "strategy", "split", "word_accuracy", "character_error_rate", "seconds")
RUN = ["corpus", "size", "fold", "strategy"]
COMPRESSION = {"method": "gzip", "mtime": 1}  # the same predictions give the same bytes
AS_TEXT = dict.fromkeys(["corpus", "strategy", "split", "source", "target", "prediction"], str)
EXPERIMENT = "histnorm"


class Cell(NamedTuple):
    """One training set: a block of lines of a corpus."""

    corpus: str
    size: int
    fold: int


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
    """A row for each token of running text, with `scoring`'s columns."""
    sources, targets = [example.source for example in examples], [example.target for example in examples]
    scores = scoring.score(predictions, targets, [{target} for target in targets], Symbols.CHARACTERS)
    words = pd.DataFrame({"source": sources, "target": targets, "prediction": predictions})
    return pd.concat([words, scores.astype({"correct": int})], axis=1)


class Results:
    """A CSV that is only ever appended to, and below `predictions` a file for each strategy of each cell."""

    def __init__(self, out: Path, predictions: Path) -> None:
        """Raises `UserError` if `out` is a file of another kind."""
        self.out = out
        self._predictions = predictions
        if out.exists():
            try:
                header = out.read_text(encoding="utf-8").partition("\n")[0]
            except (OSError, UnicodeError) as error:
                raise UserError(f"{out} cannot be read ({error}): name another file with --out") from error
            if header.split(",") != list(COLUMNS):
                columns = ",".join(COLUMNS)
                raise UserError(f"{out} begins with '{header[:100]}', not with '{columns}': name another --out")

    @property
    def rows(self) -> pd.DataFrame:
        """All rows; of rows for the same measurement, the last one."""
        if not self.out.exists():
            return pd.DataFrame(columns=list(COLUMNS))
        rows = pd.read_csv(self.out, dtype=AS_TEXT, keep_default_na=False)
        return rows.drop_duplicates([*RUN, "split"], keep="last").reset_index(drop=True)

    def metrics(self) -> dict[tuple[Cell, str], dict[str, float]]:
        """Metrics such as `dev_word_accuracy` and `seconds` of every strategy of a cell that has all its rows."""
        metrics: dict[tuple[Cell, str], dict[str, float]] = {}
        for row in self.rows.to_dict("records"):
            run = metrics.setdefault((Cell(row["corpus"], int(row["size"]), int(row["fold"])), row["strategy"]), {})
            run |= {f"{row['split']}_{name}": float(row[name]) for name in ("word_accuracy", "character_error_rate")}
            run["seconds"] = max(run.get("seconds", 0.0), float(row["seconds"]))
        return {name: run for name, run in metrics.items() if {"dev_word_accuracy", "test_word_accuracy"} <= run.keys()}

    def add(self, measured: Measurement) -> None:
        """Write the predictions, then the rows, all at once."""
        path = self.predictions_file(measured.cell, measured.strategy)
        path.parent.mkdir(parents=True, exist_ok=True)
        form: dict[str, Any] = {"index": False, "lineterminator": "\n"}
        measured.predictions.to_csv(path, sep="\t", quoting=csv.QUOTE_NONE, compression=COMPRESSION, **form)
        parameters = json.dumps(measured.parameters, indent=1, ensure_ascii=False)
        self._parameters_file(measured.cell, measured.strategy).write_text(parameters + "\n", encoding="utf-8")
        self.out.parent.mkdir(parents=True, exist_ok=True)
        rows = pd.DataFrame(measured.csv_rows(), columns=list(COLUMNS))
        rows.to_csv(self.out, mode="a", header=not self.out.exists(), **form)

    def predictions(self, cell: Cell, strategy: str) -> pd.DataFrame | None:
        """The predictions that the rows summarize; None if they are not kept."""
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
        """The file for the predictions of a strategy in a cell."""
        return self._predictions / cell.corpus / f"{cell.size}-{cell.fold}" / f"{strategy}.tsv.gz"

    def _parameters_file(self, cell: Cell, strategy: str) -> Path:
        return self.predictions_file(cell, strategy).with_name(f"{strategy}.json")


class Board(Run):
    """The view of results in MLflow: a parent run for the CSV, a child for each strategy of each cell.

    As a context manager it finishes itself. Nothing here raises because of MLflow.
    """

    @classmethod
    def of(cls, results: Results, settings: Mapping[str, Any]) -> "Board":
        """Open the run that belongs to the CSV, by its path in the project; `settings` are logged on a new one."""
        name = Path(os.path.relpath(results.out.absolute(), project_root())).as_posix()
        key = hashlib.sha256(json.dumps([EXPERIMENT, name]).encode()).hexdigest()[:16]
        tags = {"tandem.data": name, "mlflow.source.name": "benchmarks.histnorm", "mlflow.source.type": "LOCAL"}
        connection = Connection(EXPERIMENT, key, tags)
        board = cls(connection, connection.open_parent({}))
        board.log_parameters(settings)
        return board

    def complete(self, results: Results, runs: Iterable[tuple[Cell, str]] | None = None) -> None:
        """Publish those of `runs`, by default of all in the CSV, that have no complete child yet."""
        metrics = results.metrics()
        existing = {run.child for run in self.connection.children(self.run_id) if run.status == "FINISHED"}
        for cell, strategy in metrics if runs is None else runs:
            name = f"{cell.corpus} {cell.size} {strategy}"
            if (name, cell.fold) in existing:
                continue
            run_id = self.connection.new_child(self.run_id, name, cell.fold, {})
            if run_id:  # the default name says "seed" where it is the fold
                title = f"{name} fold {cell.fold}"
                self.connection.attempt("name the run", lambda client: client.update_run(run_id, name=title))  # noqa: B023 - called at once
            with Run(self.connection, run_id) as run:
                run.log_parameters({**cell._asdict(), "strategy": strategy, **results.parameters(cell, strategy)})
                run.log_metrics(metrics[cell, strategy])
                if (path := results.predictions_file(cell, strategy)).exists():
                    run.log_artifact(path)
