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
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from pipeline.config.params import Params, flatten
from pipeline.data.prepared import DEV, PREPARED, TARGETS, TEST, TRAIN
from pipeline.errors import UserError
from pipeline.hashing import DIGITS, file_digest
from pipeline.runs import folders
from pipeline.runs.environment import EXPERIMENT, STAGE, Environment
from pipeline.runs.folders import PRETRAIN, SECONDS, STEP, Row, starts_pretrained
from pipeline.runs.groups import comparison_key
from pipeline.tracking.client import REUSED, TRAINED, Connection, T, Tags, attempted

if TYPE_CHECKING:
    import pandas as pd
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput, LoggedModel

# Each data set's file, name, columns, and use in MLflow's words.
SETS = (
    (TRAIN, "training pairs", ("source", "target"), "training"),
    (TARGETS, "unpaired targets", ("target",), "training"),
    (DEV, "dev pairs", ("source", "target"), "validation"),
    (TEST, "test pairs", ("source", "target"), "testing"),
)
SYSTEM = ("cpu_percent", "memory_megabytes")  # columns of timings.csv that the UI shows as system metrics
PARAMETERS_PER_BATCH, METRICS_PER_BATCH = 100, 1000  # MLflow takes no more at once
TABLES = "mlflow.loggedArtifacts"  # the tag by which the UI knows tables
TERMINATED = 128 + 15  # the exit code that stands for SIGTERM

Status = Literal["FINISHED", "FAILED", "KILLED", "SCHEDULED"]


