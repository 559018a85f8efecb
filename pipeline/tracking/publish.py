"""Publication: MLflow gets what it lacks of the comparison in the files; what it holds already stays.

A comparison is identified by its inputs and its outputs. While it trains, only the inputs are known: the parent run has
no hash of outputs yet. If publication finds that the outputs are those of an existing comparison (a training was
repeated with the same result), that one is completed, and the unfinished parent is deleted as a duplicate.
"""

import contextlib
import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.config.params import Params, flatten
from pipeline.data.prepared import Prepared
from pipeline.evaluation import results
from pipeline.evaluation.results import EVALUATION, REPORTS, EvaluatedRun, EvaluatedRuns
from pipeline.hashing import digest_of, joined
from pipeline.runs import folders
from pipeline.runs.environment import ENVIRONMENT, Environment
from pipeline.runs.folders import HISTORY, MODELS, PRETRAIN, STEP, TIMINGS
from pipeline.runs.groups import RunGroup, decisive_parameters
from pipeline.tracking.client import OUTPUTS, PUBLISHED, TRAINED, ExistingRun, alone, project_root, tracking_uri
from pipeline.tracking.runs import Child, Comparison, data_sets
from pipeline.tracking.sqlite import ARTIFACTS, database_of
from pipeline.writing import write_whole

if TYPE_CHECKING:  # publishing what is complete already does without pandas
    import pandas as pd

LAYOUT = "3"  # another one when other things are published from the same files
MATCHER_HISTORY = MODELS / "matcher" / HISTORY
STAMP = Path(".dvc") / "tmp" / "tandem-published"  # in the project: what was complete, and in which store
TEXT = ("source", "target", "also", "prediction")  # columns of predictions that are no numbers
UNKNOWN = ("log_probability", "confidence")  # columns of numbers that may be empty


class Manifest:
    """The digests of what the runs of a comparison show in MLflow when all of it is published.

    outputs: of all networks, rerankers and test predictions. parent: of all. children: of each child run.
    """

    def __init__(self, params: Params, evaluated: EvaluatedRuns) -> None:
        self.params, self.runs = params, evaluated.runs
        predictions = [run.predictions for run in self.runs]
        files = (path for path in REPORTS.rglob("*") if path.is_file() and not path.name.startswith("."))
        self.reports = sorted(set(files) - set(predictions))
        self.outputs = joined(*(run.models for run in self.runs), digest_of(predictions))
        self.children = {_child_of(run): _digest(run, params) for run in self.runs}
        shown = digest_of([*self.reports, MATCHER_HISTORY]), params.tracking.experiment, params.tracking.model
        self.parent = joined(LAYOUT, self.outputs, *self.children.values(), *shown)

    def is_shown_by(self, parent: ExistingRun, children: Sequence[ExistingRun]) -> bool:
        """Whether a parent run and its children are complete, and each child exists once."""
        shown = sorted(run.child for run in children if run.shows(self.children.get(run.child, "")))
        return parent.shows(self.parent) and len(children) == len(shown) and shown == sorted(self.children)


def publish(params: Params) -> bool:
    """Complete the comparison of the files in MLflow; whether everything is in it now.

    Raises `UserError` if the files do not belong to these parameters, or not to each other. A failure of MLflow is
    logged as a warning.
    """
    evaluated, data = EvaluatedRuns.load(EVALUATION), Prepared.open().digest
    evaluated.check(decisive_parameters(params), data)
    manifest, root = Manifest(params, evaluated), project_root()
    with contextlib.suppress(OSError):  # a store that is as it was when all was published needs no import of MLflow
        if (root / STAMP).read_bytes() == _stamp(root, manifest.parent):
            return True
    with alone(root, "publish"):  # two processes that look for what is missing at once would both add it
        comparison = Comparison(params, data, Environment.here(), manifest.outputs)
        connection = comparison.connection
        parents, children = connection.parents(), connection.children(comparison.run_id)
        ours = [run for run in parents if run.run_id == comparison.run_id]
        if ours and not manifest.is_shown_by(ours[0], children):
            _complete(comparison, manifest, children)
        for run in parents:
            if OUTPUTS not in run.tags and run not in ours:
                connection.delete_parent(run.run_id)
        if connection.is_open:
            with contextlib.suppress(OSError):  # the next publication asks MLflow again
                write_whole(root / STAMP, _stamp(root, manifest.parent))
        return connection.is_open


