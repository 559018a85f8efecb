"""Runs as the stages write them while they train."""

import json
import math
from pathlib import Path
from typing import Literal

import mlflow
import pytest

from pipeline.config.params import Params
from pipeline.keys import comparison_key
from pipeline.runs.folders import Row
from pipeline.tracking.runs import Child, Comparison, DataSet
from pipeline.tracking.tags import training_digest
from tests.support.stored import DIGEST, HERE, PARAMETERS, artifacts, client, data_sets, points, runs

ROWS: list[Row] = [
    {"step": 10, "seconds": 1.5, "loss_paired": 2.0, "cpu_percent": 99.0},
    {"step": 20, "seconds": 3.0, "loss_paired": 1.0, "cpu_percent": 98.0, "dev_word_accuracy": 0.25},
]


def start(params: Params, strategy: str = "tandem", seed: int = 0, continuing: bool = False) -> Child:
    """The run of a training, as its stage opens it."""
    return Comparison.open(params, DIGEST, HERE).start(strategy, seed, PARAMETERS, HERE, continuing)


def train(params: Params, strategy: str = "tandem", seed: int = 0) -> None:
    with start(params, strategy, seed) as child:
        child.log_metrics({"loss_paired": 2.0}, step=10)


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


def test_a_run_holds_its_parameters_curves_artifacts_and_tags(project: Path, params: Params) -> None:
    (project / "predictions.tsv").write_text("a\tb\n", encoding="utf-8")
    with start(params) as child:
        child.log_metrics({"loss_paired": 2.0, "gradient_norm": 0.5}, step=10)
        child.log_metrics({"loss_paired": 1.0}, step=20)
        child.log_artifact(project / "predictions.tsv", "test")
    (run,) = runs(project, "run")
    assert run.data.params == {
        "tandem.steps": "20",
        "tandem.schedule": '["paired", "autoencode"]',
        "tandem.start": "scratch",
    }
    assert points(project, run, "loss_paired") == [(10, 2.0), (20, 1.0)]
    assert artifacts(project, run, "test") == {"test/predictions.tsv"}
    assert list((project / "mlartifacts").rglob("predictions.tsv"))
    tags = run.data.tags
    assert (tags["tandem.strategy"], tags["tandem.seed"], tags["tandem.data"]) == ("tandem", "0", "cmudict-01234567")
    assert (tags["DVC_STAGE"], tags["DVC_EXP_NAME"]) == ("tandem", "loud-gull")
    assert (tags["mlflow.source.git.commit"], tags["tandem.git_clean"]) == ("c0ffee", "true")
    assert (tags["tandem.python"], tags["tandem.keras"]) == ("3.11.0", "3.0")
    (parent,) = runs(project, "comparison")
    assert parent.data.tags["DVC_EXP_NAME"] == "loud-gull"
    assert "DVC_STAGE" not in parent.data.tags


def test_a_run_names_its_data_sets_once(project: Path, params: Params) -> None:
    pairs = DataSet("training pairs", Path("data/prepared/train.tsv"), ("source", "target"), "training", 7, "abc")
    with start(params) as child:
        for _ in range(2):
            child.log_data([pairs])
    (run,) = runs(project, "run")
    (found,) = data_sets(run)
    assert (found.dataset.name, found.dataset.digest) == ("training pairs", "abc")
    assert json.loads(found.dataset.source) == {"uri": "data/prepared/train.tsv"}
    assert json.loads(str(found.dataset.profile))["num_rows"] == 7
    assert [(tag.key, tag.value) for tag in found.tags] == [("mlflow.data.context", "training")]


def test_a_table_is_one_that_mlflow_reads_as_such(project: Path, params: Params) -> None:
    with start(params) as child:
        child.log_table(["source", "right"], [["ä b", True], ["c", False]], "predictions.json")
    experiment, file = runs(project)[0].info.experiment_id, "predictions.json"
    mlflow.set_tracking_uri(f"sqlite:///{project / 'mlflow.db'}")  # of that, `load_table` asks the process's own
    table = client(project).load_table(experiment, file, [child.run_id], extra_columns=["run_id"])
    assert table.to_dict("list") == {"source": ["ä b", "c"], "right": [True, False], "run_id": [child.run_id] * 2}


def test_a_history_has_its_steps_its_times_and_its_system_metrics_apart(project: Path, params: Params) -> None:
    with start(params) as child:
        child.log_history(ROWS, until=100_000)
        child.log_history(ROWS[:1], prefix="pretrain_")
    (run,) = runs(project, "run")
    assert points(project, run, "loss_paired") == [(10, 2.0), (20, 1.0)]
    assert points(project, run, "dev_word_accuracy") == [(20, 0.25)]
    assert points(project, run, "system/cpu_percent") == [(10, 99.0), (20, 98.0)]
    assert points(project, run, "system/pretrain_cpu_percent") == [(10, 99.0)]
    times = [point.timestamp for point in client(project).get_metric_history(run.info.run_id, "loss_paired")]
    assert times == [98_500, 100_000]


