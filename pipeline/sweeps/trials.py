"""Trials of a sweep on disk: what each depends on, where it is kept, and how it ended.

    sweeps/NAME/trials/KEY/      trial.json; the run folder STRATEGY/SEED of one that finished; or stopped.csv
    sweeps/shared/               prepared data and pretrained autoencoders, each once for all trials that agree on them

Files are the record: a trial, data or an autoencoder whose key is there is not made again. A key stands for the
parameters, the raw data, the code and the versions of what computes.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Self

from pydantic import TypeAdapter

from pipeline.config.params import Params, changed, flatten, parse_params
from pipeline.data.cmudict import find_cmudict
from pipeline.errors import UserError
from pipeline.hashing import file_digest, joined
from pipeline.keys import PREPARE_SECTIONS, code_parts, versions
from pipeline.runs.checkpoints import write_whole
from pipeline.runs.folders import (
    METADATA,
    PRETRAIN,
    SECONDS,
    STEP,
    Row,
    RunMetadata,
    load_history,
    load_rows,
    run_folder,
    run_parameters,
    starts_pretrained,
)
from pipeline.training.strategies import phases_of

SWEEPS = "sweeps"  # in the project
TRIAL, STOPPED = "trial.json", "stopped.csv"
ACCURACY, ERROR_RATE = "dev_word_accuracy", "dev_character_error_rate"


@dataclass(frozen=True)
class Trial:
    """One training of a sweep. changes: the parameters that the sweep sets and the training depends on, by name."""

    strategy: str
    seed: int
    changes: Mapping[str, Any]
    params: Params = field(repr=False)

    @classmethod
    def of(cls, strategy: str, seed: int, changes: Mapping[str, Any], params: Params) -> Self:
        """The trial with these changes to `params`; raises `ConfigError` if they cannot be used together."""
        own = changed(params, changes)
        relevant = run_parameters(strategy, own)
        return cls(strategy, seed, {name: value for name, value in changes.items() if name in relevant}, own)

    @property
    def title(self) -> str:
        """What tells it from the other trials, in words."""
        changes = (f"{name} {plain(value)}" for name, value in self.changes.items())
        return ", ".join([self.strategy, f"seed {self.seed}", *changes])

    @property
    def configuration(self) -> tuple[str, str]:
        """The same for trials that differ in their seed alone."""
        return self.strategy, json.dumps(dict(self.changes))

    @property
    def is_pretrained(self) -> bool:
        """Whether it starts from an autoencoder."""
        return starts_pretrained(self.strategy, self.params)

    @property
    def steps(self) -> int:
        """What it may spend."""
        return sum(plan.steps for plan in phases_of(self.strategy, self.params))

    @cached_property
    def same(self) -> str:
        """The same text for trials that come to the same on the same raw data."""
        return json.dumps([self.strategy, self.seed, run_parameters(self.strategy, self.params)])


class Ending(StrEnum):
    """How a trial ended."""

    FINISHED = "finished"
    STOPPED = "stopped early"


@dataclass(frozen=True)
class Result:
    """What a trial came to. steps: that it made. rows: its looks at the development data."""

    ending: Ending
    dev_word_accuracy: float
    dev_character_error_rate: float
    steps: int
    best_step: int
    seconds: float
    rows: Sequence[Row] = field(repr=False)

    @property
    def digest(self) -> str:
        """The same for the same result, wherever it is kept."""
        return joined(self.ending, json.dumps(self.rows))

    @property
    def is_finished(self) -> bool:
        """Whether it was not stopped early."""
        return self.ending is Ending.FINISHED

    @property
    def summary(self) -> str:
        """In a few words."""
        stopped = "" if self.is_finished else ", stopped early"
        return f"{self.dev_word_accuracy:.1%} after {self.best_step:,} of {self.steps:,} steps{stopped}"


@dataclass(frozen=True)
class Place:
    """A sweep's folder in a project; `root` is the project's, absolute."""

    root: Path
    name: str

    @property
    def folder(self) -> Path:
        """All that belongs to this sweep alone."""
        return self.root / SWEEPS / self.name

    @property
    def shared(self) -> Path:
        """What all sweeps of the project share."""
        return self.root / SWEEPS / "shared"

    @property
    def checkpoints(self) -> Path:
        """Of trials and pretrainings that are not over."""
        return self.shared / "checkpoints"

    def prepared(self, params: Params) -> Path:
        """The prepared data of these parameters."""
        return self.shared / "prepared" / data_key(params, self.root)

    def pretrained(self, trial: Trial) -> Path:
        """The folder of models with the autoencoder that a trial starts from."""
        parameters = json.dumps(run_parameters(PRETRAIN, trial.params))
        return self.shared / "pretrained" / joined(str(trial.seed), parameters, data_key(trial.params, self.root))

    def key(self, trial: Trial) -> str:
        """What a trial is known by, also to other sweeps."""
        return joined(trial.same, data_key(trial.params, self.root))

    def trial(self, trial: Trial) -> Path:
        """A trial's folder, which is a folder of models to its training."""
        return self.folder / "trials" / self.key(trial)


