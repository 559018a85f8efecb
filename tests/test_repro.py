"""Whatever happens to the store or the project, and however DVC runs the stages, MLflow has every comparison once."""

import shutil
from pathlib import Path

import pytest

from tests.support.clones import ran, run
from tests.support.servers import free_port
from tests.support.stored import (
    STRATEGIES,
    TANDEM_TRAINED,
    assert_no_store_elsewhere,
    comparisons,
    newest_children,
    newest_comparison,
    points,
    runs,
    state,
)

pytestmark = pytest.mark.slow


def curves(folder: Path) -> dict[str, dict[str, list[tuple[int, float]]]]:
    """All metrics of the newest comparison's runs, by their names."""
    parent = newest_comparison(folder).info.run_id
    own = [run for run in runs(folder) if parent in (run.info.run_id, run.data.tags.get("mlflow.parentRunId"))]
    return {run.info.run_name: {name: points(folder, run, name) for name in run.data.metrics} for run in own}


ALL_REUSED = {(name, "true"): 2 for name in STRATEGIES}


def test_a_store_that_was_deleted_is_filled_by_a_repro_that_trains_nothing(clone: Path, original: Path) -> None:
    (clone / "mlflow.db").unlink()
    shutil.rmtree(clone / "mlartifacts")
    assert ran(run(clone, "dvc", "repro")) == {"publish"}
    assert len(comparisons(clone)) == 1
    assert newest_children(clone) == ALL_REUSED
    assert curves(clone) == curves(original)  # as they were written while training


def test_a_repro_in_another_place_adds_nothing(clone: Path) -> None:
    before = state(clone)
    moved = clone.rename(clone.parent / "moved")
    try:
        assert ran(run(moved, "dvc", "repro")) == {"publish"}
        assert state(moved) == before
        assert comparisons(moved)
    finally:
        moved.rename(clone)
    run(clone, "tandem", "publish")
    assert state(clone) == before
    assert comparisons(clone)


def test_a_parameter_of_prepare_that_changes_no_data_makes_no_other_comparison(clone: Path) -> None:
    before = state(clone)
    output = run(clone, "dvc", "exp", "run", "--set-param=prepare.max_symbols=59")
    assert ran(output) == {"prepare", "report", "publish"}  # the report shows sizes with these parameters
    assert state(clone) == before
    run(clone, "git", "checkout", "--quiet", "--", ".")


def test_experiments_of_a_queue_that_run_at_once_are_each_there_once(clone: Path) -> None:
    before = comparisons(clone)
    run(clone, "dvc", "exp", "run", "--queue", "--set-param=strategies.tandem.steps=40,50")
    run(clone, "dvc", "exp", "run", "--run-all", "--jobs", "2")
    assert len(comparisons(clone) - before) == 2
    assert newest_children(clone) == TANDEM_TRAINED
    assert_no_store_elsewhere(clone)


def test_what_a_server_that_was_away_missed_is_added_by_the_next_repro(clone: Path) -> None:
    before = comparisons(clone)
    away = f"MLFLOW_TRACKING_URI=http://127.0.0.1:{free_port()}"
    command = f"{away} dvc exp run --set-param=strategies.tandem.steps=60 2>&1"
    output = run(clone, "sh", "-c", command)
    assert ran(output) == {"tandem", "rerank@tandem", "evaluate", "report", "publish"}
    assert output.count("warning: MLflow could not open the store") == 2  # one by each stage that asked it
    assert comparisons(clone) == before
    assert ran(run(clone, "dvc", "repro")) == {"publish"}
    assert len(comparisons(clone) - before) == 1
    assert newest_children(clone) == ALL_REUSED
    after = state(clone)
    run(clone, "dvc", "repro")
    assert state(clone) == after
