import json
import math
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run, ViewType

from pipeline.config import Params, Tracking, load_params
from pipeline.connection import ENVIRONMENT, runs_page, tracking_uri, ui_command
from pipeline.tracking import Comparison, Tracker, comparison_key

REPOSITORY = Path(__file__).parents[1]
DIGEST = "0123456789abcdef"
PARAMETERS = {"tandem.updates": 20, "tandem.schedule": ["paired", "autoencode"], "tandem.start": "scratch"}


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with tables and nothing in them, because MLflow takes a second or more to make one."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}")
    return path


@pytest.fixture
def cold_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's folder, its name with a space, that nothing was tracked in so far."""
    for name in [name for name in os.environ if name.startswith(("MLFLOW_", "DVC_"))]:
        monkeypatch.delenv(name)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    root = tmp_path / "my project"
    root.mkdir()
    monkeypatch.chdir(root)
    return root


@pytest.fixture
def project(cold_project: Path, empty_store: Path) -> Path:
    shutil.copy(empty_store, cold_project)
    return cold_project


@pytest.fixture
def params() -> Params:
    return load_params(REPOSITORY / "params.yaml")


@pytest.fixture
def run_folder(project: Path) -> Path:
    folder = project / "models" / "tandem" / "seed0"
    folder.mkdir(parents=True)
    (folder / "history.csv").write_text(
        "update,seconds,loss_paired,dev_word_accuracy\n10,1.5,2.0,\n20,3.0,1.0,0.25\n", encoding="utf-8"
    )
    return folder


def client(root: Path) -> MlflowClient:
    return MlflowClient(tracking_uri(root))


def runs(root: Path, kind: str, deleted: bool = False) -> list[Run]:
    store = client(root)
    view = ViewType.DELETED_ONLY if deleted else ViewType.ACTIVE_ONLY
    experiments = [experiment.experiment_id for experiment in store.search_experiments()]
    return list(store.search_runs(experiments, f"tags.`tandem.kind` = '{kind}'", view))


def points(root: Path, run: Run, name: str) -> list[tuple[int, float]]:
    return [(point.step, point.value) for point in client(root).get_metric_history(run.info.run_id, name)]


def train(params: Params, strategy: str = "tandem", seed: int = 0) -> None:
    with Tracker.start(params, DIGEST, strategy, seed, PARAMETERS) as tracker:
        tracker.log_metrics({"loss_paired": 2.0}, step=10)


def test_key_is_the_same_for_the_same_inputs_and_ignores_where_runs_are_tracked(params: Params) -> None:
    key = comparison_key(params, DIGEST)
    assert len(key) == 16
    assert int(key, 16) >= 0
    assert comparison_key(replace(params, tracking=Tracking(experiment="other", model="another")), DIGEST) == key


def test_key_changes_with_a_parameter_and_with_the_data(params: Params) -> None:
    more = replace(params, tandem=replace(params.tandem, updates=params.tandem.updates + 1))
    assert len({comparison_key(params, DIGEST), comparison_key(more, DIGEST), comparison_key(params, "other")}) == 3


def test_key_changes_with_deciding_code_and_not_with_code_that_only_shows(tmp_path: Path) -> None:
    package = tmp_path / "pipeline"
    shutil.copytree(REPOSITORY / "pipeline", package, ignore=shutil.ignore_patterns("__pycache__"))
    program = (
        "from pathlib import Path; from pipeline.config import load_params;"
        "from pipeline.tracking import comparison_key;"
        f"print(comparison_key(load_params(Path({str(REPOSITORY / 'params.yaml')!r})), 'digest'))"
    )

    def key_after_appending_to(name: str) -> str:
        with (package / name).open("a") as module:
            module.write("# changed\n")
        return subprocess.run(
            [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, check=True
        ).stdout.decode()

    before = key_after_appending_to("tracking.py")
    assert key_after_appending_to("connection.py") == before
    assert key_after_appending_to("alphabet.py") != before


def test_a_comparison_is_one_parent_with_a_child_for_each_strategy_and_seed(project: Path, params: Params) -> None:
    for strategy, seed in [("supervised", 0), ("tandem", 0), ("tandem", 1)]:
        train(params, strategy, seed)
    (parent,) = runs(project, "comparison")
    key = comparison_key(params, DIGEST)
    assert parent.data.tags["tandem.comparison"] == key
    assert parent.info.run_name == f"tandem-{key[:6]}"
    assert parent.info.status == "RUNNING"
    assert json.loads(parent.data.params["tandem.schedule"]) == list(params.tandem.schedule)
    children = runs(project, "run")
    assert {run.info.run_name for run in children} == {"supervised-seed0", "tandem-seed0", "tandem-seed1"}
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parent.info.run_id}
    assert {run.info.status for run in children} == {"FINISHED"}


