"""Publication: MLflow gets what it lacks of the comparison in the files; what it holds already stays.

A comparison is identified by its inputs and its outputs. While it trains, only the inputs are known: the parent run has
no hash of outputs yet. If publication finds that the outputs are those of an existing comparison (a training was
repeated with the same result), that one is completed, and the unfinished parent is deleted as a duplicate.
"""

import contextlib
import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.config.params import Params, flatten
from pipeline.data.prepared import TARGETS, Prepared
from pipeline.evaluation.results import (
    COMPARISONS,
    CONTROLS,
    ENSEMBLES,
    REPORTS,
    EvaluatedRun,
    EvaluatedRuns,
    Metrics,
    load_metrics,
    strategies,
)
from pipeline.report.tables import escape, table, verdict
from pipeline.runs.checkpoints import write_whole
from pipeline.runs.environment import ENVIRONMENT, Environment
from pipeline.runs.folders import (
    MODELS,
    PRETRAIN,
    STEP,
    TIMINGS,
    Row,
    load_rows,
    load_seconds,
    starts_pretrained,
    timings_folder,
)
from pipeline.runs.groups import RunGroup, decisive_parameters
from pipeline.tracking.client import OUTPUTS, PUBLISHED, TRAINED, ExistingRun, alone, project_root, tracking_uri
from pipeline.tracking.manifest import MATCHER_HISTORY, Manifest
from pipeline.tracking.runs import Child, Comparison, DataSet, data_sets
from pipeline.tracking.sqlite import database_of, local_folder

if TYPE_CHECKING:  # publishing what is complete already does without pandas
    import pandas as pd

STAMP = Path(".dvc") / "tmp" / "tandem-published.json"  # in the project: what was complete, and in which store
TABLE = "predictions.json"
TEXT = ("source", "target", "also", "prediction")  # columns of predictions that are no numbers
UNKNOWN = ("log_probability", "confidence")  # columns of numbers that may be empty


def publish(params: Params) -> bool:
    """Complete the comparison of the files in MLflow; whether everything is in it now.

    Raises `UserError` if the files do not belong to these parameters, or not to each other. A failure of MLflow is
    logged as a warning.
    """
    evaluated, data = EvaluatedRuns.load(), Prepared.open().digest
    evaluated.check(decisive_parameters(params), data)
    manifest, root = Manifest(params, evaluated), project_root()
    if _is_stamped(root, manifest):
        return True
    with alone(root, "publish"):  # two processes that look for what is missing at once would both add it
        comparison = Comparison(params, data, Environment.here())
        connection = comparison.connection
        existing = connection.parents()
        same = [run for run in existing if run.tags.get(OUTPUTS) == manifest.outputs]
        if same:
            comparison.run_id = same[0].run_id
        else:
            comparison.resume()
        children = connection.children(comparison.run_id)
        if connection.is_open and not (same and manifest.is_shown_by(same[0], children)):
            _complete(comparison, manifest, children)
        for run in existing:
            if OUTPUTS not in run.tags and run.run_id != comparison.run_id:
                connection.delete_parent(run.run_id)
        complete = [run for run in connection.parents() if run.run_id == comparison.run_id]
        complete += connection.children(comparison.run_id)
        if connection.is_open:
            _stamp(root, manifest, complete)
        return connection.is_open


def _complete(comparison: Comparison, manifest: Manifest, children: Sequence[ExistingRun]) -> None:
    """Add what is missing: runs, what they hold, and models; then the comparison is finished."""
    from pipeline.tracking.models import publish_models  # here, because it takes seconds

    sets = list(data_sets())
    shown, accuracies = {}, {}
    for run in manifest.evaluated.runs:
        strategy, seed = run.metadata.strategy, run.metadata.seed
        existing = [child for child in children if child.child == (strategy, seed)]
        is_trained = len(existing) == 1 and existing[0].was_trained_as(run.metadata.content)
        child = Child(comparison.connection, existing[0].run_id) if is_trained else comparison.restore(strategy, seed)
        if not (is_trained and existing[0].shows(manifest.children[strategy, seed])):
            _fill(child, manifest, run, sets)
        if not is_trained:
            child.finish()
        group = RunGroup(strategy, (seed,))
        shown[group], accuracies[group] = child, run.dev_accuracy
    _fill_parent(comparison, manifest, sets)
    if comparison.connection.is_open:
        publish_models(manifest.params, shown, accuracies)
    if comparison.connection.is_open:
        comparison.set_tags({PUBLISHED: manifest.parent, OUTPUTS: manifest.outputs})
        comparison.finish()


