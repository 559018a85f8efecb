"""A store in a SQLite file that is moved or copied with its project."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from mlflow import MlflowClient

from pipeline.tracking.sqlite import database_of, follow_project

EXPERIMENT = "tandem"


def follow(database: Path, experiment: str, root: Path) -> bool:
    return follow_project(f"sqlite:///{database}", experiment, root)


def client(database: Path) -> MlflowClient:
    return MlflowClient(f"sqlite:///{database}")


def make_run(database: Path) -> str:
    """A finished run with an artifact."""
    store = client(database)
    experiment = store.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    run = store.create_run(experiment.experiment_id, tags={"a": "tag"})
    store.log_text(run.info.run_id, "of this run", "note.txt")
    store.set_terminated(run.info.run_id)
    return str(run.info.run_id)


def text_of(database: Path, run_id: str) -> str:
    store = client(database)
    place = store.download_artifacts(run_id, "note.txt")
    return Path(place).read_text(encoding="utf-8")


class Made(NamedTuple):
    """A project with a store, one run with an artifact, and a model with a registered version."""

    root: Path
    run_id: str


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    root = tmp_path_factory.mktemp("projects") / "a project"
    (root / "model").mkdir(parents=True)
    (root / "model" / "MLmodel").write_text("flavors: {}\n", encoding="utf-8")
    store = client(root / "mlflow.db")
    experiment = store.create_experiment(EXPERIMENT, (root / "mlartifacts").as_uri())
    run_id = make_run(root / "mlflow.db")
    model = store.create_logged_model(experiment, "model", run_id)
    store.log_model_artifacts(model.model_id, str(root / "model"))
    store.create_registered_model("tandem")
    store.create_model_version("tandem", model.artifact_location, run_id, model_id=model.model_id)
    return Made(root, run_id)


@pytest.fixture
def copied(made: Made, tmp_path: Path) -> Path:
    """The project copied to another place."""
    shutil.copytree(made.root, tmp_path / "copied & moved to here")
    return tmp_path / "copied & moved to here"


@pytest.fixture
def moved(copied: Path, made: Made) -> Iterator[Path]:
    """The project in another place, and gone from the first."""
    hidden = made.root.rename(made.root.with_name("hidden"))
    yield copied
    hidden.rename(made.root)


def test_only_an_existing_sqlite_file_is_a_local_store(tmp_path: Path) -> None:
    assert database_of(f"sqlite:///{tmp_path}/mlflow.db") is None
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "mlflow.db").touch()
    assert database_of(f"sqlite:///{tmp_path}/mlflow.db") == tmp_path / "mlflow.db"
    assert database_of("http://127.0.0.1:5000") is None


def test_after_a_move_artifacts_models_and_new_runs_are_in_the_new_place(moved: Path, made: Made) -> None:
    database = moved / "mlflow.db"
    assert follow(database, EXPERIMENT, moved)
    assert text_of(database, made.run_id) == "of this run"
    store, here = client(database), (moved / "mlartifacts").as_uri()
    (model,) = store.search_logged_models(["1"])
    (version,) = store.search_model_versions("name = 'tandem'")
    assert model.artifact_location.startswith(f"{here}/models/")
    assert version.source == model.artifact_location
    assert store.get_model_version_download_uri("tandem", "1") == model.artifact_location
    assert text_of(database, make_run(database)) == "of this run"
    assert len(list((moved / "mlartifacts").rglob("note.txt"))) == 2
    assert not made.root.exists()


def test_a_store_in_its_place_is_left_alone(made: Made) -> None:
    before = (made.root / "mlflow.db").read_bytes()
    assert not follow(made.root / "mlflow.db", EXPERIMENT, made.root)
    assert not follow(made.root / "mlflow.db", "another", made.root)
    assert (made.root / "mlflow.db").read_bytes() == before


def test_a_link_to_the_project_is_the_same_place(made: Made, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(made.root, target_is_directory=True)
    assert not follow(tmp_path / "link" / "mlflow.db", EXPERIMENT, tmp_path / "link")


def test_a_copy_writes_to_its_own_folder_and_not_to_the_first(copied: Path, made: Made) -> None:
    assert follow(copied / "mlflow.db", EXPERIMENT, copied)
    before = sorted(made.root.rglob("*"))
    make_run(copied / "mlflow.db")
    assert sorted(made.root.rglob("*")) == before
    shutil.rmtree(copied / "mlartifacts" / made.run_id)
    assert text_of(made.root / "mlflow.db", made.run_id) == "of this run"


def test_a_store_elsewhere_follows_only_a_project_that_went_away(made: Made, tmp_path: Path) -> None:
    """A store that two projects write to stays with the one that made the experiment."""
    shared, second = tmp_path / "shared.db", tmp_path / "second"
    shutil.copy(made.root / "mlflow.db", shared)
    (second / "mlartifacts").mkdir(parents=True)
    assert not follow(shared, EXPERIMENT, second)
    away = made.root.rename(tmp_path / "away")
    assert not follow(shared, EXPERIMENT, tmp_path / "third")  # where no artifacts are
    assert follow(shared, EXPERIMENT, away)
    assert text_of(shared, made.run_id) == "of this run"
    away.rename(made.root)


def test_artifacts_that_are_kept_elsewhere_on_purpose_stay_there(tmp_path: Path) -> None:
    database = tmp_path / "mlflow.db"
    for name, location in (("folder", "file:///somewhere/artifacts"), ("bucket", "s3://bucket/mlartifacts")):
        client(database).create_experiment(name, location)
        assert not follow(database, name, tmp_path)
