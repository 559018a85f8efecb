"""The record of a comparison, and what it refuses to be taken for."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.config.params import changed, load_params
from pipeline.data.prepared import Prepared
from pipeline.errors import UserError
from pipeline.evaluation.results import RUNS, Outcome
from pipeline.hashing import digest_of
from pipeline.runs.folders import RunMetadata, run_folder, save_metadata
from tests.support.reported_project import make_reported_project


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("outcome") / "project"
    root.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        make_reported_project(root)
    return root


@pytest.fixture
def project(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy, to spoil."""
    shutil.copytree(made, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"


def test_what_is_saved_is_loaded(project: Path) -> None:
    outcome = Outcome.load()
    outcome.save(project / "again.json")
    assert Outcome.load(project / "again.json") == outcome
    assert [run.metadata.strategy for run in outcome.runs] == ["supervised", "tandem", "tandem"]
    best = outcome.runs[1]
    assert best.metrics["test_word_accuracy"] == 1.0
    assert best.metrics["test_calibration_error"] == pytest.approx(0.375)
    assert best.metrics["dev_best_word_accuracy"] == 0.5
    assert best.metrics["steps"] == 12


def test_what_a_run_reached_on_dev_is_with_its_reranker_where_it_has_one(project: Path) -> None:
    run = Outcome.load().runs[1]
    assert replace(run, metrics={"dev_best_word_accuracy": 0.5}).dev_accuracy == run.metadata.dev_word_accuracy == 0.5
    assert replace(run, metrics={"dev_best_word_accuracy": 0.5, "dev_rerank_accuracy": 0.625}).dev_accuracy == 0.625


def test_it_fits_the_files_that_it_was_made_of(project: Path) -> None:
    Outcome.load().check(load_params(), Prepared.open().digest)


def test_parameters_that_show_in_the_data_or_nowhere_may_differ(project: Path) -> None:
    params = changed(load_params(), {"prepare.on_bad_row": "skip", "tracking.experiment": "other"})
    Outcome.load().check(params, Prepared.open().digest)


def test_other_parameters_are_refused_by_name(project: Path) -> None:
    params = changed(load_params(), {"tandem.steps": 7})
    with pytest.raises(UserError, match=r"tandem\.steps: 1000, but params\.yaml says 7: run `dvc repro`"):
        Outcome.load().check(params, Prepared.open().digest)


def test_other_data_are_refused(project: Path) -> None:
    with pytest.raises(UserError, match="other data than data/prepared now holds: run `dvc repro`"):
        Outcome.load().check(load_params(), "another digest")


def test_a_run_that_was_trained_again_is_refused(project: Path) -> None:
    folder = run_folder("tandem", 1)
    save_metadata(replace(RunMetadata.load(folder), seconds=7.0), folder)
    with pytest.raises(UserError, match=r"models/tandem/1 .* changed since reports was made: run `dvc repro`"):
        Outcome.load().check(load_params(), Prepared.open().digest)


def test_a_reranker_that_was_fitted_again_is_refused(project: Path) -> None:
    Path("models/rerank/supervised/0.json").write_text("{}", encoding="utf-8")
    with pytest.raises(UserError, match=r"models/rerank/supervised/0\.json changed since"):
        Outcome.load().check(load_params(), Prepared.open().digest)


@pytest.mark.parametrize("content", [None, "no JSON", "{}", json.dumps({"key": 1})])
def test_a_file_that_is_missing_or_something_else_is_refused(project: Path, content: str | None) -> None:
    RUNS.unlink()
    if content is not None:
        RUNS.write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=r"reports/runs\.json cannot be used .*: run `dvc repro`"):
        Outcome.load()


def test_a_digest_is_that_of_names_and_contents(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("same")
    two.write_text("same")
    first = digest_of([one])
    assert digest_of([one]) == first
    assert len({first, digest_of([two]), digest_of([one, two])}) == 3
    one.write_text("other")
    assert digest_of([one]) != first
    with pytest.raises(UserError, match="missing cannot be read"):
        digest_of([tmp_path / "missing"])
