"""Run folders: where each training is kept, what it depends on, and the record of what it spent and reached.

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
HISTORY = "history.csv"  # the same, byte for byte, whenever the training is done again on the same machine
TIMINGS = "timings.csv"  # what else was seen at the same looks: how long it took, what it used of the machine
METADATA = "run.json"

Row = dict[str, int | float]  # of a look: `STEP`, `SECONDS` since training began, and what was measured
STEP, SECONDS = "step", "seconds"


def run_folder(strategy: str, seed: int, models: Path = MODELS) -> Path:
    """Where a run is kept."""
    return models / strategy / str(seed)


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
    """run.json: what a run spent and what it reached on the development data.

    steps: batches of the counted task. batches: of all tasks. symbols: target symbols trained on. seconds: in
    training and in looking at the development data. best_step: after which the kept weights stood.
    """

    strategy: str
    seed: int
    data: str
    parameters: int
    steps: int
    batches: int
    symbols: int
    seconds: float
    best_step: int
    dev_word_accuracy: float
    dev_character_error_rate: float

    @classmethod
    def load(cls, folder: Path) -> "RunMetadata":
        """Read the record of a run folder; raises `UserError` where there is none."""
        try:
            return cls(**json.loads((folder / METADATA).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError, RecursionError) as error:
            raise UserError(f"{folder} is not a finished training run ({error}): run `dvc repro`") from error


def save_metadata(metadata: RunMetadata, folder: Path) -> None:
    """Write run.json, the last file of a run."""
    (folder / METADATA).write_text(json.dumps(asdict(metadata), indent=1) + "\n", encoding="utf-8")


def load_history(folder: Path) -> list[Row]:
    """The looks of history.csv, and of timings.csv if there is one, without empty cells.

    Raises `UserError` where there is none, or they do not belong together.
    """
    rows = load_rows(folder / HISTORY)
    if not (folder / TIMINGS).exists():
        return rows
    timings = load_rows(folder / TIMINGS)
    if [row.get(STEP) for row in rows] != [timing.get(STEP) for timing in timings]:
        raise UserError(f"{folder / TIMINGS} is not of the training in {folder / HISTORY}: run `dvc repro`")
    return [row | timing for row, timing in zip(rows, timings, strict=True)]


def load_rows(path: Path, remedy: str = "run `dvc repro`") -> list[Row]:
    """Rows of numbers, without empty cells; raises `UserError`, with what to do, where there are none."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return [{name: float(cell) for name, cell in row.items() if cell} for row in csv.DictReader(file)]
    except (OSError, ValueError, TypeError, csv.Error) as error:
        raise UserError(f"{path} cannot be used ({error}): {remedy}") from error