def test_a_run_holds_its_parameters_curves_artifacts_and_tags(
    project: Path, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_STAGE", "tandem")
    monkeypatch.setenv("DVC_EXP_NAME", "loud-gull")
    (project / "predictions.tsv").write_text("a\tb\n", encoding="utf-8")
    with Tracker.start(params, DIGEST, "tandem", 0, PARAMETERS) as tracker:
        tracker.log_metrics({"loss_paired": 2.0, "gradient_norm": 0.5}, step=10)
        tracker.log_metrics({"loss_paired": 1.0}, step=20)
        tracker.log_artifact(project / "predictions.tsv", "test")
    (run,) = runs(project, "run")
    assert run.data.params == {
        "tandem.updates": "20",
        "tandem.schedule": '["paired", "autoencode"]',
        "tandem.start": "scratch",
    }
    assert points(project, run, "loss_paired") == [(10, 2.0), (20, 1.0)]
    assert [file.path for file in client(project).list_artifacts(run.info.run_id, "test")] == ["test/predictions.tsv"]
    assert list((project / "mlartifacts").rglob("predictions.tsv"))
    tags = run.data.tags
    assert (tags["tandem.strategy"], tags["tandem.seed"], tags["tandem.data"]) == ("tandem", "0", "cmudict-01234567")
    assert (tags["DVC_STAGE"], tags["DVC_EXP_NAME"]) == ("tandem", "loud-gull")
    (parent,) = runs(project, "comparison")
    assert "DVC_STAGE" not in parent.data.tags


def test_git_tags_name_the_commit_and_whether_the_code_was_changed(project: Path, params: Params) -> None:
    def git(*arguments: str) -> str:
        command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    train(params, seed=0)
    git("init", "--quiet")
    (project / "code.py").write_text("x = 1\n", encoding="utf-8")
    (project / "dvc.lock").write_text("schema: '2.0'\n", encoding="utf-8")
    git("add", "code.py", "dvc.lock")
    git("commit", "--quiet", "--message", "first")
    (project / "dvc.lock").write_text("schema: '2.1'\n", encoding="utf-8")
    train(params, seed=1)
    (project / "code.py").write_text("x = 2\n", encoding="utf-8")
    train(params, seed=2)
    tags = {run.data.tags["tandem.seed"]: run.data.tags for run in runs(project, "run")}
    assert "mlflow.source.git.commit" not in tags["0"]
    assert "tandem.git_clean" not in tags["0"]
    assert tags["1"]["mlflow.source.git.commit"] == git("rev-parse", "HEAD")
    assert tags["1"]["tandem.git_clean"] == "true"
    assert tags["2"]["tandem.git_clean"] == "false"


def test_in_a_temporary_copy_runs_and_artifacts_go_to_the_original_project(
    project: Path, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = project / ".dvc" / "tmp" / "exps" / "copy"
    copy.mkdir(parents=True)
    (copy / "predictions.tsv").write_text("a\tb\n", encoding="utf-8")
    monkeypatch.chdir(copy)
    monkeypatch.setenv("DVC_ROOT", str(project))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    with Tracker.start(params, DIGEST, "tandem", 0, PARAMETERS) as tracker:
        tracker.log_artifact(copy / "predictions.tsv")
    assert len(runs(project, "run")) == 1
    assert list((project / "mlartifacts").rglob("predictions.tsv"))
    assert [path.name for path in copy.iterdir()] == ["predictions.tsv"]


def test_a_run_id_in_the_environment_is_left_alone(
    project: Path, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(params, seed=0)
    (other,) = runs(project, "run")
    monkeypatch.setenv("MLFLOW_RUN_ID", other.info.run_id)
    train(params, seed=1)
    assert len(runs(project, "run")) == 2
    assert points(project, other, "loss_paired") == [(10, 2.0)]


@pytest.mark.parametrize("left_as", ["RUNNING", "FAILED", "FINISHED"])
def test_a_stage_run_again_replaces_its_run(project: Path, params: Params, left_as: str) -> None:
    first = Tracker.start(params, DIGEST, "tandem", 0, PARAMETERS)
    if left_as != "RUNNING":
        first.finish(left_as)  # type: ignore[arg-type]
    train(params)
    (run,) = runs(project, "run")
    assert run.info.run_id != first.run_id
    assert [gone.info.run_id for gone in runs(project, "run", deleted=True)] == [first.run_id]


def test_a_scheduled_run_is_continued_with_its_curves(project: Path, params: Params) -> None:
    with Tracker.start(params, DIGEST, "two_stage", 0, {"pretrain.updates": 20}) as pretraining:
        pretraining.log_metrics({"pretrain_loss_autoencode": 3.0}, step=20)
        pretraining.finish("SCHEDULED")
    with Tracker.start(params, DIGEST, "two_stage", 0, {"two_stage.updates": 20}, continuing=True) as tracker:
        tracker.log_metrics({"loss_paired": 2.0}, step=20)
    assert not pretraining.continued
    assert tracker.continued
    (run,) = runs(project, "run")
    assert run.info.status == "FINISHED"
    assert set(run.data.metrics) == {"pretrain_loss_autoencode", "loss_paired"}
    assert set(run.data.params) == {"pretrain.updates", "two_stage.updates"}


def test_a_run_killed_while_continued_is_made_anew(project: Path, params: Params) -> None:
    Tracker.start(params, DIGEST, "two_stage", 0, {}).finish("SCHEDULED")
    killed = Tracker.start(params, DIGEST, "two_stage", 0, {}, continuing=True)
    again = Tracker.start(params, DIGEST, "two_stage", 0, {}, continuing=True)
    assert killed.continued
    assert not again.continued
    assert [run.info.run_id for run in runs(project, "run")] == [again.run_id]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ValueError("diverged"), "FAILED"),
        (KeyboardInterrupt(), "KILLED"),
        (SystemExit(143), "KILLED"),
        (SystemExit(2), "FAILED"),
        (SystemExit(0), "FINISHED"),
    ],
)
def test_how_a_stage_ends_is_the_status_of_its_run(
    project: Path, params: Params, error: BaseException, status: str
) -> None:
    with pytest.raises(type(error)), Tracker.start(params, DIGEST, "tandem", 0, PARAMETERS):
        raise error
    assert [run.info.status for run in runs(project, "run")] == [status]


