"""Runs in MLflow: a parent for each comparison, below it a child for each strategy and seed.

Files are the record and MLflow is the view: a training stage writes to its child while it trains, and stage evaluate
publishes from the files what is missing, then closes the comparison. No method of a run raises because of MLflow.
"""

import contextlib
import getpass
import hashlib
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

import pandas as pd

from pipeline.config import Params, flatten
from pipeline.connection import Connection, log_parameters

if TYPE_CHECKING:
    from mlflow import MlflowClient

Status = Literal["FINISHED", "FAILED", "KILLED", "SCHEDULED"]

# Modules that show results and do not decide them: a change there does not make another comparison.
VIEW_ONLY = (
    "cli.py",
    "connection.py",
    "curves.py",
    "examples.py",
    "figures.py",
    "markdown.py",
    "publication.py",
    "report.py",
    "serving.py",
    "summary.py",
    "tracking.py",
)

# Columns of history.csv that place a row; the others are metrics.
STEP, SECONDS = "update", "seconds"

METRICS_PER_BATCH = 1000  # MLflow takes no more at once
TERMINATED = 128 + 15  # the exit code that stands for SIGTERM


def numbers(content: Mapping[str, Any], prefix: str) -> dict[str, float]:
    """The numbers in nested mappings under one name each: `{"test": {"roc_auc": 0.9}}` -> `PREFIX_test_roc_auc`."""
    flat: dict[str, float] = {}
    for name, value in content.items():
        if isinstance(value, Mapping):
            flat |= numbers(value, f"{prefix}_{name}")
        elif isinstance(value, int | float):
            flat[f"{prefix}_{name}"] = value
    return flat


def comparison_key(params: Params, data_digest: str) -> str:
    """The comparison that a stage belongs to, 16 hexadecimal digits: the same for equal parameters, data and code."""
    decisive = {name: value for name, value in flatten(params).items() if not name.startswith("tracking.")}
    parts = [json.dumps(decisive, sort_keys=True), data_digest]
    package = Path(__file__).parent
    for path in sorted([*package.glob("*.py"), *package.glob("stages/*.py")]):
        name = path.relative_to(package).as_posix()
        if name not in VIEW_ONLY:
            parts += [name, path.read_text(encoding="utf-8")]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


class Run:
    """A run to write to; without MLflow, each method does nothing.

    As a context manager it finishes itself: FAILED on an exception, KILLED on Ctrl-C and on SIGTERM (where that is
    made a `SystemExit(143)`), else FINISHED, unless `finish` was called inside.
    """

    def __init__(self, connection: Connection, run_id: str) -> None:
        self.connection = connection
        self.run_id = run_id  # empty if MLflow is away
        self._finished = False

    def log_parameters(self, parameters: Mapping[str, Any]) -> None:
        """Write parameters by dotted name. MLflow allows no second value for a name."""
        self._attempt("log parameters", lambda client: log_parameters(client, self.run_id, parameters))

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Write metrics of one step. What is not finite is left out: MLflow would draw infinity as 1.8e308."""
        now = _milliseconds()
        self._send([(name, float(value), now, step) for name, value in metrics.items()])

    def log_history(self, history: pd.DataFrame, prefix: str = "") -> None:
        """Write rows of history.csv, their names after `prefix`, the last row as of now.

        Column `update` is the step, `seconds` (since training began; optional) the time axis, and every other column
        of numbers a metric. Empty cells are left out.
        """
        steps = history[STEP].astype(int).tolist()
        seconds = history[SECONDS] if SECONDS in history else pd.Series(0.0, index=history.index)
        now = _milliseconds()
        times = [now - round(1000 * ago) for ago in seconds.max() - seconds]
        metrics = history.select_dtypes("number").drop(columns=[STEP, SECONDS], errors="ignore")
        self._send(
            [
                (f"{prefix}{name}", float(value), timestamp, step)
                for name in metrics
                for value, timestamp, step in zip(metrics[name], times, steps, strict=True)
            ]
        )

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        """Copy a file, or a folder with all in it, to the run's artifacts, there below `folder`."""
        self._attempt(f"store {path.name}", lambda client: client.log_artifact(self.run_id, str(path), folder))

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

    def _send(self, values: list[tuple[str, float, int, int]]) -> None:
        """Write (name, value, milliseconds since 1970, step) of each."""
        finite = [value for value in values if math.isfinite(value[1])]

        def send(client: "MlflowClient") -> None:
            from mlflow.entities import Metric

            for start in range(0, len(finite), METRICS_PER_BATCH):
                batch = finite[start : start + METRICS_PER_BATCH]
                client.log_batch(self.run_id, metrics=[Metric(*value) for value in batch], synchronous=True)

        self._attempt("log metrics", send)

    def _attempt(self, action: str, call: Callable[["MlflowClient"], object]) -> None:
        if self.run_id:
            self.connection.attempt(action, call)


