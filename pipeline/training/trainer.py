"""One training: from prepared data and the phases of a strategy to a run folder.

A run folder (models/STRATEGY/SEED) is all that predicting needs and says what the training came to: network, alphabets,
history.csv with a row per evaluation, and run.json. Trainings with equal keys write identical bytes there; what depends
on clock and machine goes to the folder of timings.
"""

import logging
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from pydantic import TypeAdapter

from pipeline.config.options import Bridge, DecoderKind
from pipeline.config.params import Model, Params
from pipeline.data import scoring
from pipeline.data.alphabet import save_alphabets
from pipeline.data.prepared import Prepared
from pipeline.data.store import StringStore
from pipeline.errors import UserError
from pipeline.model.backend import keras, tf
from pipeline.model.network import Network, Sizes, load_network, save_network
from pipeline.model.search import decode, greedy_search
from pipeline.runs import folders
from pipeline.runs.checkpoints import Checkpoint, Checkpoints
from pipeline.runs.environment import Usage
from pipeline.runs.folders import ACCURACY, ERROR_RATE, MODELS, Row
from pipeline.training.loop import History, Score, TrainingLoop, TrainingSteps
from pipeline.training.noise import streams
from pipeline.training.strategies import Task, phases_of
from pipeline.training.workers import ALONE, Workers

logger = logging.getLogger(__name__)


class DevEvaluation:
    """Greedy decoding of the development data: of its sources, or for an autoencoder of its targets."""

    def __init__(self, network: Network, prepared: Prepared, task: Task) -> None:
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
        self._strings, self._different = strings, list(dict.fromkeys(strings))
        self._sources = StringStore.of(self._different, alphabet)
        self._search = greedy_search([model], network.sizes.longest_output)

    def __call__(self) -> Score:
        """Decode and score with the weights as they are now.

        Scores are ranked by accuracy, equal ones by errors: while no word is right yet, errors still fall.
        """
        ids = decode(self._search, self._sources).ids[:, 0]
        decoded = dict(zip(self._different, map(self._alphabet.decode, ids), strict=True))
        predictions = [decoded[string] for string in self._strings]
        scores = scoring.score(predictions, self._targets, self._accepted, self._alphabet.kind)
        accuracy, error_rate = scoring.accuracy(scores), scoring.error_rate(scores)
        return Score({ACCURACY: accuracy, ERROR_RATE: error_rate}, (accuracy, -error_rate))


def run_training(
    strategy: str,
    params: Params,
    prepared: Prepared,
    seed: int,
    models: Path = MODELS,
    checkpoints: Path | None = None,
    workers: Workers = ALONE,
) -> Iterator[list[Row]]:
    """Train a strategy, or `pretrain`; yields the evaluations as they come. At the end the run folder is complete.

    checkpoints: the folder that holds them; a training resumes from its own last one, and first yields all evaluations
    up to there. The caller has to iterate to the end. Raises `UserError` if the run folder cannot be written.
    workers: all of them call this; the chief alone reads and writes checkpoints, evaluates and writes the run folder. A
    worker that is alone trains on the same batches, those of all `training.workers`.
    """
    folder, timings = folders.run_folder(strategy, seed, models), folders.timings_folder(strategy, seed, models)
    key = folders.training_key(strategy, params, prepared.digest, seed, models)
    checkpoints = checkpoints if workers.is_chief else None
    with Checkpoints(checkpoints, key, f"{strategy} {seed}", params.checkpoints.seconds) as kept:
        network = start(strategy, params, prepared, seed, models)
        phases, steps = phases_of(strategy, params), TrainingSteps(network, params.training, workers)
        evaluate, usage = _of_chief(DevEvaluation(network, prepared, phases[0].counted), workers), Usage()
        history, checkpoint = History(), _agreed(kept.newest(), key, workers)
        if checkpoint:
            history = TypeAdapter(History).validate_python(checkpoint.numbers)
            if workers.is_chief:
                logger.info("%s %s resumes after step %s", strategy, seed, history.progress.step)
            yield history.rows()
        progress = history.progress

        def checkpoint_here() -> Checkpoint:
            return Checkpoint(TypeAdapter(History).dump_python(history, mode="json"), loop.arrays())

        for number in range(progress.phase, len(phases)):
            steps.start_phase()
            phase, pseudo = phases[number], folders.pseudo_file(strategy, models)
            data = prepared.with_dev() if phase.with_dev else prepared
            batches = streams(phase, data, params, seed_of_all(seed, params), pseudo)
            loop = TrainingLoop(steps, phase, batches, params.training, evaluate, progress)
            if checkpoint:
                loop.restore(checkpoint.arrays)
                checkpoint = None
            else:
                progress.start_phase(number)
            for evaluation in loop:
                if evaluation:
                    yield [history.add(evaluation, usage.row())]
                kept.save_if_due(checkpoint_here, progress.batches)
        if not workers.is_chief:
            return
        kept.save(checkpoint_here(), progress.batches)
        try:
            (folder / folders.METADATA).unlink(missing_ok=True)  # until all other files are those of this training
            shutil.rmtree(folder / folders.BEFORE_DEV, ignore_errors=True)
            _save(network, folder, prepared)
            if phases[-1].with_dev:
                network.set_weights(loop.best_weights)
                _save(network, folder / folders.BEFORE_DEV, prepared)
            history.save(folder, timings)
            metadata = folders.RunMetadata(
                strategy=strategy,
                seed=seed,
                content=folders.content_digest(folder),
                data=prepared.digest,
                parameters=network.count_params(),
                steps=progress.step,
                batches=progress.batches,
                symbols=progress.symbols,
                best_step=progress.best_step,
                **progress.best.columns,
            )
            metadata.save(folder)
            (timings / folders.KEY).write_text(key)
        except OSError as error:
            raise UserError(
                f"{folder} cannot be written ({error}): make room there; the next `dvc repro` resumes from the last "
                "checkpoint"
            ) from error
        kept.finish()