def test_values_that_are_not_finite_are_left_out(
    project: Path, params: Params, capsys: pytest.CaptureFixture[str]
) -> None:
    with Tracker.start(params, DIGEST, "tandem", 0, PARAMETERS) as tracker:
        tracker.log_metrics({"loss_paired": math.nan, "gradient_norm": math.inf, "learning_rate": 0.1}, step=1)
    (run,) = runs(project, "run")
    assert run.data.metrics == {"learning_rate": 0.1}
    assert capsys.readouterr().err == ""


def test_a_long_history_is_published_whole_with_its_steps_and_times(project: Path, params: Params) -> None:
    rows = 1500
    history = pd.DataFrame(
        {
            "update": range(10, 10 * rows + 10, 10),
            "seconds": [0.5 * row for row in range(rows)],
            "loss_paired": [1.0 / (row + 1) for row in range(rows)],
            "dev_word_accuracy": [0.5 if row % 500 == 0 else math.nan for row in range(rows)],
            "task": "paired",
        }
    )
    with Tracker.start(params, DIGEST, "tandem", 0, PARAMETERS) as tracker:
        tracker.log_history(history, prefix="pretrain_")
    (run,) = runs(project, "run")
    assert set(run.data.metrics) == {"pretrain_loss_paired", "pretrain_dev_word_accuracy"}
    assert points(project, run, "pretrain_dev_word_accuracy") == [(10, 0.5), (5010, 0.5), (10010, 0.5)]
    losses = client(project).get_metric_history(run.info.run_id, "pretrain_loss_paired")
    assert [point.step for point in losses] == history["update"].tolist()
    assert losses[-1].timestamp - losses[0].timestamp == 749_500


