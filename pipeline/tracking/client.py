"""The way to MLflow: which store is in use, and the runs of a comparison in it, known by their tags.

What a run holds is left to `pipeline.tracking.runs`.
"""

import contextlib
import json
import logging
import os
import random
import re
import sqlite3
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from filelock import FileLock

from pipeline.config.params import ConfigError, load_params
from pipeline.tracking.sqlite import ARTIFACTS, SCHEME, database_of, follow_project

if TYPE_CHECKING:  # importing MLflow takes a second, and may fail like any other use of it
    from mlflow import MlflowClient
    from mlflow.entities import Run as MlflowRun

T = TypeVar("T")
log = logging.getLogger(__name__)

# Tags of a run: its comparison (a hash of the inputs), PARENT or CHILD, and of a child its strategy and seed.
COMPARISON, KIND, STRATEGY, SEED = "tandem.comparison", "tandem.kind", "tandem.strategy", "tandem.seed"
PARENT, CHILD, PARENT_ID = "comparison", "run", "mlflow.parentRunId"
# A hash of the outputs, set when all of a parent is published; digests of the training that a child shows and of all
# that is published of a run; and a mark of children that were made from files.
OUTPUTS, TRAINED, PUBLISHED, REUSED = "tandem.outputs", "tandem.trained", "tandem.published", "tandem.reused"

# Settings of MLflow unless the user has set them. By its own defaults, every call waits minutes for a server that is
# down, and the UI starts eight more processes that judge language models.
ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
LOCK_SECONDS = 120
BUSY, BUSY_SECONDS = "database is locked", 20  # SQLite's message during another transaction; seconds of retries
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


def ui_arguments(root: Path, port: int) -> list[str]:
    """The arguments of the command `mlflow` that open the UI of a local store on loopback."""
    where = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    return ["ui", "--backend-store-uri", tracking_uri(root), *where]


def find_artifacts(root: Path, experiment: str) -> None:
    """Let a local store find its artifacts after it was moved or copied with the project in `root`."""
    if database := database_of(tracking_uri(root)):
        with contextlib.suppress(sqlite3.Error):  # MLflow reports what is wrong with it
            follow_project(database, experiment, root)


def runs_page(root: Path, experiment: str) -> str:
    """The part of the UI's address, after host and port, that shows the runs of an experiment."""
    find_artifacts(root, experiment)
    with alone(root, "mlflow"):  # it may make the store
        entry = _connect(tracking_uri(root)).get_experiment_by_name(experiment)
    # Without its type of workflow, the UI opens on the traces of language models.
    place = f"/{entry.experiment_id}/runs" if entry else ""
    return f"/#/experiments{place}?workflowType=machine_learning"


@contextlib.contextmanager
def alone(root: Path, name: str) -> Iterator[None]:
    """Hold the project's lock of a name meanwhile; do without it if the lock file cannot be written."""
    with contextlib.ExitStack() as held:
        with contextlib.suppress(OSError):
            held.enter_context(_lock(root, name))
        yield


@dataclass(frozen=True)
class ExistingRun:
    """A run that the store has and that is not deleted. artifacts: address of their folder."""

    run_id: str
    status: str
    tags: Mapping[str, str]
    artifacts: str
    has_artifacts: bool

    @property
    def child(self) -> tuple[str, int]:
        """Strategy and seed of a child."""
        return self.tags.get(STRATEGY, ""), int(self.tags.get(SEED, -1))

    def shows(self, published: str) -> bool:
        """Whether all with that digest was published to this run, and is still in place."""
        return self.status == "FINISHED" and self.tags.get(PUBLISHED) == published and self.has_artifacts

    def was_trained_as(self, digest: str) -> bool:
        """Whether the run shows the whole of the training with that digest."""
        return self.status == "FINISHED" and self.tags.get(TRAINED) == digest