class Run:
    """A run to write to; without MLflow, each method does nothing. Values that it has already are not written again.

    As a context manager it finishes itself: FAILED on an exception, KILLED on Ctrl-C and on SIGTERM (if a signal
    handler turns that into `SystemExit(143)`), else FINISHED, unless `finish` was called inside.
    """

    def __init__(self, connection: Connection, run_id: str | None, is_new: bool = False) -> None:
        self.connection = connection
        self.run_id = run_id or ""  # empty without MLflow
        self._is_new = is_new  # nothing else has written to it
        self._finished = False

    def attempt(self, action: str, call: Callable[["MlflowClient"], T]) -> T | None:
        """The result of `call`; None if MLflow failed or the run was never made."""
        return self.connection.attempt(action, call) if self.run_id else None

    @attempted("log parameters")
    def log_parameters(self, client: "MlflowClient", parameters: Mapping[str, Any]) -> None:
        """Write parameters by dotted name as they may be in params.yaml; the first value of a name stays."""
        from mlflow.entities import Param

        known = {} if self._is_new else client.get_run(self.run_id).data.params
        missing = [
            Param(name, value if isinstance(value, str) else json.dumps(value))
            for name, value in parameters.items()
            if name not in known
        ]
        for start in range(0, len(missing), PARAMETERS_PER_BATCH):
            client.log_batch(self.run_id, params=missing[start : start + PARAMETERS_PER_BATCH], synchronous=True)

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Write metrics of one step. Infinity and NaN are left out: MLflow would draw infinity as 1.8e308."""
        now = _milliseconds()
        self._log_points([(name, float(value), now, step) for name, value in metrics.items()])

    def log_history(self, rows: Sequence[Row], prefix: str = "", until: int | None = None) -> None:
        """Write rows of evaluations, their names after `prefix`; the last row gets the time `until`, by default now.

        `step` is the step, `seconds` (since training began; optional) the time axis, and all else are metrics.
        """
        end, last = until or _milliseconds(), rows[-1].get(SECONDS, 0.0) if rows else 0.0
        points = []
        for row in rows:
            at = end - round(1000 * (last - row.get(SECONDS, 0.0)))
            for name in row.keys() - {STEP, SECONDS}:
                title = f"system/{prefix}{name}" if name in SYSTEM else f"{prefix}{name}"
                points.append((title, row[name], at, int(row[STEP])))
        self._log_points(points)

    @attempted("log the data sets")
    def log_data(self, client: "MlflowClient", sets: "list[DatasetInput]") -> None:
        """Name the data sets that the run read."""
        client.log_inputs(self.run_id, datasets=sets)

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        """Copy a file, or a folder with all in it, to the run's artifacts, below `folder` in them."""
        self.attempt(f"store {path.name}", lambda client: client.log_artifact(self.run_id, str(path), folder))

    @attempted("store a table")
    def log_table(self, client: "MlflowClient", table: "pd.DataFrame", name: str) -> None:
        """Write a table as JSON, in place of any before it, for the UI to show beside those of other runs."""
        client.log_text(self.run_id, table.to_json(orient="split", index=False, double_precision=15), name)
        client.set_tag(self.run_id, TABLES, json.dumps([{"path": name, "type": "table"}]))

    @attempted("tag the run")
    def set_tags(self, client: "MlflowClient", tags: Mapping[str, str]) -> None:
        """Write tags in place of any before them."""
        for name, value in tags.items():
            client.set_tag(self.run_id, name, value)

    @attempted("find the model")
    def model(self, client: "MlflowClient") -> "LoggedModel | None":
        """The model of the run; None if it has none, or without MLflow."""
        outputs = client.get_run(self.run_id).outputs
        existing = outputs.model_outputs if outputs else []
        return client.get_logged_model(existing[0].model_id) if existing else None

    def finish(self, status: Status = "FINISHED") -> None:
        """End the run; SCHEDULED leaves it to a later stage to continue."""
        self._finished = True
        self.attempt("finish the run", lambda client: client.set_terminated(self.run_id, status))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if self._finished:
            return
        code = error.code if isinstance(error, SystemExit) else None
        if error is None or (isinstance(error, SystemExit) and not code):
            self.finish("FINISHED")
        else:
            self.finish("KILLED" if isinstance(error, KeyboardInterrupt) or code == TERMINATED else "FAILED")

    @attempted("log metrics")
    def _log_points(self, client: "MlflowClient", points: Sequence[tuple[str, float, int, int]]) -> None:
        """Write points (name, value, time, step) that are finite and that the run does not have at whatever time."""
        from mlflow.entities import Metric

        known = set()
        if not self._is_new:
            for name in {name for name, *_ in points}.intersection(client.get_run(self.run_id).data.metrics):
                known |= {(name, had.value, had.step) for had in client.get_metric_history(self.run_id, name)}
        missing = [
            Metric(name, value, at, step)
            for name, value, at, step in points
            if math.isfinite(value) and (name, value, step) not in known
        ]
        for start in range(0, len(missing), METRICS_PER_BATCH):
            client.log_batch(self.run_id, metrics=missing[start : start + METRICS_PER_BATCH], synchronous=True)


class Child(Run):
    """The run of one strategy and seed, which begins with its pretraining if it has one."""

    is_pretraining = False  # what is trained now

    def log_evaluations(self, rows: Sequence[Row]) -> None:
        """Write evaluations of the training that is going on."""
        self.log_history(rows, f"{PRETRAIN}_" if self.is_pretraining else "")

    def finish_training(self, folder: Path) -> None:
        """End the run of the training in a run folder; after pretraining it waits for its strategy's stage."""
        if self.is_pretraining:
            self.finish("SCHEDULED")
        elif self.run_id:
            self.set_tags({TRAINED: folders.content_digest(folder)})
            self.finish()


