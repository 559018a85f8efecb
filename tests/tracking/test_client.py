"""The way to a store, and what can go wrong on it."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from pipeline.config.params import Params
from pipeline.tracking.client import runs_page, tracking_uri
from pipeline.tracking.runs import Comparison
from pipeline.tracking.sqlite import sqlite_file
from tests.conftest import PROJECT, Call
from tests.support.servers import free_port
from tests.support.stored import DIGEST, HERE, artifacts, client, points, runs


def test_in_a_temporary_copy_runs_and_artifacts_go_to_the_original_project(
    project: Path, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = project / ".dvc" / "tmp" / "exps" / "copy"
    copy.mkdir(parents=True)
    (copy / "predictions.tsv").write_text("a\tb\n", encoding="utf-8")
    monkeypatch.chdir(copy)
    monkeypatch.setenv("DVC_ROOT", str(project))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    with Comparison(params, DIGEST, HERE) as comparison:
        comparison.log_artifact(copy / "predictions.tsv")
    assert len(runs(project, "comparison")) == 1
    assert list((project / "mlartifacts").rglob("predictions.tsv"))
    assert [path.name for path in copy.iterdir()] == ["predictions.tsv"]


def test_a_project_that_was_moved_continues_its_comparison_in_its_new_place(
    project: Path, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "one.txt").write_text("one", encoding="utf-8")
    with Comparison(params, DIGEST, HERE) as comparison:
        comparison.log_artifact(project / "one.txt")
    moved = project.rename(project.parent / "its new place")
    monkeypatch.chdir(moved)
    with Comparison(params, DIGEST, HERE) as comparison:
        comparison.start("tandem", 0).log_artifact(moved / "one.txt")
    (parent,), (child,) = runs(moved, "comparison"), runs(moved, "run")
    assert artifacts(moved, parent) == artifacts(moved, child) == {"one.txt"}
    assert len(list((moved / "mlartifacts").rglob("one.txt"))) == 2
    assert not project.exists()


def assert_tracks_nothing_and_warns_once(params: Params, capsys: pytest.CaptureFixture[str]) -> str:
    with Comparison(params, DIGEST, HERE) as comparison:
        (warning,) = capsys.readouterr().err.splitlines()
        child = comparison.start("tandem", 0)
        child.log_metrics({"loss_paired": 2.0}, step=10)
        child.log_artifact(Path("history.csv"))
        child.finish()
        assert comparison.connection.parents() == comparison.connection.children("any") == []
        comparison.connection.delete_parent("any")
        comparison.set_tags({"any": "tag"})
        assert not comparison.connection.is_open
    assert capsys.readouterr().err == ""
    return warning


def test_a_server_that_is_away_costs_one_warning_without_its_password(
    project: Path, params: Params, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://user:secret@127.0.0.1:{free_port()}")
    warning = assert_tracks_nothing_and_warns_once(params, capsys)
    assert warning.startswith("warning: MLflow could not open the store (")
    assert "the next `dvc repro`, or `tandem publish`, adds" in warning
    assert "secret" not in warning


def test_a_store_that_is_no_database_costs_one_warning_and_runs_go_to_a_new_one(
    cold_project: Path, params: Params, capsys: pytest.CaptureFixture[str]
) -> None:
    (cold_project / "mlflow.db").write_bytes(b"rubbish" * 1000)
    with Comparison(params, DIGEST, HERE) as comparison:
        comparison.start("tandem", 0).finish()
    (warning,) = capsys.readouterr().err.splitlines()
    assert "file is not a database" in warning
    assert "`tandem publish` fills it from models/ and reports/" in warning
    assert len(runs(cold_project, "run")) == 1
    assert (cold_project / "mlflow.db.unusable-1").read_bytes() == b"rubbish" * 1000


def test_a_store_that_is_damaged_between_two_uses_of_a_process_is_replaced_for_it(
    project: Path, params: Params, capsys: pytest.CaptureFixture[str]
) -> None:
    Comparison(params, DIGEST, HERE)
    (project / "mlflow.db").write_bytes(b"rubbish" * 1000)
    with Comparison(params, DIGEST, HERE) as comparison:
        comparison.start("tandem", 0).finish()
    assert comparison.connection.is_open
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert len(runs(project, "run")) == 1


def test_a_folder_that_cannot_be_written_to_costs_one_warning(
    cold_project: Path, params: Params, capsys: pytest.CaptureFixture[str]
) -> None:
    (cold_project / ".dvc").write_text("a file where a folder should be", encoding="utf-8")
    assert_tracks_nothing_and_warns_once(params, capsys)


def test_a_deleted_experiment_costs_one_warning_that_says_what_to_do(
    project: Path, params: Params, capsys: pytest.CaptureFixture[str]
) -> None:
    Comparison(params, DIGEST, HERE)
    client(project).delete_experiment("1")
    assert "restore it, or change tracking.experiment" in assert_tracks_nothing_and_warns_once(params, capsys)


def test_an_artifact_that_is_missing_does_not_stop_a_stage(
    project: Path, params: Params, capsys: pytest.CaptureFixture[str]
) -> None:
    with Comparison(params, DIGEST, HERE) as comparison:
        comparison.log_artifact(project / "missing.png")
        comparison.log_metrics({"loss_paired": 1.0})
    assert capsys.readouterr().err.startswith("warning: MLflow could not store missing.png (")


COLUMNS = {"tags.`tandem.seed`": 100}


def test_the_page_of_the_runs_is_that_of_the_experiment_with_columns(project: Path, params: Params) -> None:
    assert runs_page(project, "tandem", COLUMNS) == "/#/experiments?workflowType=machine_learning"
    Comparison(params, DIGEST, HERE)
    experiment = client(project).get_experiment_by_name("tandem")
    assert experiment is not None
    for columns in (COLUMNS, {"metrics.`loss`": 90}):
        page = runs_page(project, "tandem", columns)
        place, _, view = page.rpartition("&viewStateShareKey=")
        assert place == f"/#/experiments/{experiment.experiment_id}/runs?workflowType=machine_learning"
        found = client(project).get_experiment_by_name("tandem")
        assert found is not None
        shared = json.loads(found.tags[f"mlflow.sharedViewState.{view}"])
        assert shared == {"selectedColumns": [*columns], "columnOrder": [*columns], "columnWidths": columns}


def test_the_store_is_mlflow_db_in_the_project_or_the_one_named(
    cold_project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert tracking_uri(cold_project) == f"sqlite+pysqlite:///{cold_project}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    assert tracking_uri(cold_project) == "http://127.0.0.1:5000"


@pytest.mark.parametrize(
    ("address", "file"),
    [
        ("sqlite:///a%20folder/x.db", "{root}/a folder/x.db"),
        ("sqlite:///50%off/x.db", "{root}/50%off/x.db"),
        ("sqlite+pysqlite:///x.db?timeout=5", "{root}/x.db"),
        ("sqlite:////other/q%3Fx%23y.db", "/other/q?x#y.db"),
        ("sqlite:///a#b.db", "{root}/a#b.db"),
    ],
)
def test_an_address_of_ones_own_names_the_file_that_sqlalchemy_finds_in_it(
    address: str, file: str, cold_project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    uri = tracking_uri(cold_project)
    assert make_url(uri).database == str(sqlite_file(uri)) == file.format(root=cold_project)
    assert make_url(uri).query == make_url(address).query
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)  # as MLflow leaves it to processes that it starts
    assert tracking_uri(cold_project) == uri


@pytest.mark.parametrize(
    "address", ["sqlite://", "sqlite:///:memory:", "sqlite:x.db", "sqlite://x.db", "postgresql://x/y"]
)
def test_an_address_without_a_file_is_passed_to_mlflow_as_it_is(
    address: str, cold_project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    assert tracking_uri(cold_project) == address


def test_of_a_tracking_server_the_address_is_printed_without_its_password(
    call: Call, cold_project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(PROJECT / "params.yaml", cold_project)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://user:secret@mlflow.example")
    assert call("ui") == (0, "the tracking server has its own UI: https://mlflow.example\n", "")


@pytest.mark.slow
def test_four_stages_that_start_at_once_on_a_cold_store_double_and_lose_nothing(
    cold_project: Path, params: Params
) -> None:
    program = (
        "import sys; from pathlib import Path; from pipeline.config.params import load_params;"
        "from pipeline.tracking.runs import Comparison; from tests.support.stored import HERE;"
        "params = load_params(Path(sys.argv[1])); comparison = Comparison(params, 'digest', HERE);"
        "child = comparison.start('tandem', int(sys.argv[2]));"
        "[child.log_metrics({'loss_paired': 1.0 / step}, step) for step in range(1, 51)]; child.finish()"
    )
    command = [sys.executable, "-c", program, str(PROJECT / "params.yaml")]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    stages = [subprocess.Popen([*command, str(seed)], env=environment, stderr=subprocess.PIPE) for seed in range(4)]
    assert [stage.communicate()[1] for stage in stages] == [b""] * 4
    (parent,) = runs(cold_project, "comparison")
    children = runs(cold_project, "run")
    assert sorted(run.info.run_name for run in children) == [f"tandem-seed{seed}" for seed in range(4)]
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parent.info.run_id}
    assert all(len(points(cold_project, run, "loss_paired")) == 50 for run in children)


@pytest.mark.slow
def test_a_locked_database_costs_one_warning_and_one_wait(
    project: Path, params: Params, capfd: pytest.CaptureFixture[str]
) -> None:
    comparison = Comparison(params, DIGEST, HERE)
    database = sqlite3.connect(project / "mlflow.db")
    database.execute("BEGIN EXCLUSIVE")
    for step in range(100):
        comparison.log_metrics({"loss_paired": 1.0}, step)
    comparison.finish()
    database.close()
    (warning,) = capfd.readouterr().err.splitlines()
    assert "database is locked" in warning


def test_a_database_that_is_locked_for_a_moment_costs_nothing(
    project: Path, params: Params, capfd: pytest.CaptureFixture[str]
) -> None:
    comparison = Comparison(params, DIGEST, HERE)
    program = (
        "import sqlite3, sys, time; database = sqlite3.connect(sys.argv[1]);"
        "database.execute('BEGIN EXCLUSIVE'); print('locked', flush=True); time.sleep(1); database.close()"
    )
    command = [sys.executable, "-c", program, str(project / "mlflow.db")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"locked\n"
        comparison.log_metrics({"loss_paired": 1.0}, step=1)
    assert comparison.connection.is_open
    assert points(project, runs(project, "comparison")[0], "loss_paired") == [(1, 1.0)]
    assert capfd.readouterr().err == ""
