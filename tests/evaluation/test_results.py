"""The folder of an evaluation: read as it was written, and refused with other parameters, data or models."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.config.params import changed, load_params
from pipeline.data.prepared import Prepared
from pipeline.errors import UserError
from pipeline.evaluation.results import (
    EVALUATION,
    RUNS,
    AttentionMap,
    EvaluatedRuns,
    EvaluationResults,
    load_metrics,
)
from pipeline.hashing import digest_of
from pipeline.runs.folders import run_folder
from pipeline.runs.groups import decisive_parameters
from tests.support.made_up import HALF, evaluation, rewrites, run, several
from tests.support.reported_project import make_reported_project


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("results") / "project"
    make_reported_project(root)
    return root


@pytest.fixture
def project(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy, to spoil."""
    shutil.copytree(made, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"


def test_what_is_saved_is_loaded(project: Path) -> None:
    evaluated = EvaluatedRuns.load(EVALUATION)
    evaluated.save(project / "again")
    assert EvaluatedRuns.load(project / "again") == evaluated
    assert [run.metadata.strategy for run in evaluated.runs] == ["supervised", "tandem", "tandem"]
    best = evaluated.runs[1]
    assert best.metrics["test_word_accuracy"] == 1.0
    assert best.metrics["test_calibration_error"] == pytest.approx(0.375)
    assert best.metrics["dev_best_word_accuracy"] == 0.5
    assert best.metrics["steps"] == 12


def test_what_a_run_reached_on_dev_is_with_its_reranker_where_it_has_one(project: Path) -> None:
    run = EvaluatedRuns.load(EVALUATION).runs[1]
    assert replace(run, metrics={"dev_best_word_accuracy": 0.5}).dev_accuracy == run.metadata.dev_word_accuracy == 0.5
    assert replace(run, metrics={"dev_best_word_accuracy": 0.5, "dev_rerank_accuracy": 0.625}).dev_accuracy == 0.625


def test_it_fits_the_files_that_it_was_made_of(project: Path) -> None:
    EvaluatedRuns.load(EVALUATION).check(decisive_parameters(load_params()), Prepared.open().digest)


def test_parameters_that_show_in_the_data_or_nowhere_may_differ(project: Path) -> None:
    params = changed(load_params(), {"prepare.on_bad_row": "skip", "tracking.experiment": "other", "matcher.steps": 7})
    EvaluatedRuns.load(EVALUATION).check(decisive_parameters(params), Prepared.open().digest)


def test_other_parameters_are_refused_by_name(project: Path) -> None:
    params = changed(load_params(), {"strategies.tandem.steps": 7})
    with pytest.raises(UserError, match=r"strategies\.tandem\.steps: 700, but params\.yaml says 7: run `dvc repro`"):
        EvaluatedRuns.load(EVALUATION).check(decisive_parameters(params), Prepared.open().digest)


def test_other_data_are_refused(project: Path) -> None:
    with pytest.raises(UserError, match="other data than data/prepared now holds: run `dvc repro`"):
        EvaluatedRuns.load(EVALUATION).check(decisive_parameters(load_params()), "another digest")


def test_a_run_that_was_trained_again_is_refused(project: Path) -> None:
    folder = run_folder("tandem", 1)
    (folder / "history.csv").write_text("step,dev_word_accuracy\n20,0.5\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"models/tandem/1 .* changed since reports was made: run `dvc repro`"):
        EvaluatedRuns.load(EVALUATION).check(decisive_parameters(load_params()), Prepared.open().digest)


def test_a_reranker_that_was_fitted_again_is_refused(project: Path) -> None:
    Path("models/rerank/supervised/0.json").write_text("{}", encoding="utf-8")
    with pytest.raises(UserError, match=r"models/rerank/supervised/0\.json changed since"):
        EvaluatedRuns.load(EVALUATION).check(decisive_parameters(load_params()), Prepared.open().digest)


@pytest.mark.parametrize("content", [None, "no JSON", "{}", json.dumps({"key": 1})])
def test_a_file_that_is_missing_or_something_else_is_refused(project: Path, content: str | None) -> None:
    (EVALUATION / RUNS).unlink()
    if content is not None:
        (EVALUATION / RUNS).write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=r"reports/evaluation/runs\.json cannot be used .*: run `dvc repro`"):
        EvaluatedRuns.load(EVALUATION)


def test_results_are_read_as_they_were_written(tmp_path: Path) -> None:
    texts = ["NA", "", "007", "1e5", 'comma, "quote"', "naïve", "true"]
    results = several(("supervised", "tandem", "na"), texts * 3)
    maps = [AttentionMap(("a", "\ud800"), ("b",), np.array([[0.25, 0.75]], np.float32))]
    saved = evaluation(results, noise=rewrites(*texts), attention=maps)
    saved.save(tmp_path, tmp_path / "summary.json")
    loaded = EvaluationResults.load(tmp_path)
    assert loaded.metrics == saved.metrics == load_metrics(tmp_path)
    for name in ("curves", "histories", "calibration", "coverage", "confusions", "noise", "examples"):
        pd.testing.assert_frame_equal(getattr(loaded, name), getattr(saved, name), check_dtype=False)
    assert [(one.source, one.written) for one in loaded.attention] == [(("a", "\ud800"), ("b",))]
    assert loaded.attention[0].weights.tolist() == [[0.25, 0.75]]
    again = tmp_path / "again"
    loaded.save(again, tmp_path / "summary.json")
    for path in again.iterdir():
        assert path.read_bytes() == (tmp_path / path.name).read_bytes(), path.name


def test_results_without_rows_are_read_too(tmp_path: Path) -> None:
    saved = evaluation(several(("tandem",), ["a"], history=False)[:1], noise=rewrites("a").head(0))
    saved.save(tmp_path, tmp_path / "summary.json")
    loaded = EvaluationResults.load(tmp_path)
    assert loaded.histories.empty
    assert loaded.noise.empty


def test_the_metrics_of_dvc_are_the_accuracies_of_the_strategies(tmp_path: Path) -> None:
    evaluation([run("supervised", 0, HALF), run("tandem", 0, [1, 0, 0] * 33 + [0])]).save(tmp_path, tmp_path / "dvc")
    assert json.loads((tmp_path / "dvc").read_text()) == {"supervised": 0.5, "tandem": 0.33}


@pytest.mark.parametrize("spoilt", ["metrics.json", "attention.json", "curves.csv", "examples.csv"])
def test_results_with_a_missing_file_are_refused(tmp_path: Path, spoilt: str) -> None:
    evaluation([run("tandem", 0, HALF)]).save(tmp_path, tmp_path / "summary.json")
    (tmp_path / spoilt).unlink()
    with pytest.raises(UserError, match="run `dvc repro`"):
        EvaluationResults.load(tmp_path)


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
