"""The folder reports/evaluation: the numbers of a comparison, and which runs it consists of.

Stage `evaluate` writes it; the report and what MLflow shows are made from it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, TypeAdapter
from pydantic.dataclasses import dataclass as checked_dataclass

from pipeline.errors import UserError
from pipeline.hashing import digest_of, joined
from pipeline.runs.folders import RunMetadata, content_digest, run_folder

if TYPE_CHECKING:  # what only reads metrics and runs is quick to import
    import pandas as pd

# Sections of the metrics beside those of the strategies.
COMPARISONS, ENSEMBLES, CONTROLS, INGREDIENTS, VERDICT = (
    "comparisons",
    "ensembles",
    "controls",
    "ingredients",
    "verdict",
)
SECTIONS = (COMPARISONS, ENSEMBLES, CONTROLS, INGREDIENTS, VERDICT)
LISTED, UNLISTED = "listed_targets", "unlisted_targets"  # parts of the test set, by whether a target is unpaired, too
GREEDY, BEAM = "greedy", "beam"  # orders of candidates beside the one that is evaluated
Metrics = dict[str, Any]

REPORTS = Path("reports")
EVALUATION = REPORTS / "evaluation"
SUMMARY = REPORTS / "metrics.json"  # what `dvc metrics show` prints in a line
METRICS, RUNS, ATTENTION = "metrics.json", "runs.json", "attention.json"
TABLES = ("curves", "histories", "calibration", "confusions", "noise", "examples")
TEXT = ("strategy", "target", "written", "before", "after", "source", "result")  # columns that hold no numbers

RERANKED = "dev_rerank_accuracy"  # among the metrics of a run that has a reranker


def strategies(metrics: Metrics) -> list[str]:
    """The names of the strategies in the metrics, in the order of params.yaml."""
    return [name for name in metrics if name not in SECTIONS]


def rows(metrics: Metrics) -> dict[str, dict[str, Any]]:
    """The rows of a table of accuracies by title: the controls, the strategies, and ensembles of their seeds."""
    ensembles = {ensemble_title(name): row for name, row in metrics[ENSEMBLES].items()}
    return {**metrics[CONTROLS], **{name: metrics[name] for name in strategies(metrics)}, **ensembles}


def ensemble_title(strategy: str) -> str:
    """The title of the row of an ensemble."""
    return f"{strategy}, ensemble"


def focus_of(metrics: Metrics) -> str:
    """The strategy that the verdict, examples, confusions and attention maps are about."""
    return str(metrics[VERDICT]["focus"])


def difference(metrics: Metrics, name: str, other: str) -> dict[str, float]:
    """The paired difference of two strategies, name - other: `difference`, `low`, `high` and `p_value`."""
    if row := metrics[COMPARISONS].get(f"{name}_vs_{other}"):
        return dict(row)
    row = metrics[COMPARISONS][f"{other}_vs_{name}"]
    return row | {"difference": -row["difference"], "low": -row["high"], "high": -row["low"]}


@dataclass(frozen=True, eq=False)
class AttentionMap:
    """weights: float32 [T, S], the share of each source symbol in each symbol written; rows sum to 1."""

    source: tuple[str, ...]
    written: tuple[str, ...]
    weights: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class EvaluationResults:
    """All that a comparison shows, without anything measured by the clock.

    metrics: as `comparison.compare` computes them. curves and histories: dev word accuracy by step, the mean of each
    strategy (a column each) and that of each run (columns strategy, seed, step, dev_word_accuracy). calibration,
    confusions, noise, examples: the tables of `comparison.calibration_table`, `confusions.confusions`,
    `LearnedNoise.rewrites` and `examples.examples`. attention: maps of the strategy in focus; empty if the bridge is a
    vector.
    """

    metrics: Metrics
    curves: "pd.DataFrame"
    histories: "pd.DataFrame"
    calibration: "pd.DataFrame"
    confusions: "pd.DataFrame"
    noise: "pd.DataFrame"
    examples: "pd.DataFrame"
    attention: Sequence[AttentionMap] = ()

    def save(self, folder: Path = EVALUATION, summary: Path = SUMMARY) -> None:
        """Write metrics.json, attention.json and a CSV file for each table, and the small metrics for DVC beside it.

        accuracy.csv and by_length.csv repeat numbers of the metrics for `dvc plots`.
        """
        folder.mkdir(parents=True, exist_ok=True)
        accuracies = {name: round(self.metrics[name]["word_accuracy"]["mean"], 4) for name in strategies(self.metrics)}
        for path, content in ((folder / METRICS, self.metrics), (summary, accuracies)):
            text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
            path.write_text(text + "\n", encoding="utf-8", newline="\n")
        maps = [asdict(one) | {"weights": one.weights.round(4).astype(float).tolist()} for one in self.attention]
        (folder / ATTENTION).write_text(json.dumps(maps) + "\n", encoding="utf-8")  # ASCII, as any symbol may occur
        tables = {name: getattr(self, name) for name in TABLES}
        for name, table in (tables | _tables(self.metrics)).items():
            table.to_csv(folder / f"{name}.csv", index=False, lineterminator="\n")

    @classmethod
    def load(cls, folder: Path = EVALUATION) -> "EvaluationResults":
        """Read what `save` wrote; raises `UserError` for anything else."""
        metrics = load_metrics(folder)
        try:
            maps = [
                AttentionMap(tuple(one["source"]), tuple(one["written"]), np.array(one["weights"], np.float32))
                for one in json.loads((folder / ATTENTION).read_text(encoding="utf-8"))
            ]
            return cls(metrics, **{name: _read(folder / f"{name}.csv") for name in TABLES}, attention=maps)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{folder} cannot be used ({error}): run `dvc repro`") from error


def load_metrics(folder: Path = EVALUATION) -> Metrics:
    """Read the metrics that `EvaluationResults.save` wrote; raises `UserError` for anything else."""
    path = folder / METRICS
    try:
        metrics: Metrics = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"no comparison in {path} ({error}): run `dvc repro`") from error
    if not isinstance(metrics, dict) or not set(SECTIONS) < set(metrics):
        raise UserError(f"{path} is not a comparison by this version: run `dvc repro`")
    return metrics


def accuracy_table(metrics: Metrics) -> "pd.DataFrame":
    """One row per strategy, ensemble and control: word accuracy as a fraction, and its interval."""
    import pandas as pd

    return pd.DataFrame([{"strategy": name} | _flat(row) for name, row in rows(metrics).items()])


def _tables(metrics: Metrics) -> dict[str, "pd.DataFrame"]:
    import pandas as pd

    by_length = [
        {"strategy": name, "from": bucket["from"], "to": bucket["to"], "items": bucket["items"]} | _flat(bucket)
        for name in strategies(metrics)
        for bucket in metrics[name]["by_source_length"]
    ]
    return {"accuracy": accuracy_table(metrics), "by_length": pd.DataFrame(by_length)}


def _flat(part: dict[str, Any]) -> dict[str, float]:
    interval = part["word_accuracy"]
    return {"word_accuracy": interval["mean"], "low": interval["low"], "high": interval["high"]}


def _read(path: Path) -> "pd.DataFrame":
    """A table in which text stays text, though it may look like a number or a missing value."""
    import pandas as pd

    if path.stem == "curves":  # any column may be a strategy there, whatever its name
        return pd.read_csv(path, float_precision="round_trip")
    columns = pd.read_csv(path, nrows=0).columns
    types = {name: str for name in columns if name in TEXT or name.endswith("_prediction")}
    return pd.read_csv(path, dtype=types, keep_default_na=False, float_precision="round_trip")


@dataclass(frozen=True)
class EvaluatedRun:
    """A run as it was evaluated.

    metadata: the run.json of then. metrics: what it reached, under the names that they have in MLflow. predictions and
    reranker: its files. models: the digest of then, as `digest_now` computes it.
    """

    metadata: RunMetadata
    metrics: Mapping[str, float]
    predictions: Path
    reranker: Path
    models: str

    @property
    def folder(self) -> Path:
        """The run folder."""
        return run_folder(self.metadata.strategy, self.metadata.seed)

    @property
    def dev_accuracy(self) -> float:
        """Word accuracy on dev: with the reranker, cross-validated, or greedy if there is none."""
        return self.metrics.get(RERANKED, self.metadata.dev_word_accuracy)

    def digest_now(self) -> str:
        """The digest of the training's results and of the reranker as they are now."""
        return joined(content_digest(self.folder), digest_of([self.reranker]))