def _save(network: Network, folder: Path, prepared: Prepared) -> None:
    save_network(network, folder)
    save_alphabets(folder, prepared.source_alphabet, prepared.target_alphabet)


def start(strategy: str, params: Params, prepared: Prepared, seed: int, models: Path = MODELS) -> Network:
    """The network that a strategy starts from: the pretrained one of `seed`, or a new one, equal for all strategies.

    From here on, all randomness follows from `seed`, and from the sample of the pairs.
    """
    network = new_network(params.model, prepared, seed_of_all(seed, params))
    if folders.starts_pretrained(strategy, params):
        return load_network(folders.run_folder(folders.PRETRAIN, seed, models), network)
    return network


def seed_of_all(seed: int, params: Params) -> int:
    """The seed of weights and batches: `seed`, on a further sample of the pairs another one, below 2**31.

    So no two samples share a draw, and what differs between them is all that differs between new trainings.
    """
    return (seed + 1_000_003 * params.prepare.sample) % 2**31


def new_network(model: Model, prepared: Prepared, seed: int) -> Network:
    """An untrained network; an output has room for half as much again as the longest target of the data."""
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    longest_output = prepared.longest_target * 3 // 2 + 1
    model = replace(model, bridge=bridge_for(model, prepared))
    return Network(model, Sizes(len(prepared.source_alphabet), len(prepared.target_alphabet), longest_output))


def bridge_for(model: Model, prepared: Prepared) -> Bridge:
    """The bridge that a model asks for.

    `auto` is `vector` for a repeating decoder, `monotonic` where there are no unpaired targets, and else `attention`:
    without a list a monotonic network makes a third fewer mistakes, with one both are as good, and attention is faster.
    """
    if model.bridge is not Bridge.AUTO:
        return model.bridge
    if model.decoder is DecoderKind.REPEAT:
        return Bridge.VECTOR
    return Bridge.ATTENTION if prepared.has_list else Bridge.MONOTONIC


def _of_chief(evaluate: Callable[[], Score], workers: Workers) -> Callable[[], Score]:
    """The chief's evaluation, the same on all workers to the bit, because training stops by it."""
    if workers.count == 1:
        return evaluate
    score = TypeAdapter(Score)
    return lambda: score.validate_json(workers.from_chief(lambda: score.dump_json(evaluate())))


def _agreed(checkpoint: Checkpoint | None, key: str, workers: Workers) -> Checkpoint | None:
    """The checkpoint of the chief; raises `UserError` if the chief runs another training."""
    if workers.count == 1:
        return checkpoint
    content = workers.from_chief(lambda: key.encode() + (checkpoint.to_bytes() if checkpoint else b""))
    if content[: len(key)] != key.encode():
        raise UserError(
            f"worker {workers.index} differs from worker 0 in parameters, prepared data, first weights, code or "
            "versions of packages: give all machines the same"
        )
    return Checkpoint.from_bytes(content[len(key) :]) if content[len(key) :] else None
