"""Publication from files: what is missing in a store is added, each exactly once, and nothing else changes."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from html import unescape
from pathlib import Path

import pytest
from mlflow.tracking._tracking_service.utils import _artifact_repos_cache

from pipeline.config.params import changed, load_params
from pipeline.data.prepared import Prepared
from pipeline.errors import UserError
from pipeline.evaluation.results import REPORTS, load_metrics
from pipeline.report.tables import verdict
from pipeline.runs.environment import Environment
from pipeline.runs.folders import HISTORY, RunMetadata, content_digest, load_history, run_folder
from pipeline.runs.groups import comparison_key
from pipeline.tracking.client import tracking_uri
from pipeline.tracking.comparisons import load_comparisons
from pipeline.tracking.publish import publish, read_predictions
from pipeline.tracking.runs import Comparison
from tests.support.reported_project import REPORTED, make_reported_project, report
from tests.support.servers import free_port
from tests.support.small_project import ACCURACIES
from tests.support.stored import (
    artifacts,
    children,
    client,
    data_sets,
    newest_children,
    newest_comparison,
    points,
    runs,
    state,
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that is reported, in MLflow too, to look at."""
    root = tmp_path_factory.mktemp("publication") / "a project"
    make_reported_project(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        assert publish(load_params())
    return root


@pytest.fixture
def published(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(home)
    return home


@pytest.fixture
def project(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of it, to be spoilt."""
    shutil.copytree(home, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    _artifact_repos_cache.clear()  # a process remembers where the artifacts of a run are, which here are in two places
    yield tmp_path / "copy"
    _artifact_repos_cache.clear()


@pytest.fixture
def unpublished(project: Path) -> Path:
    """The same without its store."""
    (project / "mlflow.db").unlink()
    shutil.rmtree(project / "mlartifacts")
    return project


def publish_without(project: Path, *modules: str) -> None:
    """Stage publish in a process of its own, which must import none of these."""
    program = (
        "import sys; from pipeline.stages.publish import main; main();"
        f"sys.exit(not {set(modules)}.isdisjoint(sys.modules))"
    )
    subprocess.run([sys.executable, "-c", program], cwd=project, check=True)


def train(strategy: str, seed: int) -> None:
    """The run of a training as its stage leaves it."""
    comparison = Comparison(load_params(), Prepared.open().digest, Environment.here())
    child = comparison.start(strategy, seed)
    child.log_evaluations(load_history(run_folder(strategy, seed)))
    child.finish_training(run_folder(strategy, seed))


def come_to_something_else(strategy: str, seed: int) -> None:
    """Change the results of a training."""
    folder = run_folder(strategy, seed)
    history = (folder / HISTORY).read_text(encoding="utf-8")
    (folder / HISTORY).write_text(f"{history.rstrip()}1\n", encoding="utf-8")  # of the last number
    replace(RunMetadata.load(folder), content=content_digest(folder)).save(folder)


def assert_complete(root: Path) -> None:
    (parent,) = runs(root, "comparison")
    assert parent.info.status == "FINISHED"
    assert artifacts(root, parent) == REPORTED
    assert set(children(root)) == set(ACCURACIES)
    assert {run.info.status for run in children(root).values()} == {"FINISHED"}
    assert {run.data.tags["mlflow.parentRunId"] for run in children(root).values()} == {parent.info.run_id}
    assert len(client(root).search_model_versions("name = 'tandem'")) == 1


def test_a_child_holds_its_parameters_curves_scores_data_predictions_and_environment(published: Path) -> None:
    child = children(published)["tandem", 0]
    assert child.data.params["strategies.tandem.steps"] == "700"
    assert child.data.params["decoding.order"] == "rerank"
    assert "supervised.steps" not in child.data.params
    assert points(published, child, "dev_word_accuracy") == [(10, 0.5)]
    assert points(published, child, "test_word_accuracy") == [(1, 1.0)]
    assert {(found.dataset.name, found.tags[0].value) for found in data_sets(child)} == {
        ("training pairs", "training"),
        ("unpaired targets", "training"),
        ("dev pairs", "validation"),
        ("test pairs", "testing"),
    }
    assert artifacts(published, child) == {"environment.json", "predictions.json", "reranker", "tandem-0.tsv"}
    table = json.loads(Path(client(published).download_artifacts(child.info.run_id, "predictions.json")).read_text())
    assert table["columns"][:3] == ["source", "prediction", "target"]
    (row,) = table["data"]
    assert dict(zip(table["columns"], row, strict=True)) | {"edits": 0} == {
        "source": "R",
        "prediction": "test",
        "target": "test",
        "also": "",
        "log_probability": -0.5,
        "confidence": 0.625,
        "correct": True,
        "edits": 0,
        "length": 4,
    }
    assert child.data.tags["tandem.reused"] == "true"
    assert child.data.tags["tandem.platform"]


def test_the_targets_that_supervised_does_not_train_on_serve_its_reranker(published: Path) -> None:
    found = data_sets(children(published)["supervised", 0])
    assert {data.tags[0].value for data in found if data.dataset.name == "unpaired targets"} == {"reranking"}


def test_the_parent_holds_the_comparison_with_its_reports_and_the_curve_of_the_matcher(published: Path) -> None:
    assert_complete(published)
    (parent,) = runs(published, "comparison")
    assert parent.data.params["strategies.supervised.steps"] == "700"
    assert parent.data.metrics["tandem_word_accuracy"] == 0.5
    assert parent.data.metrics["tandem_vs_supervised_difference"] == 0.5
    assert parent.data.metrics["matcher_test_roc_auc"] == 0.75
    assert "matcher_encoder" not in parent.data.metrics
    assert points(published, parent, "matcher_dev_score") == [(10, 0.25), (20, 0.5)]
    assert "| tandem " in parent.data.tags["mlflow.note.content"]
    page = f"#/experiments/{parent.info.experiment_id}/runs/{parent.info.run_id}/artifacts/index.html"
    first_line = unescape(parent.data.tags["mlflow.note.content"].splitlines()[0]).replace("\\", "")
    assert first_line == f"[Report]({page}): {verdict(load_metrics())}"
    assert artifacts(published, parent, "predictions") == {"predictions/tandem-ensemble.tsv"}
    assert len(data_sets(parent)) == 4


def test_a_published_comparison_can_be_compared_with_others_by_its_run(published: Path) -> None:
    (parent,) = runs(published, "comparison")
    assert load_comparisons([parent.info.run_id]) == {parent.info.run_id: load_metrics()}
    with pytest.raises(UserError, match=r"MLflow has no evaluation/metrics\.json of run f{32}"):
        load_comparisons(["f" * 32])


def test_publishing_again_adds_nothing_and_imports_no_mlflow(published: Path) -> None:
    before = state(published)
    publish_without(published, "mlflow", "tensorflow", "sklearn", "matplotlib")
    assert state(published) == before


def test_a_store_that_was_deleted_is_filled_from_the_files_without_tensorflow(unpublished: Path) -> None:
    publish_without(unpublished, "tensorflow")
    assert publish(load_params())
    assert_complete(unpublished)


def test_another_store_is_filled_as_well(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = state(project)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///other.db")
    assert publish(load_params())
    assert_complete(project)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert state(project) == before


def test_another_experiment_is_filled_as_well(project: Path) -> None:
    assert publish(changed(load_params(), {"tracking.experiment": "other", "tracking.model": "another"}))
    assert len(runs(project, "comparison")) == 2
    assert len(runs(project, "run")) == 2 * len(ACCURACIES)


def test_of_a_run_that_was_tracked_while_it_trained_only_the_rest_is_added(unpublished: Path) -> None:
    train("tandem", 1)
    (live,) = runs(unpublished, "run")
    assert publish(load_params())
    assert_complete(unpublished)
    child = children(unpublished)["tandem", 1]
    assert child.info.run_id == live.info.run_id
    assert child.info.end_time == live.info.end_time
    assert "tandem.reused" not in child.data.tags
    assert points(unpublished, child, "dev_word_accuracy") == [(10, 0.375)]
    assert points(unpublished, child, "test_word_accuracy") == [(1, 0.0)]


def test_a_run_that_was_broken_off_is_made_again_from_its_files(unpublished: Path) -> None:
    train("supervised", 0)
    (live,) = runs(unpublished, "run")
    client(unpublished).set_terminated(live.info.run_id, "KILLED")
    assert publish(load_params())
    assert_complete(unpublished)
    child = children(unpublished)["supervised", 0]
    assert child.info.run_id != live.info.run_id
    assert child.data.tags["tandem.reused"] == "true"


def test_a_run_of_another_training_is_replaced_by_that_of_the_files(unpublished: Path) -> None:
    folder = run_folder("tandem", 0)
    shutil.copytree(folder, unpublished / "kept")
    come_to_something_else("tandem", 0)
    train("tandem", 0)
    shutil.rmtree(folder)
    shutil.move(unpublished / "kept", folder)
    (live,) = runs(unpublished, "run")
    assert publish(load_params())
    assert_complete(unpublished)
    assert children(unpublished)["tandem", 0].info.run_id != live.info.run_id


def test_a_deleted_child_comes_back_and_all_else_stays(project: Path) -> None:
    gone, *_ = children(project).values()
    kept = {run.info.run_id for run in runs(project)} - {gone.info.run_id}
    client(project).delete_run(gone.info.run_id)
    assert publish(load_params())
    assert_complete(project)
    assert kept < {run.info.run_id for run in runs(project)}


def test_artifacts_that_were_deleted_come_back(project: Path) -> None:
    child = children(project)["tandem", 1]
    shutil.rmtree(project / "mlartifacts" / child.info.run_id)
    assert publish(load_params())
    assert "tandem-1.tsv" in artifacts(project, children(project)["tandem", 1])


def test_another_report_of_the_same_runs_replaces_the_one_before(project: Path) -> None:
    before = {run.info.run_id for run in runs(project)}
    page = REPORTS / "index.html"
    page.write_text("<!doctype html><title>Another page</title>\n", encoding="utf-8")
    assert publish(load_params())
    (parent,) = runs(project, "comparison")
    assert "Another page" in Path(client(project).download_artifacts(parent.info.run_id, "index.html")).read_text()
    assert {run.info.run_id for run in runs(project)} == before
    assert points(project, parent, "matcher_dev_score") == [(10, 0.25), (20, 0.5)]
    assert len(points(project, parent, "tandem_word_accuracy")) == 1


def test_a_project_that_was_copied_or_moved_has_nothing_missing(project: Path) -> None:
    before = state(project)
    publish_without(project, "tensorflow")
    assert state(project) == before
    assert_complete(project)
    publish_without(project, "mlflow")


def test_files_that_do_not_fit_are_not_published(unpublished: Path) -> None:
    with pytest.raises(UserError, match=r"strategies\.tandem\.steps"):
        publish(changed(load_params(), {"strategies.tandem.steps": 7}))
    come_to_something_else("tandem", 1)
    with pytest.raises(UserError, match="changed since reports was made"):
        publish(load_params())
    assert not (unpublished / "mlflow.db").exists()
    report()
    assert publish(load_params())


def test_a_server_that_is_away_costs_a_warning_and_is_filled_later(
    unpublished: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    assert not publish(load_params())
    assert capsys.readouterr().err.count("warning: MLflow could not open the store") == 1
    assert tracking_uri(unpublished).startswith("http:")
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert publish(load_params())
    assert_complete(unpublished)


def test_all_runs_have_the_inputs_and_the_parent_the_outputs_as_tags(published: Path) -> None:
    key = comparison_key(load_params(), Prepared.open().digest)
    assert {run.data.tags["tandem.comparison"] for run in runs(published)} == {key}
    assert [run.data.tags["tandem.kind"] for run in runs(published) if "tandem.outputs" in run.data.tags] == [
        "comparison"
    ]


def test_a_training_repeated_with_the_same_result_adds_no_comparison(project: Path) -> None:
    before = state(project)
    for seed in (0, 1):
        train("tandem", seed)
    assert len(runs(project, "comparison")) == 2
    assert publish(load_params())
    assert state(project) == before
    assert publish(load_params())
    assert len(runs(project, deleted=True)) == 3


def test_so_does_one_that_was_broken_off_and_one_whose_publication_was(project: Path) -> None:
    before = state(project)
    parameters = load_params(), Prepared.open().digest, Environment.here()
    with pytest.raises(KeyboardInterrupt), Comparison(*parameters) as comparison, comparison.start("tandem", 0):
        raise KeyboardInterrupt
    Comparison(*parameters).restore("tandem", 1)
    assert publish(load_params())
    assert state(project) == before


def test_another_report_of_a_repeated_training_belongs_to_the_existing_comparison(project: Path) -> None:
    (before,) = runs(project, "comparison")
    train("tandem", 0)
    (REPORTS / "index.html").write_text("<!doctype html><title>It took longer</title>\n", encoding="utf-8")
    assert publish(load_params())
    assert_complete(project)
    (parent,) = runs(project, "comparison")
    assert parent.info.run_id == before.info.run_id
    assert "longer" in Path(client(project).download_artifacts(parent.info.run_id, "index.html")).read_text()


def test_other_outputs_of_the_same_inputs_are_a_second_comparison(project: Path) -> None:
    (first,) = runs(project, "comparison")
    come_to_something_else("tandem", 0)
    train("tandem", 0)
    report()
    assert publish(load_params())
    second = newest_comparison(project)
    assert second.info.run_id != first.info.run_id
    assert second.data.tags["tandem.comparison"] == first.data.tags["tandem.comparison"]
    assert second.data.tags["tandem.outputs"] != first.data.tags["tandem.outputs"]
    assert newest_children(project) == {("supervised", "true"): 1, ("tandem", None): 1, ("tandem", "true"): 1}
    for parent in (first, second):
        own = [run for run in runs(project, "run") if run.data.tags["mlflow.parentRunId"] == parent.info.run_id]
        assert len(own) == len(ACCURACIES)
    assert publish(load_params())
    assert len(runs(project)) == 2 * (1 + len(ACCURACIES))


def test_going_back_to_earlier_outputs_finds_their_comparison(project: Path) -> None:
    shutil.copytree(project / "models", project / "kept" / "models")
    shutil.copytree(project / "reports", project / "kept" / "reports")
    come_to_something_else("tandem", 0)
    report()
    assert publish(load_params())
    before = state(project)
    for name in ("models", "reports"):
        shutil.rmtree(project / name)
        shutil.move(project / "kept" / name, project / name)
    assert publish(load_params())
    assert state(project) == before


def test_predictions_are_a_table_of_texts_and_numbers_with_the_prediction_second(tmp_path: Path) -> None:
    file = tmp_path / "tandem-0.tsv"
    text = "source\ttarget\talso\tprediction\tlog_probability\tconfidence\tcorrect\tedits\n"
    text += 'A\t1\t\t"2\t-0.5\t0.25\tFalse\t1\nNA\u2028\tTrue\tx|y\tTrue\t-inf\t\tTrue\t0\n'
    file.write_bytes(text.encode())
    table = json.loads(read_predictions(file).to_json(orient="split", index=False))
    assert table["columns"] == [
        "source", "prediction", "target", "also", "log_probability", "confidence", "correct", "edits",
    ]  # fmt: skip
    assert table["data"] == [
        ["A", '"2', "1", "", -0.5, 0.25, False, 1],
        ["NA\u2028", "True", "True", "x|y", None, None, True, 0],
    ]
