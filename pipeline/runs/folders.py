"""Run folders: where each training is kept, what it depends on, and the metadata of what it spent and reached.

    models/STRATEGY/SEED/          network, alphabets, history.csv, run.json: identical bytes for identical trainings
    models/timings/STRATEGY/SEED/  timings.csv, environment.json: what the clock and the machine said meanwhile

Strategies are known by name. `pretrain` is not a strategy: it is the autoencoder that some strategies start from.
"""

import csv
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from pipeline.config.params import Params, flatten
from pipeline.errors import UserError

PRETRAIN = "pretrain"
MODELS = Path("models")
HISTORY = "history.csv"  # a row per evaluation on the development data
TIMINGS = "timings.csv"  # for the same evaluations: seconds, processor and memory
METADATA = "run.json"

Row = dict[str, int | float]  # of an evaluation: `STEP`, `SECONDS` since training began, and what was measured
STEP, SECONDS = "step", "seconds"


def run_folder(strategy: str, seed: int, models: Path = MODELS) -> Path:
    """The folder with the results of a training."""
    return models / strategy / str(seed)


def timings_folder(strategy: str, seed: int, models: Path = MODELS) -> Path:
    """The folder with what the clock and the machine said during a training."""
    return models / "timings" / strategy / str(seed)


def starts_pretrained(strategy: str, params: Params) -> bool:
    """Whether a strategy starts from the autoencoder of stage `pretrain`; that one itself does not."""
    return strategy != PRETRAIN and params.strategies[strategy].is_pretrained


def run_parameters(strategy: str, params: Params) -> dict[str, object]:
    """The parameters that a training depends on, by dotted name."""
    relevant = ["data.", "prepare.", "model.", "noise.", "training."]
    relevant += [] if strategy == PRETRAIN else [f"strategies.{strategy}."]
    if strategy == PRETRAIN or starts_pretrained(strategy, params):
        relevant.append(f"{PRETRAIN}.")
    return {name: value for name, value in flatten(params).items() if name.startswith(tuple(relevant))}


@dataclass(frozen=True)
class RunMetadata:
    """run.json: what a training spent and what it reached on the development data.

    key: equal for trainings that give identical bytes. data: digest of the prepared data. parameters: weights of the
    network. steps: batches of the counted task. batches: of all tasks. symbols: target symbols trained on. best_step:
    the step after which the weights were kept.
    """

    strategy: str
    seed: int
    key: str
    data: str
    parameters: int
    steps: int
    batches: int
    symbols: int
    best_step: int
    dev_word_accuracy: float
    dev_character_error_rate: float

    @classmethod
    def load(cls, folder: Path) -> "RunMetadata":
        """Read run.json of a run folder; raises `UserError` if it is missing or damaged."""
        try:
            return cls(**json.loads((folder / METADATA).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError, RecursionError) as error:
            raise UserError(f"{folder} is not a finished training run ({error}): run `dvc repro`") from error


def save_metadata(metadata: RunMetadata, folder: Path) -> None:
    """Write run.json, the last file of a run."""
    (folder / METADATA).write_text(json.dumps(asdict(metadata), indent=1) + "\n", encoding="utf-8")


def load_history(folder: Path) -> list[Row]:
    """The rows of a run's history.csv joined with those of its timings.csv if that exists, without empty cells.

    Raises `UserError` if there is no history, or the two do not belong together.
    """
    rows, path = load_rows(folder / HISTORY), _timings_of(folder) / TIMINGS
    if not path.exists():
        return rows
    timings = load_rows(path)
    if [row.get(STEP) for row in rows] != [timing.get(STEP) for timing in timings]:
        raise UserError(f"{path} does not belong to the training in {folder / HISTORY}: run `dvc repro`")
    return [row | timing for row, timing in zip(rows, timings, strict=True)]


def load_seconds(strategy: str, seed: int, models: Path = MODELS) -> float:
    """Seconds that a training took, evaluations on the development data included; raises `UserError` if unknown."""
    return float(load_rows(timings_folder(strategy, seed, models) / TIMINGS)[-1][SECONDS])


def _timings_of(folder: Path) -> Path:
    return timings_folder(folder.parent.name, int(folder.name), folder.parents[1])


def load_rows(path: Path, remedy: str = "run `dvc repro`") -> list[Row]:
    """Rows of numbers, without empty cells; raises `UserError`, with what to do, where there are none."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return [{name: float(cell) for name, cell in row.items() if cell} for row in csv.DictReader(file)]
    except (OSError, ValueError, TypeError, csv.Error) as error:
        raise UserError(f"{path} cannot be used ({error}): {remedy}") from error