def test_evaluate_finds_complete_children_and_publishes_the_missing_ones(
    project: Path, params: Params, run_folder: Path
) -> None:
    train(params, "supervised")
    Tracker.start(params, DIGEST, "two_stage", 0, {})  # killed
    with Comparison.open(params, DIGEST) as comparison:
        supervised = comparison.child("supervised", 0)
        assert supervised is not None
        supervised.log_metrics({"test_word_accuracy": 0.5})
        assert comparison.child("two_stage", 0) is None
        assert comparison.child("tandem", 0) is None
        comparison.publish_child("supervised", 0, run_folder, {}, reused=True)
        comparison.publish_child("two_stage", 0, run_folder, {}, reused=False, pretraining=run_folder)
        published = comparison.publish_child("tandem", 0, run_folder, PARAMETERS, reused=True)
        published.log_metrics({"test_word_accuracy": 0.75})
        comparison.log_metrics({"tandem_vs_supervised": 0.25})
        comparison.log_artifact(run_folder, "tandem")
        comparison.set_description("**Tandem wins.**")
        assert [run.info.status for run in runs(project, "comparison")] == ["RUNNING"]
    (parent,) = runs(project, "comparison")
    assert parent.info.status == "FINISHED"
    assert parent.data.tags["mlflow.note.content"] == "**Tandem wins.**"
    children = {run.data.tags["tandem.strategy"]: run for run in runs(project, "run")}
    assert set(children) == {"supervised", "two_stage", "tandem"}
    assert {run.info.status for run in children.values()} == {"FINISHED"}
    assert [strategy for strategy, run in children.items() if "tandem.reused" in run.data.tags] == ["tandem"]
    assert points(project, children["tandem"], "loss_paired") == [(10, 2.0), (20, 1.0)]
    assert points(project, children["tandem"], "dev_word_accuracy") == [(20, 0.25)]
    assert points(project, children["supervised"], "test_word_accuracy") == [(0, 0.5)]
    assert "pretrain_loss_paired" in children["two_stage"].data.metrics
    assert children["tandem"].info.end_time - children["tandem"].info.start_time >= 3000


def test_opening_a_comparison_again_adds_nothing(project: Path, params: Params, run_folder: Path) -> None:
    for _ in range(2):
        with Comparison.open(params, DIGEST) as comparison:
            comparison.publish_child("tandem", 0, run_folder, PARAMETERS, reused=True)
    assert len(runs(project, "comparison")) == len(runs(project, "run")) == 1
    assert runs(project, "run", deleted=True) == []


