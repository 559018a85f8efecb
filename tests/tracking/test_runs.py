"""Runs as the stages write them while they train."""

import json
import math
from pathlib import Path
from typing import Literal

import mlflow
import pandas as pd
import pytest

from pipeline.config.params import Params, changed
from pipeline.runs.folders import Row, content_digest, run_folder, timings_folder
from pipeline.runs.groups import comparison_key
from pipeline.tracking.runs import Child, Comparison
from pipeline.tracking.runs import data_sets as files_as_data_sets
from tests.support.stored import DIGEST, HERE, artifacts, children, client, data_sets, points, runs

LOSS = "loss"
ROWS: list[Row] = [
    {"step": 10, "seconds": 1.5, "loss_paired": 2.0, "cpu_percent": 99.0},
    {"step": 20, "seconds": 3.0, "loss_paired": 1.0, "cpu_percent": 98.0, "dev_word_accuracy": 0.25},
]


def start(params: Params, strategy: str = "tandem", seed: int = 0) -> Child:
    """The run of a training, as its stage opens it."""
    return Comparison(params, DIGEST, HERE).start(strategy, seed)


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
    tasks = json.loads(parent.data.params["strategies.tandem.tasks"])
    assert tasks == list(params.strategies["tandem"].tasks)
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
    own = {name: value for name, value in run.data.params.items() if name.startswith("strategies.")}
    assert own == {
        "strategies.tandem.tasks": '["paired", "autoencode", "synthetic"]',
        "strategies.tandem.steps": "700",
        "strategies.tandem.start": "scratch",
        "strategies.tandem.frozen_steps": "0",
        "strategies.tandem.objective": "frozen_decoder",
        "strategies.tandem.teacher": "null",
        "strategies.tandem.confidence": "0.5",
        "strategies.tandem.finetune_steps": "0",
    }
    assert run.data.params["model.units"] == "128"
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
    for name in ("train.tsv", "targets.txt", "dev.tsv", "test.tsv"):
        (project / name).write_text("a\tb\n", encoding="utf-8")
    with start(params) as child:
        for _ in range(2):
            child.log_data(files_as_data_sets(project))
    (run,) = runs(project, "run")
    assert sorted(entry.dataset.name for entry in data_sets(run)) == [
        "dev pairs", "test pairs", "training pairs", "unpaired targets",
    ]  # fmt: skip
    (tag,) = data_sets(run)[0].tags
    assert tag.key == "mlflow.data.context"


def test_a_table_is_one_that_mlflow_reads_as_such(project: Path, params: Params) -> None:
    with start(params) as child:
        child.log_table(pd.DataFrame({"source": ["ä b", "c"], "right": [True, False]}), "predictions.json")
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


def test_values_that_a_run_has_are_not_written_again(project: Path, params: Params) -> None:
    with start(params) as child:
        child.log_history(ROWS)
    again = Child(child.connection, child.run_id)
    again.log_history([*ROWS, {"step": 30, "loss_paired": 0.5}])
    again.log_metrics({"loss_paired": 0.5}, step=30)
    again.log_parameters({"model.units": 7, "decoding.beam_width": 8})
    (run,) = runs(project, "run")
    assert points(project, run, "loss_paired") == [(10, 2.0), (20, 1.0), (30, 0.5)]
    assert (run.data.params["model.units"], run.data.params["decoding.beam_width"]) == ("128", "8")


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


def write_history(strategy: str, seed: int, rows: list[Row]) -> Path:
    """The run folder of a finished training, with its history and timings."""
    folders = run_folder(strategy, seed), timings_folder(strategy, seed)
    for folder, name, columns in zip(folders, ("history.csv", "timings.csv"), (LOSS, "seconds"), strict=True):
        folder.mkdir(parents=True)
        lines = (f"{row['step']},{row[columns]}\n" for row in rows)
        (folder / name).write_text(f"step,{columns}\n{''.join(lines)}", encoding="utf-8")
    (folders[0] / "run.json").write_text("{}", encoding="utf-8")
    return folders[0]


