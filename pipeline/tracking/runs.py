"""Runs in MLflow: a parent for each comparison, below it a child for each strategy and seed.

Files are the record and MLflow is the view: a training stage writes to its children while it trains, and stage publish
adds from the files what is missing, then closes the comparison. No method of a run raises because of MLflow.
"""

import contextlib
import getpass
import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from pipeline.config.params import Params, flatten
from pipeline.keys import comparison_key
from pipeline.runs.environment import EXPERIMENT, STAGE, Environment
from pipeline.runs.folders import SECONDS, STEP, Row
from pipeline.tracking.client import Connection, log_parameters
from pipeline.tracking.tags import REUSED, TRAINED, training_digest

if TYPE_CHECKING:
    from mlflow import MlflowClient
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.data.prepared import DEV, PREPARED, TARGETS, TEST, TRAIN
from pipeline.hashing import DIGITS

BLOCK = 1 << 20
# The file of each, what it is called, its columns, and what it is used for, in MLflow's words where it has some.
SETS = (
    (TRAIN, "training pairs", ("source", "target"), "training"),
    (TARGETS, "unpaired targets", ("target",), "training"),
    (DEV, "dev pairs", ("source", "target"), "validation"),
    (TEST, "test pairs", ("source", "target"), "testing"),
)


@dataclass(frozen=True)
class DataSet:
    """One of them; digest: the same for the same rows."""

    name: str
    path: Path
    columns: tuple[str, ...]
    context: str
    rows: int
    digest: str


def data_sets(folder: Path = PREPARED) -> Iterator[DataSet]:
    """Those in a prepared folder, each read once in blocks."""
    for file, name, columns, context in SETS:
        yield DataSet(name, folder / file, columns, context, *_measure(folder / file))


def _measure(path: Path) -> tuple[int, str]:
    rows, digest = 0, hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            rows += block.count(b"\n")
            digest.update(block)
    return rows, digest.hexdigest()[:DIGITS]


Status = Literal["FINISHED", "FAILED", "KILLED", "SCHEDULED"]
Point = tuple[str, float, int, int]  # name, value, milliseconds since 1970, step

SYSTEM = ("cpu_percent", "memory_megabytes")  # columns of history.csv that the UI shows as system metrics

METRICS_PER_BATCH = 1000  # MLflow takes no more at once
TABLES = "mlflow.loggedArtifacts"  # the tag by which the UI knows tables
TERMINATED = 128 + 15  # the exit code that stands for SIGTERM


