"""The way to MLflow: which store is in use, and the runs of a comparison in it, known by their tags.

What a run holds is left to `pipeline.tracking.runs`.
"""

import contextlib
import functools
import json
import logging
import os
import random
import re
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from filelock import FileLock

from pipeline.config.params import ConfigError, load_params
from pipeline.tracking.sqlite import ARTIFACTS, BUSY_SECONDS, anchored, follow_project, sqlite_file
from pipeline.tracking.store import make_ready

if TYPE_CHECKING:  # importing MLflow takes a second, and may fail like any other use of it
    from mlflow import MlflowClient
    from mlflow.entities import Run as MlflowRun

P = ParamSpec("P")
T = TypeVar("T")
Method = Callable[Concatenate[Any, "MlflowClient", P], T]
Tags = Mapping[str, str]
log = logging.getLogger(__name__)

# Tags of a run: its comparison (a hash of the inputs), PARENT or CHILD, and of a child its strategy and seed.
COMPARISON, KIND, STRATEGY, SEED = "tandem.comparison", "tandem.kind", "tandem.strategy", "tandem.seed"
PARENT, CHILD, PARENT_ID = "comparison", "run", "mlflow.parentRunId"
# A hash of the outputs, set when all of a parent is published; digests of the training that a child shows and of all
# that is published of a run; and a mark of children that were made from files.
OUTPUTS, TRAINED, PUBLISHED, REUSED = "tandem.outputs", "tandem.trained", "tandem.published", "tandem.reused"

# A parent of children with this tag shows them: the UI opens the page of an experiment with all such rows expanded.
EXPANDED = {"mlflow.runType": "evaluation"}
SHARED_VIEW, VIEW = "mlflow.sharedViewState.", "tandem"

# Settings of MLflow unless the user has set them. By its own defaults, every call waits minutes for a server that is
# down, and the UI starts eight more processes that judge language models.
MLFLOW_ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
LOCK_SECONDS = 120
BUSY = "database is locked"  # SQLite's message during another transaction


def project_root() -> Path:
    """The project's folder, also where DVC runs a stage in a temporary copy of it."""
    return Path(os.environ.get("DVC_ROOT") or Path.cwd()).absolute()