@checked_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class EvaluatedRuns:
    """runs.json: all runs of a comparison.

    data: digest of the prepared data. parameters: by dotted name, those that decide the comparison; parameters of the
    matcher, which takes no part in it, are ignored.
    """

    data: str
    parameters: dict[str, Any]
    runs: tuple[EvaluatedRun, ...]

    @classmethod
    def load(cls, folder: Path = EVALUATION) -> "EvaluatedRuns":
        """Read what `save` wrote; raises `UserError` for anything else."""
        path = folder / RUNS
        try:
            return TypeAdapter(cls).validate_json(path.read_bytes())
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "its content is not that of this version"
            raise UserError(f"{path} cannot be used ({reason}): run `dvc repro`") from error

    def save(self, folder: Path = EVALUATION) -> None:
        """Write runs.json."""
        folder.mkdir(parents=True, exist_ok=True)
        content = TypeAdapter(EvaluatedRuns).dump_python(self, mode="json")
        (folder / RUNS).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

    def check(self, parameters: Mapping[str, Any], data: str) -> None:
        """Raise `UserError` unless these are the deciding parameters, the prepared data and the models of now."""
        for name in dict.fromkeys([*parameters, *self.parameters]):
            before, now = self.parameters.get(name), parameters.get(name)
            if before != now and not name.startswith("matcher."):
                raise UserError(
                    f"reports was made with {name}: {json.dumps(before)}, but params.yaml says {json.dumps(now)}: "
                    "run `dvc repro`"
                )
        if self.data != data:
            raise UserError("reports was made with other data than data/prepared now holds: run `dvc repro`")
        for run in self.runs:
            if run.digest_now() != run.models:
                raise UserError(f"{run.folder} or {run.reranker} changed since reports was made: run `dvc repro`")
