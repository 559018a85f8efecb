"""Trials of a sweep on disk: what each depends on, where it is kept, and how it ended.

    sweeps/NAME/trials/KEY/      the run folder STRATEGY/SEED of a finished trial, or stopped.csv
    sweeps/shared/               prepared data and autoencoders, each made once for all trials that agree on them

Nothing whose key exists here is made again. A key stands for the parameters, the raw data, the deciding code and the
versions of the packages that compute.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

from pipeline.config.edit import yaml_text
from pipeline.config.params import Params, changed, flatten
from pipeline.data.cmudict import find_cmudict
from pipeline.errors import UserError
from pipeline.graph import code_digest
from pipeline.hashing import file_digest, joined
from pipeline.runs import folders
from pipeline.runs.folders import ACCURACY, ERROR_RATE, PRETRAIN, SECONDS, STEP, Row, run_folder, run_parameters
from pipeline.writing import write_whole

STOPPED_CSV = "stopped.csv"  # the evaluations of a trial that was stopped early
FINISHED, STOPPED = "finished", "stopped early"  # how trials end
PREPARES = ("pipeline.data.corpus", "pipeline.data.prepared")  # the modules that prepare data


@dataclass(frozen=True)
class Trial:
    """One training of a sweep. changes: the parameters, by dotted name, that the sweep sets and the training reads."""

    strategy: str
    seed: int
    changes: Mapping[str, Any]
    params: Params = field(repr=False)

    @classmethod
    def of(cls, strategy: str, seed: int, changes: Mapping[str, Any], params: Params) -> Self:
        """Make a trial from changes to `params`; raises `ConfigError` if they contradict each other.

        Trials are compared on dev: none learns it.
        """
        params = changed(params, {"training.dev_steps": 0, **changes})
        relevant = run_parameters(strategy, params)
        return cls(strategy, seed, {name: value for name, value in changes.items() if name in relevant}, params)

    @property
    def title(self) -> str:
        """Strategy, seed and changes in words; different for all trials of a sweep."""
        changes = (f"{name} {yaml_text(value)}" for name, value in self.changes.items())
        return ", ".join([self.strategy, f"seed {self.seed}", *changes])

    @property
    def pretraining(self) -> Self | None:
        """The training of the autoencoder that the trial starts from, if any."""
        starts = folders.starts_pretrained(self.strategy, self.params)
        return replace(self, strategy=PRETRAIN, changes={}) if starts else None

    def share(self, row: Row) -> float:
        """Per cent of its steps, in all phases, that the trial has made at an evaluation."""
        return 100 * row[STEP] / self.params.strategies[self.strategy].total_steps

    @cached_property
    def identity(self) -> str:
        """A text that is equal for trials that give the same result on the same raw data."""
        return json.dumps([self.strategy, self.seed, run_parameters(self.strategy, self.params)])


@dataclass(frozen=True)
class Result:
    """The result of a trial. ending: `FINISHED` or `STOPPED`. rows: its evaluations on the development data."""

    ending: str
    rows: list[Row] = field(repr=False)

    @cached_property
    def best(self) -> Row:
        """The evaluation of the weights that were kept: as in training, of equal accuracies that with fewer errors."""
        return max(self.rows, key=lambda row: (row[ACCURACY], -row[ERROR_RATE]))

    @property
    def digest(self) -> str:
        """A hash that is equal for equal results."""
        return joined(self.ending, json.dumps(self.rows))


@dataclass(frozen=True)
class Place:
    """The folder of a sweep in a project; `root` is the project's, absolute."""

    root: Path
    name: str

    @property
    def folder(self) -> Path:
        """The folder of this sweep alone."""
        return self.root / "sweeps" / self.name

    @property
    def shared(self) -> Path:
        """The folder that all sweeps of the project share."""
        return self.root / "sweeps" / "shared"

    @property
    def checkpoints(self) -> Path:
        """The folder with the checkpoints of unfinished trials and autoencoders."""
        return self.shared / "checkpoints"

    def prepared(self, params: Params) -> Path:
        """The folder for the prepared data of these parameters; its name is their key, before they are prepared."""
        values = {name: value for name, value in flatten(params).items() if name.startswith(folders.PREPARATION)}
        files = [params.data.pairs, params.data.targets, params.data.dev, params.data.test]
        try:
            raw = [_digest(self.root / file) for file in files if file] or [find_cmudict()[1]]
        except OSError as error:
            raise UserError(f"{error.filename} cannot be read ({error.strerror}): see `data` in params.yaml") from error
        return self.shared / "prepared" / joined(json.dumps(values), *raw, _digest_of_code(*PREPARES))

    def key(self, trial: Trial) -> str:
        """The key of a trial, the same in all sweeps."""
        return joined(trial.identity, self.prepared(trial.params).name, code())

    def trial(self, trial: Trial) -> Path:
        """The folder of a trial or of a shared autoencoder, which its training uses as its folder of models."""
        folder = self.shared / "pretrained" if trial.strategy == PRETRAIN else self.folder / "trials"
        return folder / self.key(trial)


def save_stop(rows: Sequence[Row], folder: Path) -> None:
    """Write the evaluations of a trial that was stopped early."""
    import pandas as pd  # here: a mistake in the file of a sweep is reported without it

    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / STOPPED_CSV, pd.DataFrame(rows).to_csv(index=False, lineterminator="\n").encode())


def load_result(trial: Trial, folder: Path) -> Result | None:
    """Read the result of a trial from its folder; None for an unfinished one."""
    run = run_folder(trial.strategy, trial.seed, folder)
    if (run / folders.METADATA).exists():
        result = Result(FINISHED, folders.load_history(run))
    elif (folder / STOPPED_CSV).exists():
        result = Result(STOPPED, folders.load_rows(folder / STOPPED_CSV, remedy="remove it"))
    else:
        return None
    if not result.rows or any({STEP, SECONDS, ACCURACY, ERROR_RATE} - row.keys() for row in result.rows):
        raise UserError(f"the evaluations in {folder} are damaged: remove that folder")
    return result


def code() -> str:
    """A hash that is equal on machines whose code and versions give equal results."""
    return joined(_digest_of_code(*PREPARES, folders.TRAINER), *map(version, folders.COMPUTING))


_digest, _digest_of_code = cache(file_digest), cache(code_digest)