def tracking_uri(root: Path) -> str:
    """The store in use: MLFLOW_TRACKING_URI, else mlflow.db in `root`; a relative SQLite path starts from `root`."""
    return anchored(os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlflow.db", root)


def is_server(uri: str) -> bool:
    """Whether runs go through a server, which then decides where artifacts are kept."""
    return uri.startswith(("http:", "https:", "databricks"))


def runs_page(root: Path, experiment: str, columns: Mapping[str, int]) -> str:
    """The part of the UI's address, after host and port, that shows the runs of an experiment.

    columns: those beside the name and the duration, as the UI calls them, with their widths in pixels.
    """
    # What the UI's own button "Share view" makes: a tag of the experiment, and its name in the address.
    view = json.dumps({"selectedColumns": list(columns), "columnOrder": list(columns), "columnWidths": columns})
    with alone(root, "mlflow"):  # it may make the store
        client = _connect(root, experiment)
        entry = client.get_experiment_by_name(experiment)
        if entry and entry.tags.get(f"{SHARED_VIEW}{VIEW}") != view:
            client.set_experiment_tag(entry.experiment_id, f"{SHARED_VIEW}{VIEW}", view)
    # Without its type of workflow, the UI opens on the traces of language models.
    place = f"/{entry.experiment_id}/runs" if entry else ""
    return f"/#/experiments{place}?workflowType=machine_learning" + (f"&viewStateShareKey={VIEW}" if entry else "")


@contextlib.contextmanager
def alone(root: Path, name: str) -> Iterator[None]:
    """Hold the project's lock of a name meanwhile; do without it if the lock file cannot be written."""
    with contextlib.ExitStack() as held:
        with contextlib.suppress(OSError):
            held.enter_context(_lock(root, name))
        yield


@dataclass(frozen=True)
class ExistingRun:
    """A run that the store has and that is not deleted."""

    run_id: str
    status: str
    tags: Tags
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


def attempted(action: str) -> Callable[[Method[P, T]], Callable[Concatenate[Any, P], T | None]]:
    """Decorate a method that takes the client: it is called without it, through `attempt` of its object."""

    def decorate(method: Method[P, T]) -> Callable[Concatenate[Any, P], T | None]:
        @functools.wraps(method)
        def call(self: "Connection", *args: P.args, **kwargs: P.kwargs) -> T | None:
            return self.attempt(action, lambda client: method(self, client, *args, **kwargs))

        return call

    return decorate


class Connection:
    """A store, and the runs of one comparison in it.

    No method raises because of MLflow: the first failure logs a warning, and from then on nothing is tried. Ids of runs
    are None then.
    """

    parent_kind = PARENT
    mended_by = "the next `dvc repro`, or `tandem publish`, adds"

    def __init__(self, experiment: str, key: str, tags: Tags) -> None:
        """Open the store and the experiment, making what is missing; `tags` go on each run made for the comparison."""
        self._key = key
        self._tags = {COMPARISON: key, **tags}
        self._client: MlflowClient | None = None
        self._name = f"{experiment}-{key[:6]}"
        root = project_root()
        # Of two processes that make a SQLite store at once both fail, and of two that write to it at once one may; two
        # that look for what is missing, in whatever store, would both add it.
        self._lock = _lock(root, "mlflow", LOCK_SECONDS)
        try:
            with self._lock:
                client = _connect(root, experiment)
                self._experiment = _open_experiment(client, experiment, root)
            self._client = client
        except Exception as error:
            self._give_up("open the store", error)

    @property
    def is_open(self) -> bool:
        """Whether everything has reached the store so far."""
        return self._client is not None

    def page_of(self, run_id: str) -> str:
        """The address of a run within the UI, for links in what the UI shows."""
        return f"#/experiments/{self._experiment}/runs/{run_id}"

    def attempt(self, action: str, call: Callable[["MlflowClient"], T]) -> T | None:
        """The result of `call`, which no other process makes meanwhile; None if this or an earlier one failed."""
        deadline = time.monotonic() + BUSY_SECONDS
        while self._client is not None:
            try:
                with self._lock:
                    return call(self._client)
            except Exception as error:
                if BUSY in str(error) and time.monotonic() < deadline:
                    time.sleep(random.uniform(0.05, 0.5))  # noqa: S311
                else:
                    self._give_up(action, error)
        return None

    def parents(self) -> list[ExistingRun]:
        """The parent runs of the comparison, the oldest first; without MLflow none."""
        return self._existing({KIND: self.parent_kind}) or []

    def children(self, parent: str) -> list[ExistingRun]:
        """The children of a parent run, the oldest first; without MLflow none."""
        return self._existing({KIND: CHILD, PARENT_ID: parent}) or []

    @attempted("open the comparison")
    def open_parent(self, client: "MlflowClient", tags: Tags, outputs: str | None = None) -> str:
        """Id of the parent run with these outputs, else of the one without, now running; it is made if missing."""
        runs = self._search(client, {KIND: self.parent_kind})
        existing = {run.data.tags.get(OUTPUTS): str(run.info.run_id) for run in reversed(runs)}
        if outputs is not None and outputs in existing:
            return existing[outputs]
        if None in existing:
            client.update_run(existing[None], status="RUNNING")
            return existing[None]
        every = {**self._tags, KIND: self.parent_kind, **tags}
        return str(client.create_run(self._experiment, tags=every, run_name=self._name).info.run_id)

    @attempted("delete a duplicate")
    def delete_parent(self, client: "MlflowClient", parent: str) -> None:
        """Delete a parent run with its children."""
        for run in self._search(client, {PARENT_ID: parent}):
            client.delete_run(run.info.run_id)
        client.delete_run(parent)

    @attempted("continue the run")
    def continued_child(self, client: "MlflowClient", parent: str, strategy: str, seed: int, tags: Tags) -> str | None:
        """Id of the child that an earlier stage left as SCHEDULED, now running; None if there is none."""
        for run in self._search(client, _child_tags(parent, strategy, seed)):
            if run.info.status == "SCHEDULED":
                client.update_run(run.info.run_id, status="RUNNING")
                for name, value in {**self._tags, **tags}.items():
                    client.set_tag(run.info.run_id, name, value)
                return str(run.info.run_id)
        return None

    @attempted("make the run")
    def new_child(
        self, client: "MlflowClient", parent: str, strategy: str, seed: int, tags: Tags, began: int | None = None
    ) -> str:
        """Id of a new child of a strategy and seed in place of any before it.

        began: milliseconds since 1970, UTC; None is now.
        """
        identity = _child_tags(parent, strategy, seed)
        for run in self._search(client, identity):
            client.delete_run(run.info.run_id)
        every = {**self._tags, **identity, **EXPANDED, **tags}
        return str(client.create_run(self._experiment, began, every, f"{strategy}-seed{seed}").info.run_id)

    @attempted("find the runs of the comparison")
    def _existing(self, client: "MlflowClient", tags: Tags) -> list[ExistingRun]:
        return [
            ExistingRun(run.info.run_id, run.info.status, run.data.tags, bool(client.list_artifacts(run.info.run_id)))
            for run in self._search(client, tags)
        ]

    def _search(self, client: "MlflowClient", tags: Tags) -> list["MlflowRun"]:
        wanted = {COMPARISON: self._key, **tags}
        conditions = " and ".join(f"tags.`{name}` = '{value}'" for name, value in wanted.items())
        return list(client.search_runs([self._experiment], conditions, order_by=["attributes.start_time ASC"]))

    def _give_up(self, action: str, error: Exception) -> None:
        self._client = None
        message = (
            "MLflow could not %s (%s). Nothing more is sent to it, and no result is lost: once it can, "
            "%s what is missing."
        )
        log.warning(message, action, reason_of(error), self.mended_by)


def reason_of(error: Exception) -> str:
    """An error's message in one line, without the password that an address in it may have."""
    return textwrap.shorten(without_password(f"{type(error).__name__}: {error}"), 300, placeholder=" ...")


def without_password(text: str) -> str:
    """The same text without user and password in its addresses."""
    return re.sub(r"//[^/@\s]*@", "//", text)


def import_mlflow() -> None:
    """Import MLflow ahead of its first use, while there is time; an error shows when it is used."""
    for name, value in MLFLOW_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    with contextlib.suppress(Exception):
        import mlflow  # noqa: F401


def use_project_store() -> None:
    """Let MLflow's functions that take a model's address use the project's store, in this process."""
    import_mlflow()
    import mlflow

    root = project_root()
    with contextlib.suppress(ConfigError):  # a model can be loaded outside of a project
        experiment = load_params().tracking.experiment
        with alone(root, "mlflow"):
            _make_ready(root, experiment)
    mlflow.set_tracking_uri(tracking_uri(root))


def _lock(root: Path, name: str, seconds: float = -1) -> FileLock:
    return FileLock(root / ".dvc" / "tmp" / f"tandem-{name}.lock", timeout=seconds)


def _connect(root: Path, experiment: str) -> "MlflowClient":
    import_mlflow()
    from mlflow import MlflowClient

    _make_ready(root, experiment)
    return MlflowClient(tracking_uri(root))


def _make_ready(root: Path, experiment: str) -> None:
    """Let a local store be whole, of this version of MLflow, and of the project in its place."""
    # MLflow logs that it makes a store, and prints a traceback for errors that it raises as well.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    if database := sqlite_file(uri := tracking_uri(root)):
        make_ready(database)
        follow_project(uri, experiment, root)


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
