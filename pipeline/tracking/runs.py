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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from pipeline.config.params import Params, flatten
from pipeline.data.prepared import DEV, PREPARED, TARGETS, TEST, TRAIN
from pipeline.errors import UserError
from pipeline.hashing import DIGITS, file_digest
from pipeline.runs.environment import EXPERIMENT, STAGE, Environment
from pipeline.runs.folders import (
    PRETRAIN,
    SECONDS,
    STEP,
    Row,
    content_digest,
    load_history,
    run_folder,
    run_parameters,
    starts_pretrained,
    timings_folder,
)
from pipeline.runs.groups import comparison_key
from pipeline.tracking.client import REUSED, TRAINED, Connection, log_parameters

if TYPE_CHECKING:
    import pandas as pd
    from mlflow import MlflowClient

# Each data set's file, name, columns, and use in MLflow's words.
SETS = (
    (TRAIN, "training pairs", ("source", "target"), "training"),
    (TARGETS, "unpaired targets", ("target",), "training"),
    (DEV, "dev pairs", ("source", "target"), "validation"),
    (TEST, "test pairs", ("source", "target"), "testing"),
)
SYSTEM = ("cpu_percent", "memory_megabytes")  # columns of timings.csv that the UI shows as system metrics
METRICS_PER_BATCH = 1000  # MLflow takes no more at once
TABLES = "mlflow.loggedArtifacts"  # the tag by which the UI knows tables
TERMINATED = 128 + 15  # the exit code that stands for SIGTERM

Status = Literal["FINISHED", "FAILED", "KILLED", "SCHEDULED"]
Point = tuple[str, float, int, int]  # name, value, milliseconds since 1970, step


@dataclass(frozen=True)
class DataSet:
    """A file of prepared data as MLflow shows it; digest: of its content."""

    name: str
    path: Path
    columns: tuple[str, ...]
    context: str
    rows: int
    digest: str


def data_sets(folder: Path = PREPARED) -> Iterator[DataSet]:
    """The data sets in a folder of prepared data."""
    for file, name, columns, context in SETS:
        path = folder / file
        with path.open("rb") as lines:
            rows = sum(1 for _ in lines)
        yield DataSet(name, path, columns, context, rows, file_digest(path)[:DIGITS])


class Run:
    """A run to write to; without MLflow, each method does nothing. Values that it has already are not written again.

    As a context manager it finishes itself: FAILED on an exception, KILLED on Ctrl-C and on SIGTERM (if a signal
    handler turns that into `SystemExit(143)`), else FINISHED, unless `finish` was called inside.
    """

    def __init__(self, connection: Connection, run_id: str, is_new: bool = False) -> None:
        self.connection = connection
        self.run_id = run_id  # empty without MLflow
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
        """Write metrics of one step. Infinity and NaN are left out: MLflow would draw infinity as 1.8e308."""
        now = milliseconds()
        self._send([(name, float(value), now, step) for name, value in metrics.items()])

    def log_history(self, rows: Sequence[Row], prefix: str = "", until: int | None = None) -> None:
        """Write rows of evaluations, their names after `prefix`; the last row gets the time `until`, by default now.

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

            def entry(data: DataSet) -> DatasetInput:
                columns = [{"type": "string", "name": name, "required": True} for name in data.columns]
                source, schema = {"uri": data.path.as_posix()}, {"mlflow_colspec": columns}
                profile = {"num_rows": data.rows, "num_elements": data.rows * len(columns)}
                texts = map(json.dumps, (source, schema, profile))
                shown = Dataset(data.name, data.digest, "local", *texts)
                return DatasetInput(shown, [InputTag("mlflow.data.context", data.context)])

            client.log_inputs(self.run_id, datasets=[entry(data) for data in sets])

        self._attempt("log the data sets", send)

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        """Copy a file, or a folder with all in it, to the run's artifacts, below `folder` in them."""
        self._attempt(f"store {path.name}", lambda client: client.log_artifact(self.run_id, str(path), folder))

    def log_table(self, table: "pd.DataFrame", name: str) -> None:
        """Write a table as JSON in the form in which the UI shows tables of several runs side by side."""

        def send(client: "MlflowClient") -> None:
            with TemporaryDirectory() as place:
                file = Path(place) / name
                table.to_json(file, orient="split", index=False, double_precision=15)
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
        """End the run; SCHEDULED leaves it to a later stage to continue."""
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
        """The points that the run does not have, at whatever time."""
        names = {name for name, *_ in points}.intersection(client.get_run(self.run_id).data.metrics)
        known = {
            (name, point.value, point.step) for name in names for point in client.get_metric_history(self.run_id, name)
        }
        return [(name, value, time, step) for name, value, time, step in points if (name, value, step) not in known]

    def _attempt(self, action: str, call: Callable[["MlflowClient"], object]) -> None:
        if self.run_id:
            self.connection.attempt(action, call)