class Connection:
    """A store, and the runs of one comparison in it.

    No method raises because of MLflow: the first failure logs a warning, and from then on nothing is tried.
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
        # Of two processes that make a SQLite store at once both fail, and of two that write to it at once one may.
        self._writes_alone = not is_server(tracking_uri(root))
        try:
            self._lock = _lock(root, "mlflow", LOCK_SECONDS)
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

    def attempt(self, action: str, call: Callable[["MlflowClient"], T], exclusive: bool = False) -> T | None:
        """The result of `call`; None if this or an earlier one failed. exclusive: no other process calls meanwhile."""
        if self._client is None:
            return None
        deadline = time.monotonic() + BUSY_SECONDS
        try:
            while True:
                try:
                    with self._lock if exclusive or self._writes_alone else contextlib.nullcontext():
                        return call(self._client)
                except Exception as error:
                    if BUSY not in str(error) or time.monotonic() > deadline:
                        raise
                time.sleep(random.uniform(0.05, 0.5))  # noqa: S311
        except Exception as error:
            self._give_up(action, error)
            return None

    def parents(self) -> list[ExistingRun]:
        """The parent runs of the comparison, the oldest first; without MLflow none."""
        return self._existing({KIND: self.parent_kind})

    def children(self, parent: str) -> list[ExistingRun]:
        """The children of a parent run, the oldest first; without MLflow none."""
        return self._existing({KIND: CHILD, PARENT_ID: parent}) if parent else []

    def open_parent(self, parameters: Mapping[str, Any], tags: Mapping[str, str]) -> str:
        """Id of the parent run without outputs, now running; it is made if missing. Empty without MLflow."""

        def take(client: "MlflowClient") -> str:
            for run in self._search(client, {KIND: self.parent_kind}):
                if OUTPUTS not in run.data.tags:
                    if run.info.status != "RUNNING":
                        client.update_run(run.info.run_id, status="RUNNING")
                    return str(run.info.run_id)
            every = {**self._tags, KIND: self.parent_kind, **tags}
            run = client.create_run(self._experiment, tags=every, run_name=self._name)
            log_parameters(client, run.info.run_id, parameters)
            return str(run.info.run_id)

        return self.attempt("open the comparison", take, exclusive=True) or ""

    def delete_parent(self, parent: str) -> None:
        """Delete a parent run with its children."""

        def delete(client: "MlflowClient") -> None:
            for run in self._search(client, {PARENT_ID: parent}):
                client.delete_run(run.info.run_id)
            client.delete_run(parent)

        self.attempt("delete a duplicate", delete, exclusive=True)

    def continued_child(self, parent: str, strategy: str, seed: int, tags: Mapping[str, str]) -> str:
        """Id of the child that an earlier stage left as SCHEDULED, now running; empty if there is none."""

        def take(client: "MlflowClient") -> str:
            children = self._search(client, _child_tags(parent, strategy, seed))
            run_id = next((str(run.info.run_id) for run in children if run.info.status == "SCHEDULED"), "")
            if run_id:
                client.update_run(run_id, status="RUNNING")
                for name, value in {**self._tags, **tags}.items():
                    client.set_tag(run_id, name, value)
            return run_id

        return self.attempt("continue the run", take, exclusive=True) or ""

    def new_child(
        self, parent: str, strategy: str, seed: int, tags: Mapping[str, str], began: int | None = None
    ) -> str:
        """Id of a new child of a strategy and seed in place of any before it; empty without MLflow.

        began: milliseconds since 1970, UTC; None is now.
        """

        def make(client: "MlflowClient") -> str:
            own = _child_tags(parent, strategy, seed)
            for run in self._search(client, own):
                client.delete_run(run.info.run_id)
            every = {**self._tags, **own, **tags}
            return str(client.create_run(self._experiment, began, every, f"{strategy}-seed{seed}").info.run_id)

        return self.attempt("make the run", make, exclusive=True) or ""

    def _existing(self, tags: Mapping[str, str]) -> list[ExistingRun]:
        def find(client: "MlflowClient") -> list[ExistingRun]:
            existing = [(run.info, run.data.tags) for run in self._search(client, tags)]
            return [
                ExistingRun(run.run_id, run.status, tags, run.artifact_uri, bool(client.list_artifacts(run.run_id)))
                for run, tags in existing
            ]

        return self.attempt("find the runs of the comparison", find) or []

    def _search(self, client: "MlflowClient", tags: Mapping[str, str]) -> list["MlflowRun"]:
        wanted = {COMPARISON: self._key, **tags}
        conditions = " and ".join(f"tags.`{name}` = '{value}'" for name, value in wanted.items())
        return list(client.search_runs([self._experiment], conditions, order_by=["attributes.start_time ASC"]))

    def _give_up(self, action: str, error: Exception) -> None:
        self._client = None
        message = "MLflow could not %s (%s). Nothing more is sent to it, and no result is lost: %s what is missing."
        log.warning(message, action, reason_of(error), self.mended_by)


def reason_of(error: Exception) -> str:
    """An error's message in one line, without the password that an address in it may have."""
    return textwrap.shorten(without_password(f"{type(error).__name__}: {error}"), 300, placeholder=" ...")


def without_password(text: str) -> str:
    """The same text without user and password in its addresses."""
    return re.sub(r"//[^/@\s]*@", "//", text)


def log_parameters(client: "MlflowClient", run_id: str, parameters: Mapping[str, Any]) -> None:
    """Write parameters by dotted name, the values as they may be written in params.yaml."""
    from mlflow.entities import Param

    entries = [Param(key, value if isinstance(value, str) else json.dumps(value)) for key, value in parameters.items()]
    for start in range(0, len(entries), PARAMETERS_PER_BATCH):
        client.log_batch(run_id, params=entries[start : start + PARAMETERS_PER_BATCH], synchronous=True)


def import_mlflow() -> None:
    """Import MLflow ahead of its first use, while there is time; an error shows when it is used."""
    with contextlib.suppress(Exception):
        _settle_environment()
        import mlflow  # noqa: F401


def use_project_store() -> None:
    """Let MLflow's functions that take a model's address use the project's store, in this process."""
    _settle_environment()
    import mlflow

    root = project_root()
    with contextlib.suppress(ConfigError):  # a model in a folder can be loaded outside of a project
        find_artifacts(root, load_params().tracking.experiment)
    mlflow.set_tracking_uri(tracking_uri(root))


def _lock(root: Path, name: str, seconds: float = -1) -> FileLock:
    """The project's lock of a name; raises OSError if its folder cannot be made."""
    folder = root / ".dvc" / "tmp"
    folder.mkdir(parents=True, exist_ok=True)
    return FileLock(folder / f"tandem-{name}.lock", timeout=seconds)


def _settle_environment() -> None:
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)


def _connect(uri: str) -> "MlflowClient":
    _settle_environment()
    from mlflow import MlflowClient

    # It logs that it makes a store, and prints a traceback for errors that it raises as well.
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
        raise RuntimeError(f"experiment {name!r} is deleted: restore it, or change tracking.experiment")
    return str(experiment.experiment_id)


def _child_tags(parent: str, strategy: str, seed: int) -> dict[str, str]:
    return {KIND: CHILD, PARENT_ID: parent, STRATEGY: strategy, SEED: str(seed)}