class Tracker(Run):
    """The child run of one strategy and seed; `continued` says whether an earlier stage has written to it."""

    def __init__(self, connection: Connection, run_id: str, continued: bool = False) -> None:
        super().__init__(connection, run_id)
        self.continued = continued

    @classmethod
    def start(
        cls,
        params: Params,
        data_digest: str,
        strategy: str,
        seed: int,
        parameters: Mapping[str, Any],
        continuing: bool = False,
    ) -> Self:
        """Open the run of a training stage, a new one in place of what an earlier try has left.

        parameters: this stage's own, by dotted name. continuing: go on with the run if the stage before this one
        finished it as SCHEDULED.
        """
        connection = _connection(params, data_digest)
        tags = _environment_tags("DVC_STAGE")
        scheduled = connection.scheduled_child(strategy, seed, tags) if continuing else ""
        run_id = scheduled or connection.new_child(strategy, seed, tags)
        tracker = cls(connection, run_id, continued=bool(scheduled))
        tracker.log_parameters(parameters)
        return tracker


class Comparison(Run):
    """The parent run, as stage evaluate uses it: it looks for the children, publishes the missing ones, and finishes.

    Until then the parent is RUNNING.
    """

    @classmethod
    def open(cls, params: Params, data_digest: str) -> Self:
        """Open the comparison that these parameters, data and code belong to."""
        connection = _connection(params, data_digest)
        return cls(connection, connection.parent)

    def child(self, strategy: str, seed: int) -> Tracker | None:
        """The complete run of a strategy and seed, to add to; None if it is missing or was broken off."""
        run_id = self.connection.finished_child(strategy, seed)
        return Tracker(self.connection, run_id) if run_id else None

    def publish_child(
        self,
        strategy: str,
        seed: int,
        folder: Path,
        parameters: Mapping[str, Any],
        reused: bool,
        pretraining: Path | None = None,
    ) -> Tracker:
        """The complete run of a strategy and seed, made from the files of its `folder` if there is none.

        reused: tag it as coming from DVC's cache. pretraining: the folder of the pretraining that is part of it.
        """
        if (complete := self.child(strategy, seed)) is not None:
            return complete
        history = pd.read_csv(folder / "history.csv")
        seconds = float(history[SECONDS].max()) if SECONDS in history and len(history) else 0.0
        tags = {"tandem.reused": "true"} if reused else {}
        started = _milliseconds() - round(1000 * seconds)
        tracker = Tracker(self.connection, self.connection.new_child(strategy, seed, tags, started))
        tracker.log_parameters(parameters)
        if pretraining is not None:
            tracker.log_history(pd.read_csv(pretraining / "history.csv"), prefix="pretrain_")
        tracker.log_history(history)
        tracker.finish("FINISHED")
        return tracker

    def set_description(self, markdown: str) -> None:
        """What the UI shows first of the comparison; MLflow keeps 8,000 characters."""
        self._attempt(
            "describe the comparison", lambda client: client.set_tag(self.run_id, "mlflow.note.content", markdown)
        )


def _connection(params: Params, data_digest: str) -> Connection:
    name = params.data.pairs.stem if params.data.pairs else params.data.source.value
    tags = {"tandem.data": f"{name}-{data_digest[:8]}", **_source_tags()}
    return Connection(params.tracking.experiment, comparison_key(params, data_digest), tags, flatten(params))


def _milliseconds() -> int:
    return round(time.time() * 1000)


def _environment_tags(*names: str) -> dict[str, str]:
    return {name: os.environ[name] for name in names if os.environ.get(name)}


def _source_tags() -> dict[str, str]:
    """Who runs what, from which state of the code."""
    program = Path(sys.argv[0])
    if program.is_relative_to(Path.cwd()):
        program = program.relative_to(Path.cwd())
    tags = {"mlflow.source.name": program.as_posix(), "mlflow.source.type": "LOCAL"}
    tags |= _environment_tags("DVC_EXP_NAME")
    with contextlib.suppress(KeyError, OSError):  # in a container the user may have no name
        tags["mlflow.user"] = getpass.getuser()
    commit = _git("rev-parse", "--verify", "HEAD")
    changes = _git("--no-optional-locks", "status", "--porcelain", "--untracked-files=no")
    if commit is not None and changes is not None:
        changed = [line for line in changes.splitlines() if Path(line[3:]).name != "dvc.lock"]  # written by dvc repro
        tags |= {"mlflow.source.git.commit": commit.strip(), "tandem.git_clean": json.dumps(not changed)}
    return tags


def _git(*arguments: str) -> str | None:
    command = ["git", *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout  # noqa: S603
    except (OSError, subprocess.SubprocessError, UnicodeError):
        return None