class Run:
    """A run to write to; without MLflow, each method does nothing. What it holds already is not written again.

    As a context manager it finishes itself: FAILED on an exception, KILLED on Ctrl-C and on SIGTERM (where that is
    made a `SystemExit(143)`), else FINISHED, unless `finish` was called inside.
    """

    def __init__(self, connection: Connection, run_id: str, is_new: bool = False) -> None:
        self.connection = connection
        self.run_id = run_id  # empty if MLflow is away
        self._is_new = is_new  # nothing else has written to it
        self._finished = False

    def log_parameters(self, parameters: Mapping[str, Any]) -> None:
        """Write parameters by dotted name; the first value of a name stays."""

        def send(client: "MlflowClient") -> None:
            known = {} if self._is_new else client.get_run(self.run_id).data.params
            missing = {name: value for name, value in parameters.items() if name not in known}
            log_parameters(client, self.run_id, missing)

        self._attempt("log parameters", send)

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Write metrics of one step. What is not finite is left out: MLflow would draw infinity as 1.8e308."""
        now = milliseconds()
        self._send([(name, float(value), now, step) for name, value in metrics.items()])

    def log_history(self, rows: Sequence[Row], prefix: str = "", until: int | None = None) -> None:
        """Write rows of history.csv, their names after `prefix`, the last row as of `until`, by default now.

        `step` is the step, `seconds` (since training began; optional) the time axis, and all else are metrics.
        """
        end, last = until or milliseconds(), rows[-1].get(SECONDS, 0.0) if rows else 0.0
        self._send(
            [
                (_metric_name(name, prefix), value, end - round(1000 * (last - row.get(SECONDS, 0.0))), int(row[STEP]))
                for row in rows
                for name, value in row.items()
                if name not in (STEP, SECONDS)
            ]
        )

    def log_data(self, sets: Iterable[DataSet]) -> None:
        """Name the data sets that the run read."""

        def send(client: "MlflowClient") -> None:
            from mlflow.entities import Dataset, DatasetInput, InputTag

            def entry(found: DataSet) -> DatasetInput:
                columns = [{"type": "string", "name": name, "required": True} for name in found.columns]
                data = Dataset(
                    found.name,
                    found.digest,
                    "local",
                    json.dumps({"uri": found.path.as_posix()}),
                    json.dumps({"mlflow_colspec": columns}),
                    json.dumps({"num_rows": found.rows, "num_elements": found.rows * len(columns)}),
                )
                return DatasetInput(data, [InputTag("mlflow.data.context", found.context)])

            client.log_inputs(self.run_id, datasets=[entry(found) for found in sets])

        self._attempt("log the data sets", send)

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        """Copy a file, or a folder with all in it, to the run's artifacts, there below `folder`."""
        self._attempt(f"store {path.name}", lambda client: client.log_artifact(self.run_id, str(path), folder))

    def log_table(self, columns: Sequence[str], rows: Sequence[Sequence[Any]], name: str) -> None:
        """Write a table as JSON in the shape that the UI shows tables of several runs side by side in."""

        def send(client: "MlflowClient") -> None:
            with TemporaryDirectory() as place:
                file = Path(place) / name
                file.write_text(json.dumps({"columns": columns, "data": rows}, ensure_ascii=False), encoding="utf-8")
                client.log_artifact(self.run_id, str(file))
            client.set_tag(self.run_id, TABLES, json.dumps([{"path": name, "type": "table"}]))

        self._attempt(f"store {name}", send)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Write tags in place of any before them."""

        def send(client: "MlflowClient") -> None:
            for name, value in tags.items():
                client.set_tag(self.run_id, name, value)

        self._attempt("tag the run", send)

    def finish(self, status: Status = "FINISHED") -> None:
        """End the run; SCHEDULED leaves it to a later stage to go on with."""
        self._finished = True
        self._attempt("finish the run", lambda client: client.set_terminated(self.run_id, status))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._finished:
            return
        if error is None or (isinstance(error, SystemExit) and error.code in (None, 0)):
            self.finish("FINISHED")
        elif isinstance(error, KeyboardInterrupt) or (isinstance(error, SystemExit) and error.code == TERMINATED):
            self.finish("KILLED")
        else:
            self.finish("FAILED")

    def _send(self, points: Sequence[Point]) -> None:
        finite = [point for point in points if math.isfinite(point[1])]

        def send(client: "MlflowClient") -> None:
            from mlflow.entities import Metric

            missing = finite if self._is_new else self._missing(client, finite)
            for start in range(0, len(missing), METRICS_PER_BATCH):
                batch = missing[start : start + METRICS_PER_BATCH]
                client.log_batch(self.run_id, metrics=[Metric(*point) for point in batch], synchronous=True)

        self._attempt("log metrics", send)

    def _missing(self, client: "MlflowClient", points: Sequence[Point]) -> list[Point]:
        """Those of the points that the run does not have, at whatever time."""
        names = {name for name, *_ in points}.intersection(client.get_run(self.run_id).data.metrics)
        known = {
            (name, found.value, found.step) for name in names for found in client.get_metric_history(self.run_id, name)
        }
        return [(name, value, time, step) for name, value, time, step in points if (name, value, step) not in known]

    def _attempt(self, action: str, call: Callable[["MlflowClient"], object]) -> None:
        if self.run_id:
            self.connection.attempt(action, call)


class Child(Run):
    """The run of one strategy and seed; `continued` says whether an earlier stage has written to it."""

    def __init__(self, connection: Connection, run_id: str, is_new: bool = False, continued: bool = False) -> None:
        super().__init__(connection, run_id, is_new)
        self.continued = continued

    def finish_training(self, folder: Path) -> None:
        """End the run, as one that shows the training in a run folder."""
        self.set_tags({TRAINED: training_digest(folder)})
        self.finish()


class Comparison(Run):
    """The parent run, and the way to its children. It is RUNNING until all is published."""

    @classmethod
    def find(cls, params: Params, data_digest: str, environment: Environment, key: str | None = None) -> Self:
        """The comparison of a key, by default the one that these parameters, data and code belong to, still closed."""
        key = key or comparison_key(params, data_digest)
        own = {name: value for name, value in environment.tags().items() if name != STAGE}
        return cls(Connection(params.tracking.experiment, key, _tags(params, data_digest) | own), "")

    @classmethod
    def open(cls, params: Params, data_digest: str, environment: Environment) -> Self:
        """The same, opened."""
        comparison = cls.find(params, data_digest, environment)
        comparison.reopen(params)
        return comparison

    def reopen(self, params: Params) -> None:
        """Find or make the parent run; from now on it is RUNNING."""
        self.run_id = self.connection.open_parent(flatten(params), {"mlflow.source.name": "dvc.yaml"})

    def child(self, strategy: str, seed: int) -> Child | None:
        """The finished run of a strategy and seed, to add to; None if it is missing or was broken off."""
        run_id = self.connection.finished_child(strategy, seed)
        return Child(self.connection, run_id) if run_id else None

    def start(
        self,
        strategy: str,
        seed: int,
        parameters: Mapping[str, Any],
        environment: Environment,
        continuing: bool = False,
    ) -> Child:
        """Open the run of a training, a new one in place of what an earlier try has left.

        parameters: this stage's own, by dotted name. continuing: go on with the run if the stage before this one
        finished it as SCHEDULED.
        """
        tags = environment.tags()
        scheduled = self.connection.scheduled_child(strategy, seed, tags) if continuing else ""
        run_id = scheduled or self.connection.new_child(self.run_id, strategy, seed, tags)
        child = Child(self.connection, run_id, is_new=not scheduled, continued=bool(scheduled))
        child.log_parameters(parameters)
        return child

    def restore(
        self,
        strategy: str,
        seed: int,
        parameters: Mapping[str, Any],
        environment: Environment | None,
        rows: Sequence[Row],
        pretraining: Sequence[Row],
    ) -> Child:
        """The run of a training that is over, from its files, in place of any before it; it is not finished yet.

        rows and pretraining: of history.csv, the latter where pretraining is part of the run.
        """
        end = milliseconds()
        began = end - round(1000 * max((row.get(SECONDS, 0.0) for row in rows), default=0.0))
        program = {"mlflow.source.name": f"pipeline/stages/{strategy}.py"}
        tags = {REUSED: "true", **program, **(environment.tags() if environment else {})}
        if os.environ.get(EXPERIMENT):  # shown in this experiment, whichever it was trained in
            tags[EXPERIMENT] = os.environ[EXPERIMENT]
        child = Child(self.connection, self.connection.new_child(self.run_id, strategy, seed, tags, began), is_new=True)
        child.log_parameters(parameters)
        child.log_history(pretraining, prefix="pretrain_", until=began)
        child.log_history(rows, until=end)
        return child

    def end_if_broken_off(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the run where an exception does; else another stage goes on with it. Stands at the end of a `with`."""
        if error is not None:
            self.__exit__(kind, error, trace)

    def set_description(self, markdown: str) -> None:
        """What the UI shows first of the comparison; MLflow keeps 8,000 characters."""
        self.set_tags({"mlflow.note.content": markdown})


def milliseconds() -> int:
    """The time, since 1970."""
    return round(time.time() * 1000)


def _metric_name(column: str, prefix: str) -> str:
    return f"system/{prefix}{column}" if column in SYSTEM else f"{prefix}{column}"


def _tags(params: Params, data_digest: str) -> dict[str, str]:
    """What all runs of a comparison are tagged with: the data, and who publishes them by which program."""
    name = params.data.pairs.stem if params.data.pairs else params.data.source
    program = Path(sys.argv[0])
    if program.is_relative_to(Path.cwd()):
        program = program.relative_to(Path.cwd())
    tags = {
        "tandem.data": f"{name}-{data_digest[:8]}",
        "mlflow.source.name": program.as_posix(),
        "mlflow.source.type": "LOCAL",
    }
    with contextlib.suppress(KeyError, OSError):  # in a container the user may have no name
        tags["mlflow.user"] = getpass.getuser()
    return tags
