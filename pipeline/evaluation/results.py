"""The folder reports/evaluation: the numbers of a comparison, and which runs it consists of.

Stage `evaluate` writes it; the report and what MLflow shows are made from it.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass as checked_dataclass

from pipeline.errors import UserError
from pipeline.hashing import digest_of, joined
from pipeline.runs.folders import JsonFile, RunMetadata, content_digest, run_folder

if TYPE_CHECKING:  # what only reads metrics and runs is quick to import
    import pandas as pd

# Sections of the metrics beside those of the strategies.
COMPARISONS, ENSEMBLES, CONTROLS = "comparisons", "ensembles", "controls"
PAIRS, VERDICT = "pairs", "verdict"
SECTIONS = (COMPARISONS, ENSEMBLES, CONTROLS, PAIRS, "ingredients", VERDICT)
BETTER, WORSE, UNDECIDED = "better", "worse", "not told apart"  # answers about a difference
Metrics = dict[str, Any]

REPORTS = Path("reports")
EVALUATION = REPORTS / "evaluation"
SUMMARY = REPORTS / "metrics.json"  # what `dvc metrics show` prints in a line
METRICS, RUNS, ATTENTION = "metrics.json", "runs.json", "attention.json"
TABLES = ("curves", "histories", "calibration", "coverage", "confusions", "noise", "examples")
TEXT = ("strategy", "target", "written", "before", "after", "source", "result")  # columns that hold no numbers

RERANKED = "dev_rerank_accuracy"  # among the metrics of a run that has a reranker
# Further orders of the candidates: by a reranker that never errs, and by one that does without the list.
ORACLE, WITHOUT_LIST = "oracle", "without_list"


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


def ranked(metrics: Metrics) -> list[str]:
    """The strategies by accuracy, the best first; of equally good ones that in focus."""
    names, focus = strategies(metrics), focus_of(metrics)
    return sorted(names, key=lambda name: (-metrics[name]["word_accuracy"]["mean"], name != focus))


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
    confusions, noise, examples: the tables of `comparison.calibration_table`, `mistakes.confusions`,
    `LearnedNoise.rewrites` and `mistakes.examples`. coverage: `coverage.coverage_table` of the strategy in focus.
    attention: maps of the strategy in focus; empty if the bridge is a vector.
    """

    metrics: Metrics
    curves: "pd.DataFrame"
    histories: "pd.DataFrame"
    calibration: "pd.DataFrame"
    coverage: "pd.DataFrame"
    confusions: "pd.DataFrame"
    noise: "pd.DataFrame"
    examples: "pd.DataFrame"
    attention: Sequence[AttentionMap] = ()

    def save(self, folder: Path = EVALUATION, summary: Path = SUMMARY) -> None:
        """Write the results, parts of the metrics as tables for `dvc plots`, and a summary for `dvc metrics`."""
        folder.mkdir(parents=True, exist_ok=True)
        names = strategies(self.metrics)
        accuracies = {name: round(self.metrics[name]["word_accuracy"]["mean"], 4) for name in names}
        maps = [asdict(one) | {"weights": one.weights.round(4).astype(float).tolist()} for one in self.attention]
        for path, content in ((folder / METRICS, self.metrics), (summary, accuracies), (folder / ATTENTION, maps)):
            text = json.dumps(content, indent=None if content is maps else 2, allow_nan=False)
            path.write_text(text + "\n", encoding="utf-8", newline="\n")
        buckets = [(name, bucket) for name in names for bucket in self.metrics[name]["by_source_length"]]
        tables = {name: getattr(self, name) for name in TABLES}
        tables |= {"accuracy": accuracy_table(self.metrics), "by_length": _flat(buckets, "from", "to", "items")}
        for name, table in tables.items():
            table.to_csv(folder / f"{name}.csv", index=False, lineterminator="\n")

    @classmethod
    def load(cls, folder: Path = EVALUATION) -> "EvaluationResults":
        """Read what `save` wrote; raises `UserError` for anything else."""
        import pandas as pd

        metrics = load_metrics(folder)
        # Text stays text, though it may look like a number or a missing value. In curves.csv a strategy may have the
        # name of a column of text, and means may be missing.
        text = dict.fromkeys([*TEXT, *(f"{name}_prediction" for name in strategies(metrics))], str)
        kinds: dict[str, Any] = {name: {"dtype": text, "keep_default_na": False} for name in TABLES} | {"curves": {}}
        try:
            read: Any = partial(pd.read_csv, float_precision="round_trip")
            tables = {name: read(folder / f"{name}.csv", **options) for name, options in kinds.items()}
            maps = [
                AttentionMap(tuple(one["source"]), tuple(one["written"]), np.array(one["weights"], np.float32))
                for one in json.loads((folder / ATTENTION).read_text(encoding="utf-8"))
            ]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{folder} cannot be used ({error}): run `dvc repro`") from error
        return cls(metrics, **tables, attention=maps)


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
    return _flat(rows(metrics).items())


def _flat(parts: Iterable[tuple[str, Metrics]], *columns: str) -> "pd.DataFrame":
    import pandas as pd

    interval = {"word_accuracy.mean": "word_accuracy", "word_accuracy.low": "low", "word_accuracy.high": "high"}
    table = pd.json_normalize([{"strategy": name, **part} for name, part in parts]).rename(columns=interval)
    return table[["strategy", *columns, *interval.values()]]


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
    def dev_accuracy(self) -> float:
        """Word accuracy on dev: with the reranker, cross-validated, or greedy if there is none."""
        return self.metrics.get(RERANKED, self.metadata.dev_word_accuracy)

    def digest_now(self) -> str:
        """The digest of the training's results and of the reranker as they are now."""
        metadata = self.metadata
        return joined(content_digest(run_folder(metadata.strategy, metadata.seed)), digest_of([self.reranker]))


@checked_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class EvaluatedRuns(JsonFile):
    """runs.json: all runs of a comparison.

    data: digest of the prepared data. parameters: by dotted name, those that decide the comparison; parameters of the
    matcher, which takes no part in it, are ignored.
    """

    FILE: ClassVar[str] = RUNS

    data: str
    parameters: dict[str, Any]
    runs: tuple[EvaluatedRun, ...]

    def check(self, parameters: Mapping[str, Any], data: str) -> None:
        """Raise `UserError` unless these are the deciding parameters, the prepared data and the models of now."""
        for name in dict.fromkeys([*parameters, *self.parameters]):
            before, now = self.parameters.get(name), parameters.get(name)
            if before != now and not name.startswith("matcher."):
                change = f"{name}: {json.dumps(before)}, but params.yaml says {json.dumps(now)}"
                raise UserError(f"reports was made with {change}: run `dvc repro`")
        if self.data != data:
            raise UserError("reports was made with other data than data/prepared now holds: run `dvc repro`")
        for run in self.runs:
            if run.digest_now() != run.models:
                folder = run_folder(run.metadata.strategy, run.metadata.seed)
                raise UserError(f"{folder} or {run.reranker} changed since reports was made: run `dvc repro`")
