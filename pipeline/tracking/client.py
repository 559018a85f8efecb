"""The way to MLflow: which store, and finding and making the runs of a comparison there.

It knows what the runs are tagged with and not what is written to them, which is `pipeline.tracking.runs`'s.
"""

import contextlib
import json
import logging
import os
import random
import re
import shlex
import sqlite3
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from filelock import FileLock

from pipeline.config.params import ConfigError, load_params
from pipeline.tracking.sqlite import ARTIFACTS, SCHEME, database_of, follow_project
from pipeline.tracking.tags import CHILD, COMPARISON, KIND, PARENT, SEED, STRATEGY, StoredRun

if TYPE_CHECKING:  # importing MLflow takes a second, and may fail like any other use of it
    from mlflow import MlflowClient
    from mlflow.entities import Run as MlflowRun

T = TypeVar("T")

# What MLflow does where the user has not said otherwise. By its own defaults, a server that is away holds up every
# call for minutes, and the UI has eight more processes at hand that judge language models.
ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
LOCK_SECONDS = 120
BUSY, BUSY_SECONDS = "database is locked", 20  # what SQLite says of another's transaction; how long it is tried again
PARAMETERS_PER_BATCH = 100  # MLflow takes no more at once


def project_root() -> Path:
    """The project's folder, also where DVC runs a stage in a temporary copy of it."""
    return Path(os.environ.get("DVC_ROOT") or Path.cwd()).absolute()


def tracking_uri(root: Path) -> str:
    """The store in use: MLFLOW_TRACKING_URI, else mlflow.db in `root`; a relative SQLite path starts from `root`."""
    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"{SCHEME}mlflow.db"
    if uri.startswith(SCHEME):
        return f"{SCHEME}{(root / uri.removeprefix(SCHEME)).as_posix()}"
    return uri


def is_server(uri: str) -> bool:
    """Whether runs go through a server, which then decides where artifacts are kept."""
    return uri.startswith(("http:", "https:", "databricks"))


def ui_command(root: Path) -> str:
    """The one line that opens the UI on loopback; for a server, the address of its own."""
    uri = tracking_uri(root)
    if is_server(uri):
        return uri
    return f"mlflow ui --backend-store-uri {shlex.quote(uri)} --host 127.0.0.1 --workers 1"


def find_artifacts(root: Path, experiment: str) -> None:
    """Let a local store find its artifacts, where it was moved or copied with the project in `root`."""
    if database := database_of(tracking_uri(root)):
        with contextlib.suppress(sqlite3.Error):  # MLflow says what is wrong with it
            follow_project(database, experiment, root)


def runs_page(root: Path, experiment: str) -> str:
    """The part of the UI's address, after host and port, that shows the runs of an experiment."""
    with alone(root, "mlflow"):  # it may make the store
        found = _connect(tracking_uri(root)).get_experiment_by_name(experiment)
    # Without its type of workflow, the UI opens on the traces of language models.
    place = f"/{found.experiment_id}/runs" if found else ""
    return f"/#/experiments{place}?workflowType=machine_learning"


@contextlib.contextmanager
def alone(root: Path, name: str) -> Iterator[None]:
    """With the lock of a name in a project held, for as long as that takes; without, where it cannot be written."""
    with contextlib.ExitStack() as held:
        with contextlib.suppress(OSError):
            lock = FileLock(_lock_file(root, name))
            Path(lock.lock_file).parent.mkdir(parents=True, exist_ok=True)
            held.enter_context(lock)
        yield