def save_trial(trial: Trial, folder: Path) -> None:
    """Write trial.json; `load_trial` reads it."""
    folder.mkdir(parents=True, exist_ok=True)
    params = TypeAdapter(Params).dump_python(trial.params, mode="json")
    content = {"strategy": trial.strategy, "seed": trial.seed, "changes": dict(trial.changes), "params": params}
    write_whole(folder / TRIAL, (json.dumps(content, indent=1) + "\n").encode())


def load_trial(folder: Path) -> Trial:
    """The inverse; raises `UserError` where there is none."""
    try:
        content = json.loads((folder / TRIAL).read_bytes())
        return Trial(content["strategy"], content["seed"], content["changes"], parse_params(content["params"]))
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise UserError(f"{folder / TRIAL} cannot be used ({error}): remove {folder}") from error


def save_stop(rows: Sequence[Row], folder: Path) -> None:
    """Write stopped.csv: a trial that was stopped early had these looks."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = [",".join(names), *(",".join(str(row.get(name, "")) for name in names) for row in rows)]
    write_whole(folder / STOPPED, "".join(f"{line}\n" for line in lines).encode())


def load_result(trial: Trial, folder: Path) -> Result | None:
    """What a trial came to; None for one that is not over."""
    run = run_folder(trial.strategy, trial.seed, folder)
    if (run / METADATA).exists():
        metadata, rows = RunMetadata.load(run), load_history(run)
        reached = metadata.dev_word_accuracy, metadata.dev_character_error_rate
        return Result(Ending.FINISHED, *reached, metadata.steps, metadata.best_step, metadata.seconds, rows)
    if (folder / STOPPED).exists():
        try:
            rows = load_rows(folder / STOPPED, remedy="remove it")
            best = max(rows, key=lambda row: row[ACCURACY])
            reached, steps, seconds = (best[ACCURACY], best[ERROR_RATE]), rows[-1][STEP], rows[-1][SECONDS]
            return Result(Ending.STOPPED, *reached, int(steps), int(best[STEP]), seconds, rows)
        except (ValueError, LookupError) as error:
            raise UserError(f"{folder / STOPPED} cannot be used ({error}): remove it") from error
    return None


def data_key(params: Params, root: Path) -> str:
    """The same for equal prepared data, and found without preparing them."""
    values = {name: value for name, value in flatten(params).items() if name.split(".")[0] in PREPARE_SECTIONS}
    files = [params.data.pairs, params.data.targets, params.data.dev, params.data.test]
    raw = [_digest(root / file) for file in files if file] or [find_cmudict()[1]]
    return joined(json.dumps(values), *raw, *_code())


def plain(value: Any) -> str:
    """A value of a parameter as it stands in YAML, without spaces."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":")).replace('"', "")


@cache
def _digest(path: Path) -> str:
    try:
        return file_digest(path)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): see `data` in params.yaml") from error


@cache
def _code() -> tuple[str, ...]:
    return (joined(*code_parts(with_preparation=True)), *versions())