class Child(Run):
    """The run of one strategy and seed, which begins with its pretraining if it has one."""

    def __init__(self, connection: Connection, run_id: str, is_new: bool = False, is_pretraining: bool = False) -> None:
        super().__init__(connection, run_id, is_new)
        self._is_pretraining = is_pretraining  # what is trained now

    def log_evaluations(self, rows: Sequence[Row]) -> None:
        """Write evaluations of the training that is going on."""
        self.log_history(rows, f"{PRETRAIN}_" if self._is_pretraining else "")

    def finish_training(self, folder: Path) -> None:
        """End the run of the training in a run folder; after pretraining it waits for its strategy's stage."""
        if self._is_pretraining:
            self.finish("SCHEDULED")
        elif self.run_id:
            self.set_tags({TRAINED: content_digest(folder)})
            self.finish()


class Comparison(Run):
    """The parent run, and the way to its children. It is RUNNING until everything is published."""

    def __init__(self, params: Params, data_digest: str, environment: Environment) -> None:
        """Connect to the store; which run is the parent is not decided yet."""
        self._params, self._environment = params, environment
        tags = _tags(params, data_digest) | environment.tags()
        tags.pop(STAGE, None)  # of no single stage
        super().__init__(Connection(params.tracking.experiment, comparison_key(params, data_digest), tags), "")

    @classmethod
    def open(cls, params: Params, data_digest: str, environment: Environment) -> Self:
        """The comparison of these inputs that is not published yet, to write to while training."""
        comparison = cls(params, data_digest, environment)
        comparison.resume()
        return comparison

    def resume(self) -> None:
        """Write to the parent run without outputs from now on, a new one if there is none; it is RUNNING then."""
        self.run_id = self.connection.open_parent(flatten(self._params), {"mlflow.source.name": "dvc.yaml"})

    def start(self, name: str, seed: int) -> Child:
        """Open the child for a training of a strategy, or of `pretrain`, in place of what an earlier try has left.

        Pretraining is part of the run of the first pretrained strategy in params.yaml, whose stage continues it; other
        pretrained strategies get its history from the files.
        """
        pretrained = [strategy for strategy in self._params.strategies if starts_pretrained(strategy, self._params)]
        if name == PRETRAIN and not pretrained:
            return Child(self.connection, "")
        strategy, tags = pretrained[0] if name == PRETRAIN else name, self._environment.tags()
        continued = self.connection.continued_child(self.run_id, name, seed, tags) if name in pretrained else ""
        run_id = continued or self.connection.new_child(self.run_id, strategy, seed, tags)
        child = Child(self.connection, run_id, is_new=not continued, is_pretraining=name == PRETRAIN)
        child.log_parameters(run_parameters(strategy, self._params))
        if name in pretrained and run_id and not continued:
            child.log_history(load_history(run_folder(PRETRAIN, seed)), f"{PRETRAIN}_")
        return child

    def restore(self, strategy: str, seed: int) -> Child:
        """Make the child of a finished training from its files, in place of any before it; it is not finished yet."""
        rows = load_history(run_folder(strategy, seed))
        end = milliseconds()
        began = end - round(1000 * max((row.get(SECONDS, 0.0) for row in rows), default=0.0))
        tags = {REUSED: "true"}
        with contextlib.suppress(UserError):
            tags |= Environment.load(timings_folder(strategy, seed)).tags()
        if os.environ.get(EXPERIMENT):  # shown in this experiment, whichever it was trained in
            tags[EXPERIMENT] = os.environ[EXPERIMENT]
        child = Child(self.connection, self.connection.new_child(self.run_id, strategy, seed, tags, began), is_new=True)
        child.log_parameters(run_parameters(strategy, self._params))
        if starts_pretrained(strategy, self._params):
            child.log_history(load_history(run_folder(PRETRAIN, seed)), f"{PRETRAIN}_", until=began)
        child.log_history(rows, until=end)
        return child

    def end_if_broken_off(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the run if an exception ends the `with` statement that this is pushed to; else later stages go on."""
        if error is not None:
            self.__exit__(kind, error, trace)


def milliseconds() -> int:
    """Milliseconds since 1970, UTC."""
    return round(time.time() * 1000)


def _metric_name(column: str, prefix: str) -> str:
    return f"system/{prefix}{column}" if column in SYSTEM else f"{prefix}{column}"


def _tags(params: Params, data_digest: str) -> dict[str, str]:
    """Tags of all runs of a comparison: the data, the user and the program."""
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