class Connection:
    """A store, and the runs of one comparison in it.

    No method raises because of MLflow: the first trouble prints a warning, and from then on nothing is tried.
    """

    parent_kind = PARENT
    mended_by = "the next `dvc repro`, or `tandem publish`, adds"

    def __init__(self, experiment: str, key: str, tags: Mapping[str, str]) -> None:
        """Open the store and the experiment, making what is missing; `tags` go on each run made for the comparison."""
        self._key = key
        self._tags = {COMPARISON: key, **tags}
        self._client: MlflowClient | None = None
        self._experiment = ""
        self._name = f"{experiment}-{key[:6]}"
        root = project_root()
        self._lock = FileLock(_lock_file(root, "mlflow"), timeout=LOCK_SECONDS)
        # Of two processes that make a SQLite store at once both fail, and of two that write to it at once one may.
        self._writes_alone = not is_server(tracking_uri(root))
        try:
            Path(self._lock.lock_file).parent.mkdir(parents=True, exist_ok=True)
            with self._lock:
                find_artifacts(root, experiment)
                client = _connect(tracking_uri(root))
                self._experiment = _open_experiment(client, experiment, root)
            self._client = client
        except Exception as error:
            self._give_up("open the store", error)

    @property
    def is_open(self) -> bool:
        """Whether everything has reached the store so far."""
        return self._client is not None

    def attempt(self, action: str, call: Callable[["MlflowClient"], T]) -> T | None:
        """The result of `call`; None if this or an earlier one failed."""
        if self._client is None:
            return None
        deadline = time.monotonic() + BUSY_SECONDS
        try:
            while True:
                try:
                    with self._lock if self._writes_alone else contextlib.nullcontext():
                        return call(self._client)
                except Exception as error:
                    if BUSY not in str(error) or time.monotonic() > deadline:
                        raise
                time.sleep(random.uniform(0.05, 0.5))  # noqa: S311
        except Exception as error:
            self._give_up(action, error)
            return None

    def runs(self) -> list[StoredRun]:
        """All runs of the comparison that are not deleted, the oldest first."""

        def find(client: "MlflowClient") -> list[StoredRun]:
            return [
                StoredRun(run.info.run_id, run.info.status, run.data.tags, bool(client.list_artifacts(run.info.run_id)))
                for run in self._search(client, {})
            ]

        return self.attempt("find the runs of the comparison", find) or []

    def open_parent(self, parameters: Mapping[str, Any], tags: Mapping[str, str]) -> str:
        """Id of the parent run, found or made with these, now running; empty if MLflow is away."""

        def take(client: "MlflowClient") -> str:
            with self._lock:
                if found := self._search(client, {KIND: self.parent_kind}):
                    run = found[0]
                    if run.info.status != "RUNNING":
                        client.update_run(run.info.run_id, status="RUNNING")
                else:
                    every = {**self._tags, KIND: self.parent_kind, **tags}
                    run = client.create_run(self._experiment, tags=every, run_name=self._name)
                    log_parameters(client, run.info.run_id, parameters)
                return str(run.info.run_id)

        return self.attempt("open the comparison", take) or ""

    def finished_child(self, strategy: str, seed: int) -> str:
        """Id of the finished run of a strategy and seed; empty if there is none."""

        def find(client: "MlflowClient") -> str:
            found = [run.info for run in self._search(client, _child_tags(strategy, seed))]
            return next((str(info.run_id) for info in found if info.status == "FINISHED"), "")

        return self.attempt("find the run", find) or ""

    def scheduled_child(self, strategy: str, seed: int, tags: Mapping[str, str]) -> str:
        """Id of the run that an earlier stage left to be gone on with, now running; empty if there is none."""

        def take(client: "MlflowClient") -> str:
            with self._lock:
                for run in self._search(client, _child_tags(strategy, seed)):
                    if run.info.status == "SCHEDULED":
                        client.update_run(run.info.run_id, status="RUNNING")
                        for name, value in {**self._tags, **tags}.items():
                            client.set_tag(run.info.run_id, name, value)
                        return str(run.info.run_id)
            return ""

        return self.attempt("go on with the run", take) or ""

    def new_child(
        self, parent: str, strategy: str, seed: int, tags: Mapping[str, str], started: int | None = None
    ) -> str:
        """Id of a new run of a strategy and seed in place of any before it; empty if MLflow is away.

        started: milliseconds since 1970, now if None.
        """

        def make(client: "MlflowClient") -> str:
            with self._lock:
                for run in self._search(client, _child_tags(strategy, seed)):
                    client.delete_run(run.info.run_id)
                every = {**self._tags, "mlflow.parentRunId": parent, **_child_tags(strategy, seed), **tags}
                run = client.create_run(self._experiment, started, every, f"{strategy}-seed{seed}")
                return str(run.info.run_id)

        return self.attempt("make the run", make) or ""

    def _search(self, client: "MlflowClient", tags: Mapping[str, str]) -> list["MlflowRun"]:
        wanted = {COMPARISON: self._key, **tags}
        conditions = " and ".join(f"tags.`{name}` = '{value}'" for name, value in wanted.items())
        return list(client.search_runs([self._experiment], conditions, order_by=["attributes.start_time ASC"]))

    def _give_up(self, action: str, error: Exception) -> None:
        self._client = None
        print(
            f"warning: MLflow could not {action} ({reason_of(error)}). "
            f"Nothing more is sent to it, and nothing is lost: {self.mended_by} from the files what is missing.",
            file=sys.stderr,
        )


def reason_of(error: Exception) -> str:
    """What MLflow says is wrong, in one line and without the password that an address may carry."""
    return textwrap.shorten(re.sub(r"//[^/@\s]*@", "//", f"{type(error).__name__}: {error}"), 300, placeholder=" ...")


def log_parameters(client: "MlflowClient", run_id: str, parameters: Mapping[str, Any]) -> None:
    """Write parameters by dotted name, the values as they may stand in params.yaml."""
    from mlflow.entities import Param

    entries = [Param(key, value if isinstance(value, str) else json.dumps(value)) for key, value in parameters.items()]
    for start in range(0, len(entries), PARAMETERS_PER_BATCH):
        client.log_batch(run_id, params=entries[start : start + PARAMETERS_PER_BATCH], synchronous=True)


def import_mlflow() -> None:
    """Import it before it is needed, where there is time; whatever is wrong with it shows when it is used."""
    with contextlib.suppress(Exception):
        _settle_environment()
        import mlflow  # noqa: F401


def use_project_store() -> None:
    """Let the functions of MLflow that take an address look for it in the store in use, in this process."""
    _settle_environment()
    import mlflow

    root = project_root()
    with contextlib.suppress(ConfigError):  # a model's folder can be looked at where no project is
        find_artifacts(root, load_params().tracking.experiment)
    mlflow.set_tracking_uri(tracking_uri(root))


def _lock_file(root: Path, name: str) -> Path:
    return root / ".dvc" / "tmp" / f"tandem-{name}.lock"


def _settle_environment() -> None:
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)


def _connect(uri: str) -> "MlflowClient":
    _settle_environment()
    from mlflow import MlflowClient

    # It tells when it makes a store, and prints a traceback for errors that it raises as well.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    return MlflowClient(uri)


def _open_experiment(client: "MlflowClient", name: str, root: Path) -> str:
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        # The kind tells the UI that models are trained here, not language models traced.
        # By default artifacts would go below the current folder, which may be a temporary copy of the project.
        location = None if is_server(tracking_uri(root)) else (root / ARTIFACTS).as_uri()
        return str(client.create_experiment(name, location, {"mlflow.experimentKind": "custom_model_development"}))
    if experiment.lifecycle_stage == "deleted":
        raise RuntimeError(f"experiment {name!r} was deleted there: restore it, or change tracking.experiment")
    return str(experiment.experiment_id)


def _child_tags(strategy: str, seed: int) -> dict[str, str]:
    return {KIND: CHILD, STRATEGY: strategy, SEED: str(seed)}
