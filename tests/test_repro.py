"""Whatever happens to the store or the project, and however DVC runs the stages, MLflow has every comparison once."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow.tracking._tracking_service.utils import _artifact_repos_cache

from tests.clones import copy_clone, ran, run
from tests.servers import free_port
from tests.stored import comparisons, newest_children, newest_comparison, points, runs, state

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def copy(clone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the clone, which these tests may do anything to."""
    return copy_clone(clone, tmp_path_factory.mktemp("copies") / "a copy")


@pytest.fixture
def project(copy: Path) -> Iterator[Path]:
    _artifact_repos_cache.clear()  # a process remembers where the artifacts of a run are, which here are in two places
    yield copy
    _artifact_repos_cache.clear()


def curves(folder: Path) -> dict[str, dict[str, list[tuple[int, float]]]]:
    """All metrics of the newest comparison's runs, by their names."""
    parent = newest_comparison(folder).info.run_id
    own = [run for run in runs(folder) if parent in (run.info.run_id, run.data.tags.get("mlflow.parentRunId"))]
    return {run.info.run_name: {name: points(folder, run, name) for name in run.data.metrics} for run in own}


ALL_REUSED = {("supervised", "true"): 2, ("two_stage", "true"): 2, ("tandem", "true"): 2}
TANDEM_TRAINED = {("supervised", "true"): 2, ("two_stage", "true"): 2, ("tandem", None): 2}


def test_a_store_that_was_deleted_is_filled_by_a_repro_that_trains_nothing(project: Path, clone: Path) -> None:
    (project / "mlflow.db").unlink()
    shutil.rmtree(project / "mlartifacts")
    assert ran(run(project, "dvc", "repro")) == {"publish"}
    assert len(comparisons(project)) == 1
    assert newest_children(project) == ALL_REUSED
    assert curves(project) == curves(clone)  # as they were written while training


def test_a_repro_in_another_place_adds_nothing(project: Path) -> None:
    before = state(project)
    moved = project.rename(project.parent / "moved")
    try:
        assert ran(run(moved, "dvc", "repro")) == {"publish"}
        assert state(moved) == before
        assert comparisons(moved)
    finally:
        moved.rename(project)
    _artifact_repos_cache.clear()
    run(project, "tandem", "publish")
    assert state(project) == before
    assert comparisons(project)


def test_a_parameter_of_prepare_that_changes_no_data_makes_no_other_comparison(project: Path) -> None:
    before = state(project)
    assert ran(run(project, "dvc", "exp", "run", "--set-param=prepare.max_symbols=59")) == {"prepare", "publish"}
    assert state(project) == before
    run(project, "git", "checkout", "--quiet", "--", ".")


def test_an_experiment_in_a_temporary_copy_is_in_the_store_of_the_project(project: Path) -> None:
    before = comparisons(project)
    run(project, "dvc", "exp", "run", "--temp", "--set-param=tandem.updates=35")
    assert len(comparisons(project) - before) == 1
    assert newest_children(project) == TANDEM_TRAINED
    assert_no_store_elsewhere(project)


def test_experiments_of_a_queue_that_run_at_once_are_each_there_once(project: Path) -> None:
    before = comparisons(project)
    run(project, "dvc", "exp", "run", "--queue", "--set-param=tandem.updates=40,50")
    run(project, "dvc", "exp", "run", "--run-all", "--jobs", "2")
    assert len(comparisons(project) - before) == 2
    assert newest_children(project) == TANDEM_TRAINED
    assert_no_store_elsewhere(project)


def test_what_a_server_that_was_away_missed_is_added_by_the_next_repro(project: Path) -> None:
    before = comparisons(project)
    away = f"MLFLOW_TRACKING_URI=http://127.0.0.1:{free_port()}"
    command = f"{away} dvc exp run --set-param=tandem.updates=60 2>&1"
    output = run(project, "sh", "-c", command)
    assert ran(output) == {"tandem", "rerank", "evaluate", "publish"}
    assert output.count("warning: MLflow could not open the store") == 2  # one by each stage that asked it
    assert comparisons(project) == before
    assert ran(run(project, "dvc", "repro")) == {"publish"}
    assert len(comparisons(project) - before) == 1
    assert newest_children(project) == ALL_REUSED
    after = state(project)
    run(project, "dvc", "repro")
    assert state(project) == after


def assert_no_store_elsewhere(project: Path) -> None:
    found = {path for name in ("mlflow.db", "mlartifacts", "mlruns") for path in project.rglob(name)}
    assert found == {project / "mlflow.db", project / "mlartifacts"}