def _fill(child: Child, manifest: Manifest, run: EvaluatedRun, sets: Sequence[DataSet]) -> None:
    """Add to a child what is known only after its training."""
    strategy, seed = run.metadata.strategy, run.metadata.seed
    stages = [strategy, *([PRETRAIN] if starts_pretrained(strategy, manifest.params) else [])]
    seconds = sum(load_seconds(stage, seed) for stage in stages)
    parameters = flatten(manifest.params)
    child.log_parameters({name: value for name, value in parameters.items() if name.startswith("decoding.")})
    child.log_metrics({**run.metrics, "seconds": seconds}, step=run.metadata.steps)
    child.log_data(_as_used(sets, strategy, manifest.params))
    child.log_table(read_predictions(run.predictions), TABLE)
    child.log_artifact(run.predictions)
    child.log_artifact(run.reranker, "reranker")
    if (environment := timings_folder(strategy, seed) / ENVIRONMENT).exists():
        child.log_artifact(environment)
    child.set_tags({TRAINED: run.metadata.content, PUBLISHED: manifest.children[strategy, seed]})


def _fill_parent(comparison: Comparison, manifest: Manifest, sets: Sequence[DataSet]) -> None:
    """Add to the parent run the numbers of the comparison, the curve of the matcher and all reports."""
    metrics = load_metrics()
    comparison.log_parameters(flatten(manifest.params))
    comparison.log_metrics(dict(_parent_metrics(metrics)))
    comparison.log_metrics(numbers(json.loads((REPORTS / "matcher.json").read_text(encoding="utf-8")), "matcher"))
    comparison.log_history(_matcher_history(), prefix="matcher_")
    comparison.log_data(sets)
    for path in manifest.report_files():
        folder = path.relative_to(REPORTS).parent
        comparison.log_artifact(path, folder.as_posix() if folder.name else None)
    description = f"{escape(verdict(metrics))}\n\n{table(metrics)}"  # the UI shows it first
    comparison.set_tags({"mlflow.note.content": description})


def _as_used(sets: Sequence[DataSet], strategy: str, params: Params) -> list[DataSet]:
    """The data sets in use; with a strategy that trains on pairs alone, only its reranker reads unpaired targets."""
    settings = params.strategies[strategy]
    if settings.is_pretrained or set(settings.tasks) != {"paired"}:
        return list(sets)
    return [replace(data, context="reranking") if data.path.name == TARGETS else data for data in sets]


def read_predictions(path: Path) -> "pd.DataFrame":
    """The content of a file of predictions, numbers that JSON does not have as NaN.

    The prediction is the second column: by the first the UI groups what several runs have in the second.
    """
    import pandas as pd

    # Rows end at a line feed alone, and text may be anything else, such as `NA`.
    kinds: Any = {"dtype": dict.fromkeys(TEXT, str), "na_values": dict.fromkeys(UNKNOWN, ""), "keep_default_na": False}
    table = pd.read_csv(path, sep="\t", quoting=csv.QUOTE_NONE, lineterminator="\n", **kinds)
    table.insert(1, "prediction", table.pop("prediction"))
    return table


def _matcher_history() -> list[Row]:
    path = MODELS / "timings" / "matcher" / TIMINGS
    timings = {row[STEP]: row for row in load_rows(path)} if path.exists() else {}
    return [row | timings.get(row[STEP], {}) for row in load_rows(MATCHER_HISTORY)]


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
    for name, paired in metrics[COMPARISONS].items():
        yield f"{name}_difference", paired["difference"]
        yield f"{name}_p_value", paired["p_value"]


def numbers(content: Mapping[str, Any], prefix: str) -> dict[str, float]:
    """The numbers in nested mappings under one name each: `{"test": {"roc_auc": 0.9}}` -> `PREFIX_test_roc_auc`."""
    import pandas as pd

    flat = pd.json_normalize(dict(content), sep="_").select_dtypes("number")
    return {f"{prefix}_{name}": float(column[0]) for name, column in flat.items()}


def _is_stamped(root: Path, manifest: Manifest) -> bool:
    """Whether the local store is as it was when the same comparison was complete; spares the import of MLflow."""
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
        stamp = json.loads((root / STAMP).read_text(encoding="utf-8"))
        folders, state = stamp.pop("artifacts"), _state(root, manifest)
        return bool(state) and stamp == state and all(Path(folder).is_dir() for folder in folders)
    return False


def _stamp(root: Path, manifest: Manifest, runs: Sequence[ExistingRun]) -> None:
    """Note the state of a local store in which these runs are complete."""
    with contextlib.suppress(OSError):  # the next publication asks MLflow again
        if state := _state(root, manifest):
            folders = [str(folder) for run in runs if (folder := local_folder(run.artifacts))]
            write_whole(root / STAMP, json.dumps({**state, "artifacts": folders}).encode())


def _state(root: Path, manifest: Manifest) -> dict[str, str | int]:
    """The published content and the state of the local store; empty if the store is a server or missing."""
    uri = tracking_uri(root)
    if (database := database_of(uri)) is None:
        return {}
    file = database.stat()
    return {"published": manifest.parent, "store": uri, "size": file.st_size, "modified_ns": file.st_mtime_ns}
