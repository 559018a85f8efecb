"""A project as a whole `dvc repro` leaves it except for MLflow, made in a second: `small_project` with reports."""

import json
from contextlib import chdir
from pathlib import Path
from typing import Any

from pipeline.config.params import load_params
from pipeline.data.prepared import Prepared
from pipeline.evaluation.comparison import RunResult, compare
from pipeline.evaluation.evaluate import evaluated_run, score, write_predictions
from pipeline.evaluation.metrics import Resampling
from pipeline.evaluation.results import EVALUATION, REPORTS, EvaluatedRuns
from pipeline.runs.environment import Environment
from pipeline.runs.folders import TIMINGS, timings_folder
from pipeline.runs.groups import RunGroup, decisive_parameters
from pipeline.tracking.publish import MATCHER_HISTORY
from tests.support.made_up import evaluation
from tests.support.small_project import RUNS, make_project

RIGHT = RunGroup("tandem", (0,))  # the only run with a right prediction
REPORTED = {"comparison.md", "evaluation", "index.html", "matcher.json", "metrics.json", "predictions", "prepare.json"}


def make_reported_project(folder: Path) -> None:
    """Write params.yaml, data/prepared, models/ and reports/ into `folder`."""
    make_project(folder)
    with chdir(folder):
        _train_and_report()


def _train_and_report() -> None:
    environment = Environment.here()
    for group in RUNS:
        timings = timings_folder(group.strategy, group.seeds[0])
        timings.mkdir(parents=True)
        environment.save(timings)
        (timings / TIMINGS).write_text("step,seconds\n10,1.5\n", encoding="utf-8")
    MATCHER_HISTORY.parent.mkdir()
    MATCHER_HISTORY.write_text("step,loss,dev_score\n10,3.0,0.25\n20,2.0,0.5\n", encoding="utf-8")
    report()


def report() -> None:
    """Write reports/, as stages evaluate and report do after models were trained."""
    prepared = Prepared.open()
    results = {group: _result(group, prepared) for group in RUNS}
    for group, result in results.items():
        write_predictions(REPORTS / group.predictions, result, prepared.test)
    (REPORTS / "predictions" / "tandem-ensemble.tsv").write_text("of no single run\n", encoding="utf-8")
    runs, strategies = list(results.values()), load_params().strategies
    metrics = compare(runs, listed=[False], source_lengths=[1], settings=strategies, resampling=Resampling(100))
    evaluation(runs, metrics).save()
    for name, content in (
        ("matcher.json", json.dumps({"encoder": "conv", "test": {"roc_auc": 0.75}})),
        ("prepare.json", "{}"),
        ("comparison.md", "# Comparison\n"),
        ("index.html", "<!doctype html><title>Comparison</title>\n"),
    ):
        (REPORTS / name).write_text(content, encoding="utf-8")
    evaluated = tuple(evaluated_run(group, result) for group, result in results.items())
    EvaluatedRuns(prepared.digest, decisive_parameters(load_params()), evaluated).save(EVALUATION)


def _result(group: RunGroup, prepared: Prepared) -> RunResult:
    (item,) = prepared.test
    predictions = [item.target if group == RIGHT else "wrong"]
    scores = score(predictions, prepared)
    spent: dict[str, Any] = {"steps": 12, "paired_steps": 10}
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
