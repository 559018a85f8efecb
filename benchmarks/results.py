"""What a benchmark has measured, on disk: a CSV with a row for each split, and the predictions that it summarizes."""

import csv
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from pipeline.data import scoring
from pipeline.errors import UserError

COLUMNS = ["corpus", "size", "fold", "strategy", "split", "word_accuracy", "character_error_rate", "seconds"]
TEST = "test"
COMPRESSION = {"method": "gzip", "mtime": 1}  # the same predictions give the same bytes
AS_TEXT = dict.fromkeys(["corpus", "strategy", "split", "source", "target", "prediction"], str)
FORM: dict[str, Any] = {"index": False, "lineterminator": "\n"}
TSV: dict[str, Any] = {"sep": "\t", "quoting": csv.QUOTE_NONE}


class Cell(NamedTuple):
    """One training set: a block of lines of a corpus."""

    corpus: str
    size: int
    fold: int


class Results:
    """A CSV that is only ever appended to, and below `predictions` a file for each strategy of each cell."""

    def __init__(self, out: Path, predictions: Path) -> None:
        """Raises `UserError` if `out` is a file of another kind."""
        self.out = out
        self._predictions = predictions
        if out.exists():
            header = out.read_text(encoding="utf-8", errors="replace").partition("\n")[0]
            if header.split(",") != COLUMNS:
                columns = ",".join(COLUMNS)
                raise UserError(f"{out} begins with '{header[:100]}', not with '{columns}': name another --out")

    def accuracies(self) -> dict[tuple[Cell, str], float]:
        """Word accuracy on the test set by cell and strategy; of several for the same, the last one."""
        if not self.out.exists():
            return {}
        rows = pd.read_csv(self.out, dtype=AS_TEXT, keep_default_na=False).query("split == @TEST")
        runs = zip(rows["corpus"], rows["size"], rows["fold"], rows["strategy"], rows["word_accuracy"], strict=True)
        return {(Cell(corpus, size, fold), strategy): accuracy for corpus, size, fold, strategy, accuracy in runs}

    def add(self, cell: Cell, strategy: str, predictions: pd.DataFrame, seconds: float) -> pd.DataFrame:
        """Write the predictions of a strategy in a cell, then its rows, the one of the test set last; gives the rows.

        predictions: columns split, source, target, prediction and those of `scoring.score`, a row for each token.
        """
        path = self.predictions_file(cell, strategy)
        path.parent.mkdir(parents=True, exist_ok=True)
        predictions.astype({"correct": int}).to_csv(path, **TSV, **FORM, compression=COMPRESSION)
        rows = pd.DataFrame(
            [
                [*cell, strategy, split, scoring.accuracy(scores), scoring.error_rate(scores), round(seconds, 1)]
                for split, scores in predictions.groupby("split", sort=False)
            ],
            columns=COLUMNS,
        )
        self.out.parent.mkdir(parents=True, exist_ok=True)
        rows.to_csv(self.out, mode="a", header=not self.out.exists(), **FORM)
        return rows

    def test_predictions(self, cell: Cell, strategy: str) -> pd.DataFrame:
        """Predictions for the test set; raises `UserError` if they are not those that the CSV summarizes."""
        path = self.predictions_file(cell, strategy)
        if not path.exists():
            raise UserError(f"{path} is missing, which {self.out} summarizes: restore it, or name another --out")
        predictions = pd.read_csv(path, **TSV, dtype=AS_TEXT, keep_default_na=False)
        test = predictions.query("split == @TEST").reset_index(drop=True)
        if abs(scoring.accuracy(test) - self.accuracies()[cell, strategy]) > 1e-9:
            raise UserError(f"{path} does not give the accuracy in {self.out}: name another --out")
        return test

    def predictions_file(self, cell: Cell, strategy: str) -> Path:
        """The file for the predictions of a strategy in a cell."""
        return self._predictions / cell.corpus / f"{cell.size}-{cell.fold}" / f"{strategy}.tsv.gz"
