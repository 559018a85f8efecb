"""Run folders: where each training is kept, what it depends on, and the metadata of what it spent and reached.

    models/STRATEGY/SEED/          network, alphabets, history.csv, run.json: identical bytes for identical trainings
        before_dev/                the network before it learned the pairs of dev, with `training.dev_steps`
    models/timings/STRATEGY/SEED/  timings.csv, environment.json, key.txt: what may differ where results are identical
    models/pseudo/STRATEGY/        pairs.tsv, if the strategy learns from predictions of another one

Strategies are known by name. `pretrain` is not a strategy: it is the autoencoder that some strategies start from.
"""

import csv
import json
from importlib.metadata import version
from pathlib import Path
from typing import ClassVar, Self

from pydantic import ConfigDict, TypeAdapter
from pydantic.dataclasses import dataclass

from pipeline.config.params import Params, flatten
from pipeline.errors import UserError
from pipeline.graph import code_digest
from pipeline.hashing import digest_within, joined

PRETRAIN, PSEUDO = "pretrain", "pseudo"
BEFORE_DEV = "before_dev"
MODELS = Path("models")
HISTORY = "history.csv"  # a row per evaluation on the development data
TIMINGS = "timings.csv"  # for the same evaluations: seconds, processor and memory
METADATA = "run.json"
KEY = "key.txt"  # beside the results, because code that is only written in another way gives another key

PREPARATION = ("data.", "prepare.")  # parameters of stage prepare
TRAINER = "pipeline.training.trainer"  # the module whose code decides a training
COMPUTING = ("tensorflow", "keras", "numpy")  # packages of which another version may give other numbers

Row = dict[str, int | float]  # of an evaluation: `STEP`, `SECONDS` since training began, and what was measured
STEP, SECONDS = "step", "seconds"
ACCURACY, ERROR_RATE = "dev_word_accuracy", "dev_character_error_rate"  # greedy, both fractions


def run_folder(strategy: str, seed: int, models: Path = MODELS) -> Path:
    """The folder with the results of a training."""
    return models / strategy / str(seed)


def before_dev(run: Path) -> Path:
    """The folder with the network of a run folder that did not learn dev, for what is measured or fitted there."""
    return run / BEFORE_DEV if (run / BEFORE_DEV).exists() else run


def timings_folder(strategy: str, seed: int, models: Path = MODELS) -> Path:
    """The folder with the timings and the environment of a training."""
    return models / "timings" / strategy / str(seed)


def pseudo_file(strategy: str, models: Path = MODELS) -> Path:
    """The file of the pseudo-pairs of a strategy, source and target in each row."""
    return models / PSEUDO / strategy / "pairs.tsv"


def starts_pretrained(strategy: str, params: Params) -> bool:
    """Whether a strategy starts from the autoencoder of stage `pretrain`; that one itself does not."""
    return strategy != PRETRAIN and params.strategies[strategy].is_pretrained


def run_parameters(strategy: str, params: Params) -> dict[str, object]:
    """The parameters that a training depends on, by dotted name."""
    relevant = [*PREPARATION, "model.", "noise.", "training.", f"strategies.{strategy}."]
    if strategy == PRETRAIN or starts_pretrained(strategy, params):
        relevant.append(f"{PRETRAIN}.")
    return {name: value for name, value in flatten(params).items() if name.startswith(tuple(relevant))}


def training_key(strategy: str, params: Params, data: str, seed: int, models: Path = MODELS) -> str:
    """A digest that is equal for trainings that give identical bytes on one machine.

    data: digest of the prepared data, which stands for the parameters and the code of stage prepare. Other parameters
    of the training, the code that decides it, the versions of packages and the first weights count as well.
    """
    rest = {name: value for name, value in run_parameters(strategy, params).items() if not name.startswith(PREPARATION)}
    parts = [strategy, str(seed), data, json.dumps(rest), code_digest(TRAINER)]
    if starts_pretrained(strategy, params):
        parts.append(content_digest(run_folder(PRETRAIN, seed, models)))
    if strategy != PRETRAIN and params.strategies[strategy].teacher:
        parts.append(content_digest(pseudo_file(strategy, models).parent))
    return joined(*parts, *map(version, COMPUTING))