def _complete(comparison: Comparison, manifest: Manifest, children: Sequence[ExistingRun]) -> None:
    """Add what is missing: runs, what they hold, and models; then the comparison is finished."""
    from pipeline.tracking.models import publish_models  # here, because it takes seconds

    params, shown, accuracies = manifest.params, {}, {}
    sets, with_reranking = data_sets(), data_sets(use_of_targets="reranking")
    for run in manifest.runs:
        strategy, seed = _child_of(run)
        existing = [child for child in children if child.child == (strategy, seed)]
        is_trained = len(existing) == 1 and existing[0].was_trained_as(run.metadata.content)
        child = Child(comparison.connection, existing[0].run_id) if is_trained else comparison.restore(strategy, seed)
        if not (is_trained and existing[0].shows(manifest.children[strategy, seed])):
            # With a strategy that trains on pairs alone, only the reranker reads unpaired targets.
            child.log_data(sets if params.strategies[strategy].ingredients else with_reranking)
            _fill(child, run, params)
            child.set_tags({TRAINED: run.metadata.content, PUBLISHED: manifest.children[strategy, seed]})
        if not is_trained:
            child.finish()
        group = RunGroup(strategy, (seed,))
        shown[group], accuracies[group] = child, run.dev_accuracy
    comparison.log_data(sets)
    _fill_parent(comparison, params, manifest.reports)
    if comparison.connection.is_open:
        publish_models(params, shown, accuracies)
    if comparison.connection.is_open:
        comparison.set_tags({PUBLISHED: manifest.parent, OUTPUTS: manifest.outputs})
        comparison.finish()


def _child_of(run: EvaluatedRun) -> tuple[str, int]:
    return run.metadata.strategy, run.metadata.seed


def _digest(run: EvaluatedRun, params: Params) -> str:
    """A digest of what is published of a run."""
    strategy, seed = _child_of(run)
    pretraining = [folders.run_folder(PRETRAIN, seed) / HISTORY] if params.strategies[strategy].is_pretrained else []
    return joined(LAYOUT, run.models, digest_of([run.predictions, *pretraining]), json.dumps(dict(run.metrics)))


def _fill(child: Child, run: EvaluatedRun, params: Params) -> None:
    """Add to a child what is known only after its training."""
    strategy, seed = _child_of(run)
    stages = [strategy, *([PRETRAIN] if params.strategies[strategy].is_pretrained else [])]
    seconds = sum(folders.load_seconds(stage, seed) for stage in stages)
    child.log_parameters({name: value for name, value in flatten(params).items() if name.startswith("decoding.")})
    child.log_metrics({**run.metrics, "seconds": seconds}, step=run.metadata.steps)
    child.log_table(read_predictions(run.predictions), "predictions.json")
    child.log_artifact(run.predictions)
    child.log_artifact(run.reranker, "reranker")
    if (environment := folders.timings_folder(strategy, seed) / ENVIRONMENT).exists():
        child.log_artifact(environment)


def _fill_parent(comparison: Comparison, params: Params, reports: Sequence[Path]) -> None:
    """Add to the parent run the numbers of the comparison, the curve of the matcher and all reports."""
    import pandas as pd

    from pipeline.report.tables import escape, of_samples, table, verdict

    metrics = results.load_metrics()
    shown: dict[str, Any] = {"matcher": json.loads((REPORTS / "matcher.json").read_text(encoding="utf-8"))}
    for title, row in results.rows(metrics).items():
        means = {name: row[name]["mean"] for name in ("word_accuracy", "character_error_rate")}
        by_order = {f"{order}_accuracy": interval["mean"] for order, interval in row["by_order"].items()}
        shown[title.replace(", ", "_")] = {**means, **by_order, "calibration_error": row["calibration_error"]}
    for name, paired in metrics[results.COMPARISONS].items():
        shown[name] = {measure: paired[measure] for measure in ("difference", "p_value")}
        shown[name]["two_level"] = {measure: paired["two_level"][measure] for measure in ("p_value", "probability")}
    flat = pd.json_normalize(shown, sep="_").select_dtypes("number")  # {"test": {"auc": 0.9}} becomes test_auc
    comparison.log_metrics({str(name): column[0] for name, column in flat.items()})
    path = MODELS / "timings" / "matcher" / TIMINGS
    timings = {row[STEP]: row for row in folders.load_rows(path)} if path.exists() else {}
    rows = [row | timings.get(row[STEP], {}) for row in folders.load_rows(MATCHER_HISTORY)]
    comparison.log_history(rows, prefix="matcher_")
    for report in reports:
        folder = report.relative_to(REPORTS).parent
        comparison.log_artifact(report, folder.as_posix() if folder.name else None)
    if comparison.run_id:  # the UI shows the description, its first lines unless asked for more
        page = f"{comparison.connection.page_of(comparison.run_id)}/artifacts/index.html"
        sentences = [verdict(metrics), *filter(None, [of_samples(params)])]
        description = f"[Report]({page}): {escape(' '.join(sentences))}\n\n{table(metrics)}"
        comparison.set_tags({"mlflow.note.content": description})


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


def _stamp(root: Path, published: str) -> bytes:
    """A digest of published content and the local store; raises OSError if the store is a server or missing."""
    uri = tracking_uri(root)
    if (database := database_of(uri)) is None:
        raise FileNotFoundError(uri)
    artifacts = sorted(folder.name for folder in (root / ARTIFACTS).glob("*"))
    file = database.stat()
    return joined(published, uri, str(file.st_size), str(file.st_mtime_ns), *artifacts).encode()
