"""One training run: from prepared data and a plan to a run folder, watched by files, a progress bar and a log.

A run folder (models/STRATEGY/SEED) is the record of a run and all that `tandem predict` needs: network, alphabets,
history.csv with a row per look at the development data, and run.json with what the run spent and reached.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as ProgressBar

from pipeline import scoring
from pipeline.alphabet import save_alphabets
from pipeline.config import Params, flatten
from pipeline.errors import UserError
from pipeline.network import Network, save_network
from pipeline.prepared import Prepared
from pipeline.search import decode, greedy_search
from pipeline.store import StringStore
from pipeline.strategies import MODELS, phases, run_folder, sections, start
from pipeline.streams import streams
from pipeline.training import DevScore, Progress, Task, train

HISTORY = "history.csv"
RECORD = "run.json"


@dataclass(frozen=True)
class Record:
    """run.json: what a run spent and what it reached on the development data.

    updates: batches of the counted task. batches: of all tasks. symbols: target symbols trained on. seconds: in
    training and in looking at the development data. best_update: after which the kept weights stood.
    """

    strategy: str
    seed: int
    data: str
    parameters: int
    updates: int
    batches: int
    symbols: int
    seconds: float
    best_update: int
    dev_word_accuracy: float
    dev_character_error_rate: float

    @classmethod
    def load(cls, folder: Path) -> "Record":
        """Read the record of a run folder; raises `UserError` where there is none."""
        try:
            return cls(**json.loads((folder / RECORD).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise UserError(f"{folder} is not a finished training run ({error}): run `dvc repro`") from error


def save_record(record: Record, folder: Path) -> None:
    """Write run.json, the last file of a run."""
    (folder / RECORD).write_text(json.dumps(asdict(record), indent=1) + "\n", encoding="utf-8")


class DevEvaluation:
    """Greedy decoding of the development data: of its sources, or for an autoencoder of its targets."""

    def __init__(self, network: Network, prepared: Prepared, task: Task) -> None:
        self._symbols = prepared.target_alphabet.kind
        self._alphabet = prepared.target_alphabet
        self._targets = [example.target for example in prepared.dev]
        if task is Task.AUTOENCODE:
            model, strings, alphabet = network.autoencoder, self._targets, prepared.target_alphabet
            self._accepted = [frozenset([target]) for target in self._targets]
        else:
            model, strings = network.predictor, [example.source for example in prepared.dev]
            alphabet = prepared.source_alphabet
            self._accepted = [example.accepted for example in prepared.dev]
        # Running text repeats itself: each source is decoded once.
        places = {string: place for place, string in enumerate(dict.fromkeys(strings))}
        self._sources = StringStore.of(list(places), alphabet)
        self._places = [places[string] for string in strings]
        self._search = greedy_search([model], network.sizes.longest_output)

    def __call__(self) -> DevScore:
        """Decode and score with the weights as they are now."""
        written = decode(self._search, self._sources).ids[:, 0]
        decoded = [self._alphabet.decode(row) for row in written]
        predictions = [decoded[place] for place in self._places]
        scores = scoring.score(predictions, self._targets, self._accepted, self._symbols)
        return DevScore(scoring.accuracy(scores), scoring.error_rate(scores))


def run_training(
    strategy: str,
    params: Params,
    prepared: Prepared,
    seed: int,
    log: Callable[[pd.DataFrame], None] = lambda row: None,
    models: Path = MODELS,
) -> Record:
    """Train a strategy, or `pretrain`, and write its run folder; `log` sees each row of history.csv as it comes."""
    folder = run_folder(strategy, seed, models)
    network = start(strategy, params, prepared, seed, models)
    plans = phases(strategy, params)
    evaluation = DevEvaluation(network, prepared, plans[0].counted)
    looks: list[dict[str, float]] = []
    progress = Progress()
    with Watcher(f"{strategy} {seed}", sum(plan.updates for plan in plans)) as watcher:
        for plan in plans:
            batches = streams(plan, prepared, params, seed)
            for _ in train(network, plan, batches, params.training, evaluation, progress):
                watcher.show(progress)
                if progress.look:
                    looks.append(progress.look.row())
                    log(pd.DataFrame(looks[-1:]))
    if progress.best is None:
        raise UserError(f"{strategy} made no update")
    record = Record(
        strategy=strategy,
        seed=seed,
        data=prepared.digest,
        parameters=network.count_params(),
        updates=progress.update,
        batches=progress.batches,
        symbols=progress.symbols,
        seconds=round(progress.seconds, 3),
        best_update=progress.best_update,
        dev_word_accuracy=progress.best.word_accuracy,
        dev_character_error_rate=progress.best.character_error_rate,
    )
    save_network(network, folder)
    save_alphabets(folder, prepared.source_alphabet, prepared.target_alphabet)
    pd.DataFrame(looks).to_csv(folder / HISTORY, index=False, lineterminator="\n")
    save_record(record, folder)
    return record


def run_parameters(strategy: str, params: Params) -> dict[str, object]:
    """The parameters that a run depends on, by dotted name."""
    relevant = {"data", "prepare", "model", "noise", "training", *sections(strategy, params)}
    return {name: value for name, value in flatten(params).items() if name.split(".")[0] in relevant}


class Watcher:
    """A progress bar on a terminal, a line per look elsewhere."""

    def __init__(self, title: str, updates: int) -> None:
        self._title = title
        self._updates = updates
        self._state = ""
        self._terminal = sys.stderr.isatty()
        self._bar = ProgressBar(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[state]}"),
            console=Console(stderr=True),
            disable=not self._terminal,
        )
        self._line = self._bar.add_task(title, total=updates, state="")

    def __enter__(self) -> "Watcher":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def show(self, progress: Progress) -> None:
        """Move on to where training is."""
        if look := progress.look:
            losses = "  ".join(f"{task} loss {loss:.3f}" for task, loss in look.losses.items())
            self._state = f"{losses}  dev accuracy {look.dev.word_accuracy:.1%}"
            if not self._terminal:
                left = progress.seconds / progress.update * (self._updates - progress.update)
                print(f"{self._title}  {progress.update}/{self._updates}  {self._state}  {left:.0f} s left", flush=True)
        self._bar.update(self._line, completed=progress.update, state=self._state)