def is_finished(strategy: str, seed: int, key: str, models: Path = MODELS) -> bool:
    """Whether the run folder holds the whole and undamaged results of the training with this key."""
    folder, timings = run_folder(strategy, seed, models), timings_folder(strategy, seed, models)
    try:
        is_key = (
            all((timings / name).is_file() for name in (KEY, TIMINGS)) and (timings / KEY).read_bytes() == key.encode()
        )
        return is_key and RunMetadata.load(folder).content == content_digest(folder)
    except UserError:
        return False


def content_digest(folder: Path) -> str:
    """A digest of all files in a run folder but run.json; raises `UserError` if there is no such folder."""
    try:
        paths = [path for place in {folder, before_dev(folder)} for path in place.iterdir()]
        files = sorted(path for path in paths if path.is_file() and path.name != METADATA)
    except OSError as error:
        raise UserError(f"{folder} cannot be read ({error.strerror}): run `dvc repro`") from error
    return digest_within(folder, files)


class JsonFile:
    """A dataclass that is the content of a file, with the same name in every folder."""

    FILE: ClassVar[str]

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read the file of a folder; raises `UserError` for anything that `save` did not write."""
        try:
            return TypeAdapter(cls).validate_json((folder / cls.FILE).read_bytes())
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "its content is not that of this version"
            raise UserError(f"{folder / cls.FILE} cannot be used ({reason}): run `dvc repro`") from error

    def save(self, folder: Path) -> None:
        """Write the file into a folder, which is made."""
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(TypeAdapter(type(self)).dump_python(self, mode="json"), indent=1, ensure_ascii=False)
        (folder / self.FILE).write_text(text + "\n", encoding="utf-8")


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class RunMetadata(JsonFile):
    """run.json: what a training spent and what it reached on the development data.

    content, data: digests of the other files, and of the prepared data. parameters: number of weights. steps, batches:
    of the counted task, and of all. symbols: of targets trained on. best_step: of the weights.
    """

    FILE: ClassVar[str] = METADATA

    strategy: str
    seed: int
    content: str
    data: str
    parameters: int
    steps: int
    batches: int
    symbols: int
    best_step: int
    dev_word_accuracy: float
    dev_character_error_rate: float


def load_history(folder: Path) -> list[Row]:
    """The rows of a run's history.csv joined with those of its timings.csv if that exists, without empty cells.

    Raises `UserError` if there is no history, or the two do not belong together.
    """
    rows = load_rows(folder / HISTORY)
    path = timings_folder(folder.parent.name, int(folder.name), folder.parents[1]) / TIMINGS
    if not path.exists():
        return rows
    timings = load_rows(path)
    if [row.get(STEP) for row in rows] != [timing.get(STEP) for timing in timings]:
        raise UserError(f"{path} does not belong to the training in {folder / HISTORY}: run `dvc repro`")
    return [row | timing for row, timing in zip(rows, timings, strict=True)]


def load_seconds(strategy: str, seed: int, models: Path = MODELS) -> float:
    """Seconds that a training took, evaluations on the development data included; raises `UserError` if unknown."""
    return float(load_rows(timings_folder(strategy, seed, models) / TIMINGS)[-1][SECONDS])


def load_rows(path: Path, remedy: str = "run `dvc repro`") -> list[Row]:
    """Rows of numbers, without empty cells; raises `UserError`, with what to do, where there are none."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return [{name: float(cell) for name, cell in row.items() if cell} for row in csv.DictReader(file)]
    except (OSError, ValueError, TypeError, csv.Error) as error:
        raise UserError(f"{path} cannot be used ({error}): {remedy}") from error
