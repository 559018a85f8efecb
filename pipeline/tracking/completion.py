"""Completing a comparison in MLflow from its files: what is missing there is added, what is there stays."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.config.params import flatten
from pipeline.data.prepared import TARGETS
from pipeline.evaluation.results import (
    COMPARISONS,
    CONTROLS,
    ENSEMBLES,
    REPORTS,
    EvaluatedRun,
    Metrics,
    load_metrics,
    strategies,
)
from pipeline.report.tables import escape, table, verdict
from pipeline.runs.environment import ENVIRONMENT, Environment
from pipeline.runs.folders import load_history, run_parameters
from pipeline.runs.groups import RunGroup
from pipeline.tracking.manifest import MATCHER_HISTORY, Manifest
from pipeline.tracking.registry import publish_models
from pipeline.tracking.runs import Child, Comparison, DataSet, data_sets
from pipeline.tracking.tags import CHILD, KIND, PUBLISHED, TRAINED, training_digest

TABLE = "predictions.json"
TEXT = ("source", "target", "also", "prediction")  # columns of predictions that are no numbers


def complete(comparison: Comparison, manifest: Manifest) -> None:
    """Add what is missing: runs, what they hold, and models; then the comparison is finished."""
    stored = [run for run in comparison.connection.runs() if run.tags.get(KIND) == CHILD]
    sets = list(data_sets())
    children, accuracies = {}, {}
    for run in manifest.outcome.runs:
        strategy, seed = run.metadata.strategy, run.metadata.seed
        published = manifest.children[strategy, seed]
        there = [found for found in stored if found.child == (strategy, seed)]
        if len(there) == 1 and there[0].shows(published):
            child = Child(comparison.connection, there[0].run_id)
        elif len(there) == 1 and there[0].was_trained_as(training_digest(run.folder)):
            child = Child(comparison.connection, there[0].run_id)
            _fill(child, manifest, run, sets)
        else:
            child = _restored(comparison, manifest, run)
            _fill(child, manifest, run, sets)
            child.finish()
        group = RunGroup(strategy, (seed,))
        children[group], accuracies[group] = child, run.dev_accuracy
    _fill_parent(comparison, manifest, sets)
    if comparison.connection.is_open:
        publish_models(manifest.params, children, accuracies)
    if comparison.connection.is_open:
        comparison.set_tags({PUBLISHED: manifest.parent})
        comparison.finish()


def _restored(comparison: Comparison, manifest: Manifest, run: EvaluatedRun) -> Child:
    """A run made from its files."""
    pretraining = manifest.pretraining(run)
    return comparison.restore(
        run.metadata.strategy,
        run.metadata.seed,
        run_parameters(run.metadata.strategy, manifest.params),
        Environment.load(run.folder),
        load_history(run.folder),
        load_history(pretraining) if pretraining else [],
    )


def _fill(child: Child, manifest: Manifest, run: EvaluatedRun, sets: Sequence[DataSet]) -> None:
    """Add to a run what was found after its training."""
    parameters = flatten(manifest.params)
    child.log_parameters({name: value for name, value in parameters.items() if name.startswith("decoding.")})
    child.log_metrics(run.metrics, step=run.metadata.steps)
    child.log_data(_as_used(sets, run.metadata.strategy))
    child.log_table(*read_predictions(run.predictions), TABLE)
    child.log_artifact(run.predictions)
    child.log_artifact(run.reranker, "reranker")
    if (environment := run.folder / ENVIRONMENT).exists():
        child.log_artifact(environment)
    digests = {
        TRAINED: training_digest(run.folder),
        PUBLISHED: manifest.children[run.metadata.strategy, run.metadata.seed],
    }
    child.set_tags(digests)


def _fill_parent(comparison: Comparison, manifest: Manifest, sets: Sequence[DataSet]) -> None:
    """Add to the parent run the numbers of the comparison, the curve of the matcher and all reports."""
    comparison.log_parameters(flatten(manifest.params))
    metrics = load_metrics()
    comparison.log_metrics(dict(_parent_metrics(metrics)))
    comparison.log_metrics(numbers(json.loads((REPORTS / "matcher.json").read_text(encoding="utf-8")), "matcher"))
    comparison.log_history(load_history(MATCHER_HISTORY.parent), prefix="matcher_")
    comparison.log_data(sets)
    for path in manifest.report_files():
        folder = path.relative_to(REPORTS).parent
        comparison.log_artifact(path, folder.as_posix() if folder.name else None)
    comparison.set_description(f"{escape(verdict(metrics))}\n\n{table(metrics)}")


def _as_used(sets: Sequence[DataSet], strategy: str) -> list[DataSet]:
    """Without unpaired targets a supervised network is trained, not its reranker."""
    return [
        replace(found, context="reranking") if strategy == "supervised" and found.path.name == TARGETS else found
        for found in sets
    ]


def read_predictions(path: Path) -> tuple[list[str], list[list[Any]]]:
    """The columns and the rows of a file of predictions.

    The prediction stands second: by the first column the UI groups what several runs have in the second.
    """
    # Rows end at a line feed alone, whatever else is in a text.
    header, *lines = (line.split("\t") for line in path.read_bytes().decode().removesuffix("\n").split("\n"))
    columns = list(dict.fromkeys(["source", "prediction", *header]))
    rows = [dict(zip(header, line, strict=True)) for line in lines]
    return columns, [[row[name] if name in TEXT else _value(row[name]) for name in columns] for row in rows]


def _value(cell: str) -> float | bool | None:
    """A number or truth value; None for what JSON cannot say."""
    if cell in ("True", "False"):
        return cell == "True"
    return float(cell) if cell and math.isfinite(float(cell)) else None


def _parent_metrics(metrics: Metrics) -> Iterator[tuple[str, float]]:
    """The means of each row of the table, and the differences."""
    shown = {name: metrics[name] for name in strategies(metrics)}
    shown |= {f"{name}_ensemble": row for name, row in metrics[ENSEMBLES].items()}
    for name, row in (shown | metrics[CONTROLS]).items():
        yield f"{name}_word_accuracy", row["word_accuracy"]["mean"]
        yield f"{name}_character_error_rate", row["character_error_rate"]["mean"]
        for order, interval in row["by_order"].items():
            yield f"{name}_{order}_accuracy", interval["mean"]
        if row["calibration_error"] is not None:
            yield f"{name}_calibration_error", row["calibration_error"]
    for name, found in metrics[COMPARISONS].items():
        yield f"{name}_difference", found["difference"]
        yield f"{name}_p_value", found["p_value"]


def numbers(content: Mapping[str, Any], prefix: str) -> dict[str, float]:
    """The numbers in nested mappings under one name each: `{"test": {"roc_auc": 0.9}}` -> `PREFIX_test_roc_auc`."""
    flat: dict[str, float] = {}
    for name, value in content.items():
        if isinstance(value, Mapping):
            flat |= numbers(value, f"{prefix}_{name}")
        elif isinstance(value, int | float):
            flat[f"{prefix}_{name}"] = value
    return flat
