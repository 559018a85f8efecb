"""Any MLflow server: a real one on loopback, over SQLite and over PostgreSQL, that goes away and comes back."""

import os
import pwd
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from pipeline.config.params import load_params
from pipeline.data.prepared import Prepared
from pipeline.errors import show_logs
from pipeline.runs.environment import Environment
from pipeline.runs.folders import run_folder
from pipeline.tracking.publish import publish
from pipeline.tracking.runs import Comparison
from tests.support.reported_project import REPORTED, make_reported_project
from tests.support.servers import free_port, mlflow_server, running
from tests.support.small_project import ACCURACIES
from tests.support.stored import artifacts, children, client, data_sets, points, runs, state

pytestmark = pytest.mark.slow

BACKENDS = ("sqlite", "postgresql")


@contextmanager
def postgresql() -> Iterator[str]:
    """The address of a database in a cluster that ends with it."""
    found = [shutil.which("initdb"), *map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), reverse=True))]
    initdb = next(filter(None, found), None)
    if initdb is None:
        pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    programs, port = Path(initdb).resolve().parent, free_port()
    user = None if os.geteuid() else _unprivileged()  # PostgreSQL refuses to run as root
    with TemporaryDirectory() as place:  # short, for the name of a socket, and open to that user
        if user:
            shutil.chown(place, user)
        data = f"{place}/data"
        there: dict[str, Any] = {"cwd": place, "user": user}
        create = [
            initdb,
            "--pgdata",
            data,
            "--username",
            "tandem",
            "--auth",
            "trust",
            "--encoding",
            "UTF8",
            "--no-sync",
        ]
        made = subprocess.run([*create, "--locale", "C"], **there, capture_output=True, text=True, check=False)
        if made.returncode:
            pytest.skip(f"no PostgreSQL cluster can be made here: {made.stderr}")
        serve = [f"{programs}/postgres", "-D", data, "-p", str(port), "-k", place, "-h", "127.0.0.1", "-c", "fsync=off"]
        ready = [f"{programs}/pg_isready", "--quiet", "--host", "127.0.0.1", "--port", str(port)]
        with subprocess.Popen(serve, **there, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
            try:
                while subprocess.run(ready, check=False).returncode:
                    assert server.poll() is None
                    time.sleep(0.1)
                yield f"postgresql+psycopg2://tandem@127.0.0.1:{port}/postgres"
            finally:
                server.terminate()


def _unprivileged() -> str:
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            continue
    pytest.skip("there is no user but root to run PostgreSQL as")


Serving = Callable[[], AbstractContextManager[None]]


@pytest.fixture(params=BACKENDS)
def serving(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Serving]:
    """A way to start the server that the environment names, as often as needed."""
    folder = tmp_path / "server"
    folder.mkdir()
    address = f"http://127.0.0.1:{(port := free_port())}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    with ExitStack() as stack:
        store = stack.enter_context(postgresql()) if request.param == "postgresql" else "sqlite:///mlflow.db"
        yield partial(running, mlflow_server(port, store, folder / "artifacts"), folder, f"{address}/health")


@pytest.fixture
def project(cold_project: Path, serving: Serving) -> Path:
    """A project with reports of which the server has nothing."""
    show_logs()
    make_reported_project(cold_project)
    return cold_project


def test_a_server_that_goes_away_while_training_has_everything_once_it_is_back(
    project: Path, serving: Serving, capfd: pytest.CaptureFixture[str]
) -> None:
    params, environment = load_params(), Environment.here()
    folder = run_folder("tandem", 0)
    with serving():
        comparison = Comparison(params, Prepared.open().digest, environment)
        child = comparison.start("tandem", 0)
        child.log_evaluations([{"step": 5, "dev_word_accuracy": 0.25}])
        (live,) = runs(project, "run")
        assert points(project, live, "dev_word_accuracy") == [(5, 0.25)]
        child.log_artifact(folder / "history.csv")
        assert artifacts(project, live) == {"history.csv"}
    capfd.readouterr()
    for step in range(10, 110, 10):
        child.log_evaluations([{"step": step, "dev_word_accuracy": 0.5}])
    child.finish_training(folder)
    assert capfd.readouterr().err.count("warning: MLflow could not log metrics (") == 1
    assert not publish(params)
    assert capfd.readouterr().err.count("warning: MLflow could not open the store (") == 1
    with serving():
        assert publish(params)
        assert_complete(project)
        assert live.info.run_id not in {run.info.run_id for run in runs(project)}
        before = state(project)
        assert publish(params)
        assert state(project) == before
    assert not (project / "mlflow.db").exists()
    assert not (project / "mlartifacts").exists()


def assert_complete(project: Path) -> None:
    (parent,) = runs(project, "comparison")
    found = children(project)
    assert set(found) == set(ACCURACIES)
    assert {run.info.status for run in [parent, *found.values()]} == {"FINISHED"}
    assert artifacts(project, parent) == REPORTED
    best = found["tandem", 0]
    assert points(project, best, "dev_word_accuracy") == [(10, 0.5)]
    assert "predictions.json" in artifacts(project, best)
    assert len(data_sets(best)) == 4
    assert client(project).get_model_version_by_alias("tandem", "champion").run_id == best.info.run_id
