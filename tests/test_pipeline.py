"""The whole pipeline as a user runs it: `dvc repro`, `dvc exp run` and `tandem predict` in a clone, MLflow after it."""

import json
import re
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from pipeline.runs.folders import load_history, load_seconds
from tests.conftest import PROJECT
from tests.support.clones import copy_clone, ran, run
from tests.support.stored import (
    STRATEGIES,
    TANDEM_TRAINED,
    artifacts,
    assert_no_store_elsewhere,
    comparisons,
    newest_children,
    points,
    runs,
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def clone(original: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy in a folder whose name is no plain word."""
    return copy_clone(original, tmp_path_factory.mktemp("copies") / "50%20off? #1 [é] 'x'")


def test_the_comparison_is_written_as_promised(clone: Path) -> None:
    metrics = json.loads((clone / "reports" / "evaluation" / "metrics.json").read_text())
    for strategy in STRATEGIES:
        part = metrics[strategy]
        assert 0 <= part["word_accuracy"]["low"] <= part["word_accuracy"]["mean"] <= part["word_accuracy"]["high"] <= 1
        assert set(part["character_error_rate"]) >= {"mean", "low", "high"}
        assert part["paired_steps"] == 20 + 10  # with dev
        assert set(part["by_order"]) - {"without_list"} == {"greedy", "beam", "oracle"}
        assert part["word_accuracy"]["mean"] <= part["by_order"]["oracle"]["mean"]
        assert 0 <= part["calibration_error"] <= 1
        assert metrics["ensembles"][strategy]["paired_steps"] == 60
    assert "without_list" in metrics["tandem"]["by_order"]
    for name in ("tandem_vs_two_stage", "tandem_vs_supervised"):
        assert set(metrics["comparisons"][name]) >= {"difference", "low", "high", "p_value"}
    assert list(metrics["controls"]) == ["lookup"]
    for figure in ("learning_curves", "calibration", "noise"):
        assert (clone / "reports" / f"{figure}.png").stat().st_size > 1000
    for name in ("tandem-1", "tandem-ensemble"):
        predictions = (clone / "reports" / "predictions" / f"{name}.tsv").read_text().splitlines()
        assert (
            "\t".join(predictions[0].split("\t")[:6]) == "source\ttarget\talso\tprediction\tlog_probability\tconfidence"
        )
        assert len(predictions) == 1 + 60


def test_a_history_adds_up_to_what_its_run_spent(clone: Path) -> None:
    for folder in (clone / "models" / "tandem").glob("[0-9]"):
        rows, metadata = load_history(folder), json.loads((folder / "run.json").read_text())
        seconds = [0.0, *(row["seconds"] for row in rows)]
        assert seconds == sorted(seconds)
        assert seconds[-1] == load_seconds("tandem", int(folder.name), clone / "models") > 0
        spans = [after - before for before, after in pairwise(seconds)]
        symbols = sum(row["symbols_per_second"] * span for row, span in zip(rows, spans, strict=True))
        assert symbols == pytest.approx(metadata["symbols"], rel=0.02)
        assert all(row["cpu_percent"] > 0 and row["memory_megabytes"] > 50 for row in rows)


def test_every_run_and_every_ensemble_has_a_reranker(clone: Path) -> None:
    for strategy in STRATEGIES:
        files = {path.name for path in (clone / "models" / "rerank" / strategy).iterdir()}
        assert files == {"0.json", "1.json", "ensemble.json", "metadata.json"}


def test_mlflow_holds_one_parent_and_one_child_for_each_strategy_and_seed(clone: Path) -> None:
    everything = runs(clone)
    (parent,) = runs(clone, "comparison")
    children = [found for found in everything if found.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert len(everything) == 1 + len(children)
    wanted = {(strategy, seed): 1 for strategy in STRATEGIES for seed in ("0", "1")}
    assert Counter((run.data.tags["tandem.strategy"], run.data.tags["tandem.seed"]) for run in children) == wanted
    for child in children:
        assert child.info.status == "FINISHED"
        assert {
            "dev_word_accuracy",
            "dev_rerank_gain",
            "test_word_accuracy",
            "test_greedy_accuracy",
            "test_calibration_error",
            "test_character_error_rate",
        } <= set(child.data.metrics)
        assert child.data.params["decoding.order"] == "rerank"
        assert [step for step, _ in points(clone, child, "dev_word_accuracy")] == [10, 20]
        assert "mlflow.source.git.commit" in child.data.tags
        name = f"{child.data.tags['tandem.strategy']}-{child.data.tags['tandem.seed']}"
        assert artifacts(clone, child) == {"environment.json", "predictions.json", "reranker", f"{name}.tsv"}
        assert {"system/cpu_percent", "symbols_per_second", "gradient_norm", "learning_rate"} <= set(child.data.metrics)
        assert child.inputs is not None
        assert len(child.inputs.dataset_inputs) == 4
        assert child.data.tags["DVC_STAGE"] == child.data.tags["tandem.strategy"]
    assert {"tandem_ensemble_word_accuracy", "tandem_greedy_accuracy", "lookup_word_accuracy"} <= set(
        parent.data.metrics
    )
    assert "): On 60 test items and 2 seeds, tandem " in parent.data.tags["mlflow.note.content"].splitlines()[0]
    reports = {"index.html", "metrics.json", "calibration.png", "noise.png", "predictions"}
    assert reports <= artifacts(clone, parent)


def test_a_second_repro_looks_whether_anything_is_missing_and_does_nothing(clone: Path) -> None:
    before = len(runs(clone))
    output = run(clone, "dvc", "repro")
    assert [line for line in output.splitlines() if line.startswith("Running stage")] == ["Running stage 'publish':"]
    assert len(runs(clone)) == before


def test_a_changed_parameter_of_tandem_reruns_tandem_and_what_follows_alone(clone: Path) -> None:
    output = run(clone, "dvc", "exp", "run", "--set-param=strategies.tandem.steps=30")
    assert ran(output) == {"tandem", "rerank@tandem", "evaluate", "report", "publish"}
    assert len(comparisons(clone)) == 2
    assert newest_children(clone) == TANDEM_TRAINED
    assert_no_store_elsewhere(clone)
    assert [path.name for path in clone.parent.iterdir()] == [clone.name]


def test_one_more_seed_trains_that_seed_alone(clone: Path) -> None:
    before = {path: path.read_bytes() for path in (clone / "models").glob("*/[01]/**/*") if path.is_file()}
    trainings = ("pretrain", *STRATEGIES)
    output = run(clone, "dvc", "exp", "run", "--set-param=seeds=[0,1,2]", *trainings, "matcher")
    assert output.count("2 of 3 trainings are finished and kept") == len(trainings)
    assert "the matcher is finished and kept" in output
    trained = set(re.findall(r"^(\w+ \d)  \d+/", output, re.MULTILINE))
    assert trained == {f"{name} 2" for name in trainings}
    assert {path: path.read_bytes() for path in before} == before
    run(clone, "git", "checkout", "--quiet", "--", ".")
    run(clone, "dvc", "checkout", "--quiet")


def test_a_matcher_that_was_damaged_is_trained_again_to_identical_bytes(clone: Path) -> None:
    weights = clone / "models" / "matcher" / "matcher.weights.h5"
    before = weights.read_bytes()
    weights.write_bytes(before[:-1])
    assert "kept" not in run(clone, "dvc", "repro", "--single-item", "matcher")
    assert weights.read_bytes() == before


def test_predictions_come_ranked_with_log_probabilities_and_confidences(clone: Path) -> None:
    for which in ([], ["--ensemble"], ["--order", "beam"]):
        output = run(clone, "tandem", "predict", "F AO R K", "S K UW L", "--n-best", "3", *which)
        header, *rows = [line.split("\t") for line in output.splitlines()]
        assert header == ["source", "rank", "prediction", "log_probability", "confidence", "unknown"]
        assert [row[:2] for row in rows] == [[source, str(n)] for source in ("F AO R K", "S K UW L") for n in (1, 2, 3)]
        assert all(float(row[3]) < 0 <= float(row[4]) <= 1 for row in rows)


def test_the_matcher_finds_counterparts_in_a_list(clone: Path) -> None:
    (clone / "list.txt").write_text("fork\nschool\nthough\n", encoding="utf-8")
    header, *rows = [
        line.split("\t")
        for line in run(clone, "tandem", "match", "F AO R K", "--among", "list.txt", "--top", "2").splitlines()
    ]
    assert header == ["source", "rank", "target", "similarity", "unknown"]
    assert [row[:2] for row in rows] == [["F AO R K", "1"], ["F AO R K", "2"]]
    assert 0 <= float(rows[1][3]) <= float(rows[0][3]) <= 1
    metrics = json.loads((clone / "reports" / "matcher.json").read_text())
    assert 0 <= metrics["test"]["roc_auc"] <= 1
    assert 0 < metrics["test"]["mean_reciprocal_rank"] <= 1


def test_dvc_shows_metrics_and_plots(clone: Path) -> None:
    table = run(clone, "dvc", "metrics", "show")
    assert "tandem" in table
    assert max(map(len, table.splitlines())) <= 120
    run(clone, "dvc", "plots", "show")
    page = (clone / "dvc_plots" / "index.html").read_text(encoding="utf-8")
    assert 'id = "dev_word_accuracy"' in page
    assert 'id = "test_word_accuracy"' in page
    assert "two_stage" in page
    assert "<script src" not in page  # it opens without a network


@pytest.fixture(scope="module")
def own(clone: Path) -> str:
    """What a repro says with two more strategies, as the docs add them: one of one's own, and one with a teacher."""
    page = (PROJECT / "docs" / "experiments.md").read_text(encoding="utf-8").replace("augmented", "two_stage")
    mine, line = re.findall(r"```yaml\n(.*?)```", page[page.index("## Strategies of your own") :], re.DOTALL)[:2]
    taught, deps = re.findall(r"```yaml\n(.*?)```", page[page.index("## Learning from predictions") :], re.DOTALL)[:2]
    assert line.strip().splitlines()[-1].strip() == "foreach: [mine]"
    entries = "".join(entry.partition("strategies:\n")[2] for entry in (mine, taught))
    entries = re.sub(r"steps: \d+", "steps: 10", entries).replace("0.5", "0.0")
    params, graph = clone / "params.yaml", clone / "dvc.yaml"
    params.write_text(params.read_text().replace("strategies:\n", f"strategies:\n{entries}", 1), encoding="utf-8")
    graph.write_text(graph.read_text().replace("foreach: []", "foreach: [mine, taught]"), encoding="utf-8")
    with pytest.raises(AssertionError, match="does not depend on models/two_stage: add that line to its `deps`"):
        run(clone, "dvc", "repro", "own@taught")
    before, stage, after = graph.read_text().partition("  own:\n")
    lines = "".join(f"        {line}\n" for line in deps.splitlines())
    with_deps = after.replace("        - models/features\n", f"        - models/features\n{lines}", 1)
    graph.write_text(before + stage + with_deps, encoding="utf-8")
    return run(clone, "dvc", "repro")


def test_strategies_of_ones_own_are_what_the_docs_say_and_train_alone(own: str, clone: Path) -> None:
    assert ran(own) == {"own@mine", "own@taught", "evaluate", "report", "publish"}
    assert "mine" in run(clone, "tandem", "compare")
    added = {("mine", None): 2, ("taught", None): 2}
    assert newest_children(clone) == added | {(other, "true"): 2 for other in STRATEGIES}
    assert run(clone, "tandem", "predict", "F AO R K", "--strategy", "mine")


def test_a_strategy_learns_from_what_its_teacher_predicts(own: str, clone: Path) -> None:
    assert "two_stage predicts" in own
    pairs = [row.split("\t") for row in (clone / "models/pseudo/taught/pairs.tsv").read_text().splitlines()]
    known = {row.split("\t")[0] for row in (clone / "data/prepared/train.tsv").read_text().splitlines()}
    assert pairs
    assert known.isdisjoint(source for source, _ in pairs)
