"""What a finished comparison adds to MLflow: missing children from their files, test metrics, the report."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline import scoring
from pipeline.comparison import COMPARISONS, CONTROLS, ENSEMBLES, Metrics, RunResult, calibration_error, strategies
from pipeline.config import Params, flatten
from pipeline.records import PRETRAIN, needs_pretraining, run_folder, run_parameters
from pipeline.reranker import Reranker
from pipeline.rerankers import RunGroup
from pipeline.summary import table, verdict
from pipeline.tracking import Comparison, Tracker, numbers


def publish(
    comparison: Comparison, params: Params, results: Mapping[RunGroup, RunResult], metrics: Metrics, reports: Path
) -> None:
    """Complete the comparison from its results, its metrics and the files in the folder `reports`."""
    for group, result in results.items():
        predictions = reports / group.predictions
        if group.is_ensemble:
            comparison.log_artifact(predictions, predictions.parent.name)
        else:
            child = publish_child(comparison, params, group)
            child.log_parameters(
                {name: value for name, value in flatten(params).items() if name.startswith("decoding.")}
            )
            child.log_metrics(metrics_on_test(result) | dev_gain(group), step=result.paired_updates)
            child.log_artifact(predictions)
            child.log_artifact(group.reranker, "reranker")
    for name in strategies(metrics):
        comparison.log_metrics(accuracies(name, metrics[name]))
    for name, row in metrics[ENSEMBLES].items():
        comparison.log_metrics(accuracies(f"{name}_ensemble", row))
    for name, row in metrics[CONTROLS].items():
        comparison.log_metrics(accuracies(name, row))
    for name, found in metrics[COMPARISONS].items():
        comparison.log_metrics({f"{name}_difference": found["difference"], f"{name}_p_value": found["p_value"]})
    matcher = json.loads((reports / "matcher.json").read_text(encoding="utf-8"))  # by stage matcher
    comparison.log_metrics(numbers(matcher, "matcher"))
    for path in sorted(reports.iterdir()):
        if path.is_file():
            comparison.log_artifact(path)
    comparison.set_description(f"{verdict(metrics)}\n\n{table(metrics)}")


def publish_child(comparison: Comparison, params: Params, group: RunGroup) -> Tracker:
    """The child of a single run: the one that its stage made while training, or one from the files."""
    strategy, (seed,) = group.strategy, group.seeds
    return comparison.publish_child(
        strategy,
        seed,
        run_folder(strategy, seed),
        run_parameters(strategy, params),
        reused=True,
        pretraining=run_folder(PRETRAIN, seed) if needs_pretraining(strategy, params) else None,
    )


def metrics_on_test(result: RunResult) -> dict[str, float]:
    """What a run reached on the test set and what it spent, under the names of its child's metrics."""
    error = calibration_error([result])
    return {
        "test_word_accuracy": scoring.accuracy(result.scores),
        "test_character_error_rate": scoring.error_rate(result.scores),
        **{f"test_{order}_accuracy": float(right.mean()) for order, right in result.orders.items()},
        **({} if error is None else {"test_calibration_error": error}),
        "updates": result.updates,
        "seconds": result.seconds,
    }


def dev_gain(group: RunGroup) -> dict[str, float]:
    """By how much a reranker raises the accuracy on the development data, cross-validated."""
    reranker = Reranker.load(group.reranker)
    if reranker.accuracy is None or reranker.own_accuracy is None:
        return {}
    return {"dev_rerank_gain": reranker.accuracy - reranker.own_accuracy}


def accuracies(name: str, row: Mapping[str, Any]) -> dict[str, float]:
    """The means of a row of the table, under the names of the parent's metrics."""
    found = {f"{name}_word_accuracy": row["word_accuracy"]["mean"]}
    found |= {f"{name}_{order}_accuracy": interval["mean"] for order, interval in row["by_order"].items()}
    if row["calibration_error"] is not None:
        found[f"{name}_calibration_error"] = row["calibration_error"]
    return found