def assert_tracks_nothing_and_warns_once(params: Params, folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    with Tracker.start(params, DIGEST, "tandem", 0, PARAMETERS, continuing=True) as tracker:
        tracker.log_metrics({"loss_paired": 2.0}, step=10)
        tracker.log_artifact(folder / "history.csv")
    (warning,) = capsys.readouterr().err.splitlines()
    with Comparison.open(params, DIGEST) as comparison:
        assert comparison.child("tandem", 0) is None
        comparison.publish_child("tandem", 0, folder, {}, reused=True).log_metrics({"loss_paired": 1.0})
        comparison.set_description("nothing")
    assert len(capsys.readouterr().err.splitlines()) == 1
    return warning


def test_a_server_that_is_away_costs_one_warning_without_its_password(
    project: Path, params: Params, run_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://user:secret@127.0.0.1:{free_port()}")
    warning = assert_tracks_nothing_and_warns_once(params, run_folder, capsys)
    assert warning.startswith("warning: MLflow could not open the comparison (")
    assert "secret" not in warning


def test_a_store_that_is_no_database_costs_one_warning(
    cold_project: Path, params: Params, capsys: pytest.CaptureFixture[str]
) -> None:
    (cold_project / "history.csv").write_text("update\n1\n", encoding="utf-8")
    (cold_project / "mlflow.db").write_bytes(b"rubbish" * 1000)
    warning = assert_tracks_nothing_and_warns_once(params, cold_project, capsys)
    assert "file is not a database" in warning


def test_a_folder_that_cannot_be_written_to_costs_one_warning(
    cold_project: Path, params: Params, capsys: pytest.CaptureFixture[str]
) -> None:
    (cold_project / "history.csv").write_text("update\n1\n", encoding="utf-8")
    (cold_project / ".dvc").write_text("a file where a folder should be", encoding="utf-8")
    assert_tracks_nothing_and_warns_once(params, cold_project, capsys)


def test_a_deleted_experiment_costs_one_warning_that_says_what_to_do(
    project: Path, params: Params, run_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(params)
    client(project).delete_experiment("1")
    assert "restore it, or change tracking.experiment" in assert_tracks_nothing_and_warns_once(
        params, run_folder, capsys
    )


def test_an_artifact_that_is_missing_does_not_stop_a_stage(
    project: Path, params: Params, capsys: pytest.CaptureFixture[str]
) -> None:
    with Tracker.start(params, DIGEST, "tandem", 0, PARAMETERS) as tracker:
        tracker.log_artifact(project / "missing.png")
        tracker.log_metrics({"loss_paired": 1.0})
    assert capsys.readouterr().err.startswith("warning: MLflow could not store missing.png (")


def test_the_page_of_the_runs_is_that_of_the_experiment(project: Path, params: Params) -> None:
    assert runs_page(project, "tandem") == "/#/experiments?workflowType=machine_learning"
    Comparison.open(params, DIGEST)
    experiment = client(project).get_experiment_by_name("tandem")
    assert experiment is not None
    assert (
        runs_page(project, "tandem") == f"/#/experiments/{experiment.experiment_id}/runs?workflowType=machine_learning"
    )


def test_the_ui_command_names_the_store_in_use(cold_project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ui_command(cold_project) == (
        f"mlflow ui --backend-store-uri 'sqlite:///{cold_project}/mlflow.db' --host 127.0.0.1 --workers 1"
    )
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    assert ui_command(cold_project) == "http://127.0.0.1:5000"


def test_importing_tracking_imports_neither_mlflow_nor_tensorflow() -> None:
    program = "import sys, pipeline.tracking; sys.exit(bool({'mlflow', 'tensorflow'} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, check=True)


@pytest.mark.slow
def test_four_stages_that_start_at_once_on_a_cold_store_double_and_lose_nothing(
    cold_project: Path, params: Params
) -> None:
    program = (
        "import sys; from pathlib import Path; from pipeline.config import load_params;"
        "from pipeline.tracking import Tracker; params = load_params(Path(sys.argv[1]));"
        "tracker = Tracker.start(params, 'digest', 'tandem', int(sys.argv[2]), {'tandem.updates': 5});"
        "[tracker.log_metrics({'loss_paired': 1.0 / step}, step) for step in range(1, 6)]; tracker.finish()"
    )
    command = [sys.executable, "-c", program, str(REPOSITORY / "params.yaml")]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    stages = [subprocess.Popen([*command, str(seed)], env=environment, stderr=subprocess.PIPE) for seed in range(4)]
    assert [stage.communicate()[1] for stage in stages] == [b""] * 4
    (parent,) = runs(cold_project, "comparison")
    children = runs(cold_project, "run")
    assert sorted(run.info.run_name for run in children) == [f"tandem-seed{seed}" for seed in range(4)]
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parent.info.run_id}
    assert all(len(points(cold_project, run, "loss_paired")) == 5 for run in children)


@pytest.mark.slow
def test_a_locked_database_costs_one_warning_and_one_wait(
    project: Path, params: Params, capfd: pytest.CaptureFixture[str]
) -> None:
    tracker = Tracker.start(params, DIGEST, "tandem", 0, PARAMETERS)
    database = sqlite3.connect(project / "mlflow.db")
    database.execute("BEGIN EXCLUSIVE")
    for step in range(100):
        tracker.log_metrics({"loss_paired": 1.0}, step)
    tracker.finish()
    database.close()
    (warning,) = capfd.readouterr().err.splitlines()
    assert "database is locked" in warning


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture
def server(project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[subprocess.Popen[bytes]]:
    folder = project / "server"
    folder.mkdir()
    shutil.copy(project / "mlflow.db", folder)
    address = f"http://127.0.0.1:{(port := free_port())}"
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", "sqlite:///mlflow.db", "--artifacts-destination", str(folder / "artifacts")]
    log = (folder / "log").open("wb")
    process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, start_new_session=True)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    try:
        wait_until_healthy(address)
        yield process
    finally:
        kill(process)
        log.close()


def wait_until_healthy(address: str) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            urllib.request.urlopen(f"{address}/health", timeout=1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def kill(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)  # the session that was started for it
        process.wait()


@pytest.mark.slow
def test_training_goes_on_when_the_server_is_killed_in_the_middle(
    server: subprocess.Popen[bytes], project: Path, params: Params, run_folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with Tracker.start(params, DIGEST, "tandem", 0, PARAMETERS) as tracker:
        tracker.log_metrics({"loss_paired": 2.0, "gradient_norm": math.nan}, step=10)
        tracker.log_artifact(run_folder / "history.csv")
        store = client(project)
        assert store.get_run(tracker.run_id).data.metrics == {"loss_paired": 2.0}
        assert [file.path for file in store.list_artifacts(tracker.run_id)] == ["history.csv"]
        kill(server)
        for step in range(100):
            tracker.log_metrics({"loss_paired": 1.0}, step)
    printed = capfd.readouterr()
    assert printed.out == ""
    (warning,) = printed.err.splitlines()
    assert warning.startswith("warning: MLflow could not log metrics (")
    assert not (project / "mlartifacts").exists()