def test_pretraining_is_part_of_the_first_pretrained_strategy_and_of_the_others_from_files(
    project: Path, params: Params
) -> None:
    both = changed(params, {"strategies.alternating.start": "pretrained"})  # after two_stage in params.yaml
    folder = write_history("pretrain", 0, [{"step": 20, LOSS: 3.0, "seconds": 1.0}])
    with start(both, "pretrain") as pretraining:
        pretraining.log_evaluations([{"step": 20, LOSS: 3.0}])
        pretraining.finish_training(folder)
    (run,) = runs(project, "run")
    assert (run.data.tags["tandem.strategy"], run.info.status) == ("two_stage", "SCHEDULED")
    for strategy in ("two_stage", "alternating", "tandem"):
        with start(both, strategy) as child:
            child.log_evaluations([{"step": 20, "loss_paired": 2.0}])
    found = children(project)
    assert found["two_stage", 0].info.run_id == pretraining.run_id
    assert {run.info.status for run in found.values()} == {"FINISHED"}
    for name in ("two_stage", "alternating"):
        assert points(project, found[name, 0], "pretrain_loss") == [(20, 3.0)]
    assert set(found["tandem", 0].data.metrics) == {"loss_paired"}


def test_without_a_pretrained_strategy_pretraining_is_no_part_of_a_comparison(project: Path, params: Params) -> None:
    with start(
        changed(params, {"strategies.two_stage.start": "scratch", "strategies.two_stage.frozen_steps": 0}), "pretrain"
    ) as child:
        child.log_evaluations([{"step": 20, LOSS: 3.0}])
        child.finish_training(run_folder("pretrain", 0))
    assert runs(project, "run") == []


def test_a_run_killed_while_continued_is_made_anew(project: Path, params: Params) -> None:
    folder = write_history("pretrain", 0, [{"step": 20, LOSS: 3.0, "seconds": 1.0}])
    start(params, "pretrain").finish_training(folder)
    killed = start(params, "two_stage")
    again = start(params, "two_stage")
    assert killed.run_id != again.run_id
    (run,) = runs(project, "run")
    assert run.info.run_id == again.run_id
    assert points(project, run, "pretrain_loss") == [(20, 3.0)]


def test_a_finished_training_is_known_by_its_results(project: Path, params: Params) -> None:
    folder = write_history("tandem", 0, [{"step": 20, LOSS: 3.0, "seconds": 1.0}])
    start(params).finish_training(folder)
    (run,) = runs(project, "run")
    assert run.info.status == "FINISHED"
    assert run.data.tags["tandem.trained"] == content_digest(folder)


def test_a_run_made_from_files_ends_now_and_took_as_long_as_its_training(project: Path, params: Params) -> None:
    write_history("pretrain", 1, [{"step": 5, LOSS: 3.0, "seconds": 4.0}])
    write_history("two_stage", 1, [{"step": 10, LOSS: 2.0, "seconds": 1.5}, {"step": 20, LOSS: 1.0, "seconds": 3.0}])
    HERE.save(timings_folder("two_stage", 1))
    with Comparison(params, DIGEST, HERE) as comparison:
        comparison.restore("two_stage", 1).finish()
    (run,) = runs(project, "run")
    assert run.data.tags["tandem.reused"] == "true"
    assert run.data.tags["DVC_STAGE"] == "tandem"  # as its environment says
    assert run.info.end_time - run.info.start_time >= 3000
    assert points(project, run, LOSS) == [(10, 2.0), (20, 1.0)]
    store = client(project)
    (before,) = store.get_metric_history(run.info.run_id, "pretrain_loss")
    first, last = store.get_metric_history(run.info.run_id, LOSS)
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
    comparison = Comparison(params, DIGEST, HERE)
    with comparison:
        pass
    assert runs(project, "comparison")[0].info.status == "RUNNING"
    with pytest.raises(ValueError, match="diverged"), comparison:
        raise ValueError("diverged")
    assert runs(project, "comparison")[0].info.status == "FAILED"
    train(params)
    assert [run.info.status for run in runs(project, "comparison")] == ["RUNNING"]


def test_a_comparison_that_is_published_is_closed_and_training_again_opens_another(
    project: Path, params: Params
) -> None:
    first = Comparison(params, DIGEST, HERE)
    first.start("tandem", 0).finish()
    first.set_tags({"tandem.outputs": "abc"})
    first.finish()
    second = Comparison(params, DIGEST, HERE)
    second.start("tandem", 0).finish()
    assert second.run_id != first.run_id
    assert Comparison(params, DIGEST, HERE).run_id == second.run_id
    assert [run.data.tags["mlflow.parentRunId"] for run in runs(project, "run")] == [second.run_id, first.run_id]
    second.connection.delete_parent(second.run_id)
    assert [run.info.run_id for run in runs(project, "comparison")] == [first.run_id]
    assert [run.data.tags["mlflow.parentRunId"] for run in runs(project, "run")] == [first.run_id]
