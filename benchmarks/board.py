"""The view of a benchmark in MLflow: a parent run for each output file, a child for each strategy of each cell.

A child that is missing is made from the files. Nothing here raises because of MLflow: the first trouble is a warning,
and nothing more is tried.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.cells import Cell
from benchmarks.results import Results
from pipeline.tracking.client import Connection, project_root
from pipeline.tracking.runs import Run

EXPERIMENT = "histnorm"


class Board(Run):
    """The parent run of an output file; as a context manager it finishes itself."""

    @classmethod
    def of(cls, results: Results, settings: Mapping[str, Any]) -> "Board":
        """Open the run that belongs to the output file, by its place in the project; `settings` go on a new one."""
        name = Path(os.path.relpath(results.out.absolute(), project_root())).as_posix()
        key = hashlib.sha256(json.dumps([EXPERIMENT, name]).encode()).hexdigest()[:16]
        tags = {"tandem.data": name, "mlflow.source.name": "benchmarks.histnorm", "mlflow.source.type": "LOCAL"}
        connection = Connection(EXPERIMENT, key, tags)
        return cls(connection, connection.open_parent(settings, {}))

    def complete(self, results: Results, runs: Iterable[tuple[Cell, str]] | None = None) -> None:
        """Publish those of `runs`, by default of all in the files, that have no complete child yet."""
        metrics = results.metrics()
        existing = {run.child for run in self.connection.children(self.run_id) if run.status == "FINISHED"}
        for cell, strategy in metrics if runs is None else runs:
            if (_name(cell, strategy), cell.fold) not in existing:
                self._publish(results, cell, strategy, metrics[cell, strategy])

    def _publish(self, results: Results, cell: Cell, strategy: str, metrics: Mapping[str, float]) -> None:
        run_id = self.connection.new_child(self.run_id, _name(cell, strategy), cell.fold, {})
        title = f"{_name(cell, strategy)} fold {cell.fold}"
        if run_id:  # the name by default says "seed" where it is the fold
            self.connection.attempt("name the run", lambda client: client.update_run(run_id, name=title))
        with Run(self.connection, run_id) as run:
            run.log_parameters({**cell._asdict(), "strategy": strategy, **results.parameters(cell, strategy)})
            run.log_metrics(metrics)
            if (path := results.predictions_file(cell, strategy)).exists():
                run.log_artifact(path)


def _name(cell: Cell, strategy: str) -> str:
    return f"{cell.corpus} {cell.size} {strategy}"
