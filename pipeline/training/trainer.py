"""One training run: from prepared data and the plans of a strategy to a run folder.

A run folder (models/STRATEGY/SEED) is the record of a run and all that `tandem predict` needs: network, alphabets,
history.csv and timings.csv with a row per look at the development data, and run.json with what it spent and reached.
"""

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pandas as pd
from pydantic import TypeAdapter

from pipeline.config.params import Params
from pipeline.data import scoring
from pipeline.data.alphabet import save_alphabets
from pipeline.data.prepared import Prepared
from pipeline.data.store import StringStore
from pipeline.errors import UserError
from pipeline.hashing import file_digest, joined
from pipeline.keys import code_parts, versions
from pipeline.model.network import WEIGHTS, Network, save_network
from pipeline.model.search import decode, greedy_search
from pipeline.runs.checkpoints import Checkpoint, Checkpoints
from pipeline.runs.environment import Usage
from pipeline.runs.folders import (
    HISTORY,
    MODELS,
    PRETRAIN,
    SECONDS,
    STEP,
    TIMINGS,
    Row,
    RunMetadata,
    run_folder,
    run_parameters,
    save_metadata,
    starts_pretrained,
)
from pipeline.training.loop import DevScore, Look, Progress, Tally, TrainingLoop
from pipeline.training.noise import streams
from pipeline.training.strategies import Task, phases_of, start
from pipeline.training.workers import ALONE, Workers


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


@dataclass
class State:
    """What a training has come to, besides the arrays of its phase; a checkpoint says it in JSON."""

    phase: int = 0
    progress: Progress = field(default_factory=Progress)
    tally: Tally = field(default_factory=lambda: Tally(began=0))
    history: list[Row] = field(default_factory=list)
    timings: list[Row] = field(default_factory=list)
    symbols_at_last_look: int = 0

    def rows(self) -> list[Row]:
        """All looks, each with its timing."""
        return [look | timing for look, timing in zip(self.history, self.timings, strict=True)]

    def note(self, look: Look, usage: Row) -> None:
        """Add a look at this moment."""
        symbols, seconds = self.progress.symbols - self.symbols_at_last_look, self.progress.seconds
        passed = seconds - (self.timings[-1][SECONDS] if self.timings else 0.0)
        self.symbols_at_last_look = self.progress.symbols
        row = look.row()
        self.history.append(row)
        speed = {SECONDS: round(seconds, 3), "symbols_per_second": round(symbols / passed, 1)}
        self.timings.append({STEP: row[STEP], **speed, **usage})

    def checkpoint(self, phase: TrainingLoop) -> Checkpoint:
        """To go on from here."""
        return Checkpoint(TypeAdapter(State).dump_python(self, mode="json"), phase.arrays())


def run_training(
    strategy: str,
    params: Params,
    prepared: Prepared,
    seed: int,
    models: Path = MODELS,
    checkpoints: Path | None = None,
    workers: Workers = ALONE,
) -> Iterator[list[Row]]:
    """Train a strategy, or `pretrain`; gives the looks as they come, and in the end the run folder stands.

    checkpoints: the folder where they are kept; from one of this very training it goes on, and gives first all looks
    up to there. Whoever calls it has to iterate to the end. Raises `UserError` if the run folder cannot be written.
    workers: all of them call it; the chief alone reads and writes checkpoints, looks at the development data and writes
    the run folder. One that is alone trains on the same batches, all of `training.workers`.
    """
    folder = run_folder(strategy, seed, models)
    key = training_key(strategy, params, prepared.digest, seed, models)
    checkpoints = checkpoints if workers.is_chief else None
    with Checkpoints(checkpoints, key, f"{strategy} {seed}", params.checkpoints.seconds) as kept:
        network = start(strategy, params, prepared, seed, models)
        phases = phases_of(strategy, params)
        evaluation, usage = _of_chief(DevEvaluation(network, prepared, phases[0].counted), workers), Usage()
        state, saved = State(), _agreed(kept.newest(), key, workers)
        if saved:
            state = TypeAdapter(State).validate_python(saved.numbers)
            if workers.is_chief:
                print(f"{strategy} {seed} goes on after step {state.progress.step}", file=sys.stderr)
            yield state.rows()
        for place, plan in list(enumerate(phases))[state.phase :]:
            batches = streams(plan, prepared, params, seed)
            phase = TrainingLoop(network, plan, batches, params.training, evaluation, state.progress, workers)
            if saved:
                phase.restore(state.tally, saved.arrays)
                saved = None
            state.phase, state.tally = place, phase.tally
            for progress in phase:
                if progress.look:
                    state.note(progress.look, usage.row())
                    yield state.rows()[-1:]
                    progress.look = None
                kept.save_if_due(partial(state.checkpoint, phase), progress.batches)
        if not workers.is_chief:
            return
        kept.save(state.checkpoint(phase), state.progress.batches)
        try:
            _save(network, state, strategy, prepared, seed, folder)
        except OSError as error:
            raise UserError(
                f"{folder} cannot be written ({error}): make room there; the next `dvc repro` goes on from here"
            ) from error
        kept.finish()


def training_key(strategy: str, params: Params, data: str, seed: int, models: Path) -> str:
    """The same for trainings that come to the same."""
    start_weights = run_folder(PRETRAIN, seed, models) / WEIGHTS
    parts = [strategy, str(seed), data, json.dumps(run_parameters(strategy, params)), *code_parts()]
    if starts_pretrained(strategy, params) and start_weights.exists():
        parts.append(file_digest(start_weights))
    return joined(*parts, *versions())


def _of_chief(evaluate: Callable[[], DevScore], workers: Workers) -> Callable[[], DevScore]:
    """The same on all workers to the bit, because training stops by it."""
    if workers.count == 1:
        return evaluate

    def look() -> bytes:
        score = evaluate()
        return json.dumps([score.word_accuracy, score.character_error_rate]).encode()

    return lambda: DevScore(*json.loads(workers.from_chief(look)))


def _agreed(saved: Checkpoint | None, key: str, workers: Workers) -> Checkpoint | None:
    """What the chief goes on from; raises `UserError` if it is at another training."""
    if workers.count == 1:
        return saved
    content = workers.from_chief(lambda: key.encode() + (saved.to_bytes() if saved else b""))
    if content[: len(key)] != key.encode():
        raise UserError(
            f"worker {workers.index} differs from worker 0 in parameters, prepared data, first weights, code or "
            "versions of packages: give all machines the same"
        )
    return Checkpoint.from_bytes(content[len(key) :]) if content[len(key) :] else None


def _save(network: Network, state: State, strategy: str, prepared: Prepared, seed: int, folder: Path) -> None:
    progress = state.progress
    if progress.best is None:
        raise UserError(f"{strategy} made no step")
    save_network(network, folder)
    save_alphabets(folder, prepared.source_alphabet, prepared.target_alphabet)
    for name, rows in ((HISTORY, state.history), (TIMINGS, state.timings)):
        pd.DataFrame(rows).to_csv(folder / name, index=False, lineterminator="\n")
    metadata = RunMetadata(
        strategy=strategy,
        seed=seed,
        data=prepared.digest,
        parameters=network.count_params(),
        steps=progress.step,
        batches=progress.batches,
        symbols=progress.symbols,
        seconds=round(progress.seconds, 3),
        best_step=progress.best_step,
        dev_word_accuracy=progress.best.word_accuracy,
        dev_character_error_rate=progress.best.character_error_rate,
    )
    save_metadata(metadata, folder)
