"""What several test modules need: small settings, the folder of a project, and calls of `tandem`."""

import json
import os
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from filelock import FileLock
from hypothesis import HealthCheck, settings
from mlflow import MlflowClient
from pydantic import TypeAdapter
from ruamel.yaml import YAML

from pipeline.cli import main
from pipeline.config.params import Model, Params, Training, changed, load_params
from pipeline.tracking.client import MLFLOW_ENVIRONMENT

PROJECT = Path(__file__).parent.parent

# Seconds until something must have happened that ends a wait. No right test comes near, on however slow a machine.
PATIENCE = 600

settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

# Ray's workers give way to all other processes, and would wait for the tests beside them.
os.environ |= {"RAY_worker_niceness": "0"}

# Modules that take minutes. They are begun first: the last one is waited for by all processes but its own.
LONGEST = ("test_kills.py", "test_sweep.py", "test_pipeline.py", "test_repro.py", "test_concurrency.py")

# Variables by which MLflow and DVC would reach another project.
OUTSIDE = ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_NAME", "DVC_ROOT", "DVC_STAGE", "DVC_EXP_NAME")


class Called(NamedTuple):
    """What a call of `tandem` came to."""

    code: int
    output: str
    error: str


Call = Callable[..., Called]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


def shipped_params() -> dict[str, Any]:
    """The content of the project's params.yaml without steps on dev, to be changed at will."""
    content: dict[str, Any] = YAML(typ="safe", pure=True).load((PROJECT / "params.yaml").read_bytes())
    content["training"]["dev_steps"] = 0
    return content


def changed_params(changes: dict[str, Any]) -> Params:
    """The shipped parameters without steps on dev, and with some changed, by dotted name."""
    return changed(load_params(PROJECT / "params.yaml"), {"training.dev_steps": 0, **changes})


def small_model(**changes: Any) -> Model:
    """The shipped architecture with few units, no dropout, and the bridge for data with unpaired targets."""
    content = (
        shipped_params()["model"]
        | {"bridge": "attention", "units": 12, "projection": 8, "embedding": 10, "dropout": 0.0}
        | changes
    )
    return TypeAdapter(Model).validate_json(json.dumps(content))


def quick_training(**changes: Any) -> Training:
    """Settings for seconds of training on toy data."""
    content = shipped_params()["training"] | changes
    return TypeAdapter(Training).validate_json(json.dumps(content))


def forget_tracking() -> None:
    for name in OUTSIDE:
        os.environ.pop(name, None)


@pytest.fixture(scope="session", autouse=True)
def _no_outside_tracking() -> None:
    """No test writes to a tracking server or a DVC project that the environment names."""
    forget_tracking()


@pytest.fixture(autouse=True)
def _no_tracking_of_other_tests() -> Iterator[None]:
    """MLflow's own functions leave the store that they are told of in the environment."""
    forget_tracking()
    yield
    forget_tracking()


@pytest.fixture
def warnings_are_errors() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.fixture
def eager() -> Iterator[None]:
    """Without compiling steps and searches, which takes seconds that a few of them do not pay for."""
    from pipeline.model.backend import tf  # which takes seconds

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Call `tandem` with some arguments, in this process and the current folder."""

    def called(*arguments: str) -> Called:
        monkeypatch.setattr(sys, "argv", ["tandem", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        return Called(int(ended.value.code or 0), *capsys.readouterr())

    return called


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with tables and nothing in them, because MLflow takes a second or more to make one."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}")
    return path


@pytest.fixture
def cold_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's folder, its name with a space, that nothing was tracked in so far; the current folder."""
    for name in [name for name in os.environ if name.startswith(("MLFLOW_", "DVC_"))]:
        monkeypatch.delenv(name)
    for name, value in MLFLOW_ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    root = tmp_path / "my project"
    root.mkdir()
    monkeypatch.chdir(root)
    return root


@pytest.fixture
def project(cold_project: Path, empty_store: Path) -> Path:
    """The same with a store in it, which is empty."""
    shutil.copy(empty_store, cold_project)
    return cold_project


@pytest.fixture
def params() -> Params:
    """The shipped parameters."""
    return load_params(PROJECT / "params.yaml")


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone of the project as it stands, run once with small parameters; tests copy it and write only to copies.

    Processes that test side by side share the one that the first of them makes.
    """
    from tests.support.clones import make_clone  # it imports this module

    base = tmp_path_factory.getbasetemp()
    made = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "original"
    with FileLock(f"{made}.lock"):
        if not made.exists():
            folder = tmp_path_factory.mktemp("made") / "clone"
            make_clone(folder)
            folder.rename(made)
    return made


@pytest.fixture(scope="module")
def clone(original: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy for the tests of a module, which may do anything to it."""
    from tests.support.clones import copy_clone

    return copy_clone(original, tmp_path_factory.mktemp("copies") / "a clone")
