"""A project as a whole `dvc repro` leaves it but for MLflow, made in a second: `small_project` with reports."""

import json
from pathlib import Path
from typing import Any

from pipeline.config.params import load_params
from pipeline.data.prepared import Prepared
from pipeline.evaluation.comparison import RunResult, compare
from pipeline.evaluation.evaluate import score, tested_run
from pipeline.evaluation.results import REPORTS, Outcome
from pipeline.report.report import write_predictions
from pipeline.runs.environment import Environment
from pipeline.runs.folders import run_folder
from pipeline.runs.groups import RunGroup
from pipeline.tracking.manifest import MATCHER_HISTORY
from tests.support.small_project import RUNS, make_project

RIGHT = RunGroup("tandem", (0,))  # the only run whose prediction is right
REPORTED = {"comparison.md", "index.html", "matcher.json", "metrics.json", "predictions", "prepare.json", "runs.json"}


def make_reported_project(folder: Path) -> None:
    """Write params.yaml, data/prepared, models/ and reports/; the current folder has to be `folder`."""
    make_project(folder)
    environment = Environment.here()
    for group in RUNS:
        environment.save(run_folder(group.strategy, group.seeds[0]))
    MATCHER_HISTORY.parent.mkdir()
    MATCHER_HISTORY.write_text("step,loss,dev_score,seconds\n10,3.0,0.25,1.0\n20,2.0,0.5,2.0\n", encoding="utf-8")
    report()


def report() -> None:
    """Write reports/, as stage evaluate does after models were trained."""
    prepared = Prepared.open()
    results = {group: _result(group, prepared) for group in RUNS}
    for group, result in results.items():
        write_predictions(REPORTS / group.predictions, result, prepared.test)
    (REPORTS / "predictions" / "tandem-ensemble.tsv").write_text("of no single run\n", encoding="utf-8")
    metrics = compare(list(results.values()), seen=[False], source_lengths=[1], resamples=100)
    for name, content in (
        ("metrics.json", json.dumps(metrics)),
        ("matcher.json", json.dumps({"encoder": "conv", "test": {"roc_auc": 0.75}})),
        ("prepare.json", "{}"),
        ("comparison.md", "# Comparison\n"),
        ("index.html", "<!doctype html><title>Comparison</title>\n"),
    ):
        (REPORTS / name).write_text(content, encoding="utf-8")
    tested = [tested_run(group, result, REPORTS) for group, result in results.items()]
    Outcome.of(load_params(), prepared.digest, tested).save()


def _result(group: RunGroup, prepared: Prepared) -> RunResult:
    (item,) = prepared.test
    predictions = [item.target if group == RIGHT else "wrong"]
    scores = score(predictions, prepared)
    spent: dict[str, Any] = {"steps": 12, "paired_steps": 10, "seconds": 1.5}
    known: dict[str, Any] = {"log_probabilities": [-0.5], "confidences": [0.625]}
    return RunResult(
        group.strategy,
        group.seeds[0],
        [item.source],
        [item.target],
        predictions,
        scores,
        **spent,
        **known,
    )
