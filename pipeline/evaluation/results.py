"""reports/runs.json: which comparison the files of models and reports make up, and what each run in it reached.

Stage evaluate writes it; with it, everything that MLflow shows can be made from files.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, TypeAdapter
from pydantic.dataclasses import dataclass as checked_dataclass

from pipeline.config.params import Params
from pipeline.errors import UserError
from pipeline.hashing import digest_of
from pipeline.keys import comparison_key, decisive_parameters
from pipeline.runs.folders import RunMetadata, run_folder

ORDER = ("supervised", "two_stage", "tandem")
FOCUS = "tandem"
COMPARISONS, ENSEMBLES, CONTROLS = "comparisons", "ensembles", "controls"  # beside the strategies in the metrics
GREEDY, BEAM = "greedy", "beam"  # orders of candidates beside the one that is evaluated
Metrics = dict[str, Any]


def strategies(metrics: Metrics) -> list[str]:
    """The names of the strategies in the metrics, in their order."""
    return [name for name in metrics if name not in (COMPARISONS, ENSEMBLES, CONTROLS)]


def rows(metrics: Metrics) -> dict[str, dict[str, Any]]:
    """What a table of accuracies shows, by its title: the controls, the strategies, and ensembles of their seeds."""
    ensembles = {ensemble_title(name): row for name, row in metrics[ENSEMBLES].items()}
    return {**metrics[CONTROLS], **{name: metrics[name] for name in strategies(metrics)}, **ensembles}


def ensemble_title(strategy: str) -> str:
    """What the row of an ensemble is called."""
    return f"{strategy}, ensemble"


def focus_of(names: Sequence[str]) -> str:
    """The strategy that verdict and examples are about: tandem, or the last one without it."""
    return FOCUS if FOCUS in names else names[-1]


def length_range(bucket: Mapping[str, Any]) -> str:
    """Shortest and longest of a bucket, in words."""
    low, high = bucket["from"], bucket["to"]
    return str(low) if low == high else f"{low} to {high}"


REPORTS = Path("reports")
RUNS = REPORTS / "runs.json"

RERANKED = "dev_rerank_accuracy"  # among the metrics of a run that has a reranker


@dataclass(frozen=True)
class TestedRun:
    """A run as it was tested.

    record: what run.json said. metrics: what it reached, under the names that they have in MLflow. predictions and
    reranker: the files of it. models: digest of the run folder and the reranker.
    """

    metadata: RunMetadata
    metrics: Mapping[str, float]
    predictions: Path
    reranker: Path
    models: str

    @property
    def folder(self) -> Path:
        """Where the run is kept."""
        return run_folder(self.metadata.strategy, self.metadata.seed)

    @property
    def dev_accuracy(self) -> float:
        """What it reached on dev: with its reranker, cross-validated, or greedily where it has none."""
        return self.metrics.get(RERANKED, self.metadata.dev_word_accuracy)

    def models_now(self) -> str:
        """The digest of its models as they are."""
        return digest_of([*sorted(self.folder.iterdir()), self.reranker])


@checked_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Outcome:
    """All runs of a comparison. key: as `comparison_key` gave it. data: digest of the prepared data."""

    key: str
    data: str
    parameters: dict[str, Any]
    runs: tuple[TestedRun, ...]

    @classmethod
    def of(cls, params: Params, data: str, runs: list[TestedRun]) -> "Outcome":
        """The outcome of what was just evaluated."""
        return cls(comparison_key(params, data), data, decisive_parameters(params), tuple(runs))

    @classmethod
    def load(cls, path: Path = RUNS) -> "Outcome":
        """Read what `save` wrote; raises `UserError` for anything else."""
        try:
            return TypeAdapter(cls).validate_json(path.read_bytes())
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "its content is not that of this version"
            raise UserError(f"{path} cannot be used ({reason}): run `dvc repro`") from error

    def save(self, path: Path = RUNS) -> None:
        """Write runs.json."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(TypeAdapter(Outcome).dump_python(self, mode="json"), indent=1) + "\n", "utf-8")

    def check(self, params: Params, data: str) -> None:
        """Raise `UserError` unless this is the outcome of these parameters, this prepared data and today's models."""
        now = decisive_parameters(params)
        for name in sorted({*now, *self.parameters}, key=[*now, *self.parameters].index):
            before, value = self.parameters.get(name), now.get(name)
            if before != value:
                raise UserError(
                    f"reports was made with {name}: {json.dumps(before)}, but params.yaml says {json.dumps(value)}: "
                    "run `dvc repro`"
                )
        if self.data != data:
            raise UserError("reports was made with other data than data/prepared now holds: run `dvc repro`")
        for run in self.runs:
            if RunMetadata.load(run.folder) != run.metadata or run.models_now() != run.models:
                raise UserError(f"{run.folder} or {run.reranker} changed since reports was made: run `dvc repro`")