class Comparison(Run):
    """The parent run, and the way to its children. It is RUNNING until everything is published.

    As a context manager it ends itself on an exception only: else later stages go on with it.
    """

    def __init__(self, params: Params, data: str, environment: Environment, outputs: str | None = None) -> None:
        """Open the run of these inputs and outputs, else the one that is not published yet, which is made if missing.

        data, outputs: digests of the prepared data and of the outputs, which are not known while training.
        """
        self._params, self._environment = params, environment
        tags = _tags(params, data) | environment.tags()
        tags.pop(STAGE, None)  # of no single stage
        connection = Connection(params.tracking.experiment, comparison_key(params, data), tags)
        super().__init__(connection, connection.open_parent({"mlflow.source.name": "dvc.yaml"}, outputs))
        self.log_parameters(flatten(params))

    def start(self, name: str, seed: int) -> Child:
        """Open the child for a training of a strategy, or of `pretrain`, in place of what an earlier try has left.

        Pretraining is part of the run of the first pretrained strategy in params.yaml, whose stage continues it; other
        pretrained strategies get its history from the files.
        """
        pretrained = [strategy for strategy in self._params.strategies if starts_pretrained(strategy, self._params)]
        if name == PRETRAIN and not pretrained:
            return Child(self.connection, None)
        tags = self._environment.tags()
        if name in pretrained and (run_id := self.connection.continued_child(self.run_id, name, seed, tags)):
            return Child(self.connection, run_id)
        return self._new_child(pretrained[0] if name == PRETRAIN else name, seed, tags, name == PRETRAIN)

    def restore(self, strategy: str, seed: int) -> Child:
        """Make the child of a finished training from its files, in place of any before it; it is not finished yet."""
        rows = folders.load_history(folders.run_folder(strategy, seed))
        end = _milliseconds()
        began = end - round(1000 * max((row.get(SECONDS, 0.0) for row in rows), default=0.0))
        tags = {REUSED: "true"}
        with contextlib.suppress(UserError):
            tags |= Environment.load(folders.timings_folder(strategy, seed)).tags()
        if os.environ.get(EXPERIMENT):  # shown in this experiment, whichever it was trained in
            tags[EXPERIMENT] = os.environ[EXPERIMENT]
        child = self._new_child(strategy, seed, tags, began=began)
        child.log_history(rows, until=end)
        return child

    def _new_child(
        self, strategy: str, seed: int, tags: Tags, is_pretraining: bool = False, began: int | None = None
    ) -> Child:
        child = Child(self.connection, self.connection.new_child(self.run_id, strategy, seed, tags, began), is_new=True)
        child.is_pretraining = is_pretraining
        child.log_parameters(folders.run_parameters(strategy, self._params))
        if child.run_id and not is_pretraining and starts_pretrained(strategy, self._params):
            child.log_history(folders.load_history(folders.run_folder(PRETRAIN, seed)), f"{PRETRAIN}_", until=began)
        return child

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is not None:
            super().__exit__(kind, error, trace)


def data_sets(folder: Path = PREPARED, use_of_targets: str = "training") -> "list[DatasetInput]":
    """The files in a folder of prepared data as MLflow shows them, with their columns, digests and numbers of rows."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    sets = []
    for file, name, columns, context in SETS:
        with (folder / file).open("rb") as lines:
            rows = sum(1 for _ in lines)
        schema = {"mlflow_colspec": [{"type": "string", "name": column, "required": True} for column in columns]}
        profile = {"num_rows": rows, "num_elements": rows * len(columns)}
        texts = map(json.dumps, ({"uri": (folder / file).as_posix()}, schema, profile))
        shown = Dataset(name, file_digest(folder / file)[:DIGITS], "local", *texts)
        tag = InputTag("mlflow.data.context", use_of_targets if file == TARGETS else context)
        sets.append(DatasetInput(shown, [tag]))
    return sets


def _milliseconds() -> int:
    return round(time.time() * 1000)


def _tags(params: Params, data_digest: str) -> dict[str, str]:
    """Tags of all runs of a comparison: the data, the user and the program."""
    name = params.data.pairs.stem if params.data.pairs else params.data.source
    tags = {
        "tandem.data": f"{name}-{data_digest[:8]}",
        "mlflow.source.name": Path(sys.argv[0]).as_posix().removeprefix(f"{Path.cwd().as_posix()}/"),
        "mlflow.source.type": "LOCAL",
    }
    with contextlib.suppress(KeyError, OSError):  # in a container the user may have no name
        tags["mlflow.user"] = getpass.getuser()
    return tags