def test_a_long_history_is_written_whole(project: Path, params: Params) -> None:
    rows: list[Row] = [{"step": 10 * row, "seconds": 0.5 * row, "loss_paired": 1.0 / row} for row in range(1, 1501)]
    with start(params) as child:
        child.log_history(rows, "pretrain_")
    (run,) = runs(project, "run")
    assert set(run.data.metrics) == {"pretrain_loss_paired"}
    assert points(project, run, "pretrain_loss_paired") == [(int(row["step"]), row["loss_paired"]) for row in rows]


def test_what_a_run_holds_is_not_written_again(project: Path, params: Params) -> None:
    with start(params) as child:
        child.log_history(ROWS)
    again = Child(child.connection, child.run_id)
    again.log_history([*ROWS, {"step": 30, "loss_paired": 0.5}])
    again.log_metrics({"loss_paired": 0.5}, step=30)
    again.log_parameters({"tandem.steps": 7, "decoding.beam_width": 8})
    (run,) = runs(project, "run")
    assert points(project, run, "loss_paired") == [(10, 2.0), (20, 1.0), (30, 0.5)]
    assert (run.data.params["tandem.steps"], run.data.params["decoding.beam_width"]) == ("20", "8")


def test_values_that_are_not_finite_are_left_out(
    project: Path, params: Params, capsys: pytest.CaptureFixture[str]
) -> None:
    with start(params) as child:
        child.log_metrics({"loss_paired": math.nan, "gradient_norm": math.inf, "learning_rate": 0.1}, step=1)
    (run,) = runs(project, "run")
    assert run.data.metrics == {"learning_rate": 0.1}
    assert capsys.readouterr().err == ""


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
def test_a_stage_run_again_replaces_its_run(
    project: Path, params: Params, left_as: Literal["RUNNING", "FAILED", "FINISHED"]
) -> None:
    first = start(params)
    if left_as != "RUNNING":
        first.finish(left_as)
    train(params)
    (run,) = runs(project, "run")
    assert run.info.run_id != first.run_id
    assert [gone.info.run_id for gone in runs(project, "run", deleted=True)] == [first.run_id]


def test_a_scheduled_run_is_continued_with_its_curves(project: Path, params: Params) -> None:
    with start(params, "two_stage") as pretraining:
        pretraining.log_metrics({"pretrain_loss_autoencode": 3.0}, step=20)
        pretraining.finish("SCHEDULED")
    with start(params, "two_stage", continuing=True) as child:
        child.log_metrics({"loss_paired": 2.0}, step=20)
    assert not pretraining.continued
    assert child.continued
    (run,) = runs(project, "run")
    assert run.info.status == "FINISHED"
    assert set(run.data.metrics) == {"pretrain_loss_autoencode", "loss_paired"}


def test_a_run_killed_while_continued_is_made_anew(project: Path, params: Params) -> None:
    start(params, "two_stage").finish("SCHEDULED")
    killed = start(params, "two_stage", continuing=True)
    again = start(params, "two_stage", continuing=True)
    assert killed.continued
    assert not again.continued
    assert [run.info.run_id for run in runs(project, "run")] == [again.run_id]


def test_a_finished_training_is_known_by_its_record(project: Path, params: Params) -> None:
    (project / "run.json").write_text('{"seconds": 1.5}', encoding="utf-8")
    start(params).finish_training(project)
    (run,) = runs(project, "run")
    assert run.info.status == "FINISHED"
    assert run.data.tags["tandem.trained"] == training_digest(project)


def test_a_run_made_from_files_ends_now_and_took_as_long_as_its_training(project: Path, params: Params) -> None:
    pretraining: list[Row] = [{"step": 5, "seconds": 4.0, "loss_autoencode": 3.0}]
    with Comparison.open(params, DIGEST, HERE) as comparison:
        comparison.restore("two_stage", 1, PARAMETERS, HERE, ROWS, pretraining).finish()
    (run,) = runs(project, "run")
    assert run.data.tags["tandem.reused"] == "true"
    assert run.data.tags["mlflow.source.name"] == "pipeline/stages/two_stage.py"
    assert run.data.tags["DVC_STAGE"] == "tandem"  # as its environment says
    assert run.info.end_time - run.info.start_time >= 3000
    assert points(project, run, "loss_paired") == [(10, 2.0), (20, 1.0)]
    store = client(project)
    (before,) = store.get_metric_history(run.info.run_id, "pretrain_loss_autoencode")
    first, last = store.get_metric_history(run.info.run_id, "loss_paired")
    assert (first.timestamp - before.timestamp, last.timestamp - first.timestamp) == (1500, 1500)


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
    with pytest.raises(type(error)), start(params):
        raise error
    assert [run.info.status for run in runs(project, "run")] == [status]


def test_a_stage_that_is_broken_off_ends_its_comparison_and_another_reopens_it(project: Path, params: Params) -> None:
    comparison = Comparison.open(params, DIGEST, HERE)
    comparison.end_if_broken_off(None, None, None)
    assert runs(project, "comparison")[0].info.status == "RUNNING"
    comparison.end_if_broken_off(ValueError, ValueError("diverged"), None)
    assert runs(project, "comparison")[0].info.status == "FAILED"
    train(params)
    assert [run.info.status for run in runs(project, "comparison")] == ["RUNNING"]
