"""The training loop, which strategies and the matcher share: batches, steps, evaluations on the development data.

A loop trains one phase. It owns the order of tasks, the learning-rate schedule, early stopping and the best weights.
Whatever watches it (files, checkpoints, progress bar, MLflow) does so from outside, between two steps.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.config.params import Decay, Training
from pipeline.data.alphabet import END, PADDING
from pipeline.errors import UserError
from pipeline.model.backend import keras, tf
from pipeline.model.layers import Dropout
from pipeline.model.network import Network
from pipeline.runs.folders import HISTORY, SECONDS, STEP, TIMINGS, Row
from pipeline.training.strategies import Phase, Task
from pipeline.training.workers import ALONE, Workers

Array = NDArray[Any]
Loss = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]  # of source ids and target ids
Losses = Callable[[tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]


class Steps:
    """A Keras model, its optimizer, and for each task a compiled step on a batch, which changes both.

    Source: Kingma and Ba 2015, "Adam: a method for stochastic optimization".
    """

    def __init__(self, model: Any, settings: Training, summed: Callable[[list[Any]], list[Any]] = list) -> None:
        """summed: gradients and loss of the whole batch, from those of the part that this process computes."""
        self.model, self.settings, self._summed = model, settings, summed
        self.optimizer = keras.optimizers.Adam(settings.learning_rate)
        self.optimizer.build(model.trainable_variables)
        self.compiled: dict[Task, Callable[..., Any]] = {}

    def start_phase(self) -> None:
        """Begin with an optimizer that has seen nothing; the steps stay compiled."""
        for variable in self.optimizer.variables:
            variable.assign(tf.zeros_like(variable))

    def __call__(self, task: Task, inputs: Any, aims: Any, rate: float) -> tuple[float, float]:
        """Train on the two arrays of a batch at a learning rate -> loss and gradient norm before clipping."""
        loss, norm = self.compiled[task](inputs, aims, rate)
        return float(loss), float(norm)

    def compile(self, losses_of: Losses, variables: list[Any], aims: tf.DType = tf.int32) -> Callable[..., Any]:
        """A step that changes `variables`. losses_of: gives the loss to report and the one to lower."""
        ids, aims_of_ids = tf.TensorSpec([None, None], tf.int32), tf.TensorSpec([None, None], aims)

        @tf.function(input_signature=[ids, aims_of_ids, tf.TensorSpec([], tf.float32)], autograph=False)
        def step(inputs: tf.Tensor, aims: tf.Tensor, rate: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            with tf.GradientTape() as tape:
                loss, objective = losses_of(inputs, aims)
            gradients = tape.gradient(objective, [variable.value for variable in variables])
            *gradients, loss = self._summed([*gradients, loss])
            gradients, norm = tf.clip_by_global_norm(gradients, self.settings.clip_norm)
            self.optimizer.learning_rate.assign(rate)
            self.optimizer.apply(gradients, variables)
            return loss, norm

        return step


@dataclass(frozen=True)
class Score:
    """A result on the development data.

    columns: what was measured, under its names in history.csv. rank: what scores are compared by, number by number,
    the higher the better.
    """

    columns: Mapping[str, float] = field(default_factory=dict)
    rank: tuple[float, ...] = ()


@dataclass
class Progress:
    """The state of a training, apart from weights and optimizer; a checkpoint holds it as JSON."""

    step: int = 0
    batches: int = 0  # of all tasks
    symbols: int = 0
    seconds: float = 0.0  # in steps and evaluations, not in whatever watches
    best_step: int = 0
    best: Score = Score()
    phase: int = 0  # number of the current phase
    steps_before: int = 0  # in earlier phases
    position: int = 0  # batches in the current phase
    without_progress: int = 0  # evaluations in a row, in the current phase
    losses: dict[Task, list[float]] = field(default_factory=dict)  # since the last evaluation, as are the norms
    norms: list[float] = field(default_factory=list)

    def start_phase(self, phase: int) -> None:
        """Begin a phase: patience starts anew, the best score stays."""
        self.phase, self.steps_before, self.position, self.without_progress = phase, self.step, 0, 0


class TrainingLoop:
    """One phase of a training; iterate over it once. In the end the model holds the weights with the best score.

    Training stops after `phase.steps` steps, or after `settings.patience` evaluations in a row without a better score.
    A phase that learns dev scores nothing: in the end the model holds its last weights, and `best_weights` are those
    that the phase began with.
    Iterating raises `UserError` when a loss is no longer a number.
    """

    def __init__(
        self,
        steps: Steps,
        phase: Phase,
        streams: Mapping[Task, Any],
        settings: Training,
        evaluate: Callable[[], Score],
        progress: Progress | None = None,
        section: str = "training",
    ) -> None:
        """streams: for each task batch number k at [k], two arrays and their number of `symbols` (`batches.Batch`).

        progress: of a training whose best weights the model holds, updated in place; None begins one. section: of
        params.yaml, whose settings an error names.
        """
        self.progress = progress or Progress()
        self._steps, self._phase, self._streams = steps, phase, streams
        self._settings, self._evaluate, self._section = settings, evaluate, section
        self._variables = [*steps.model.variables, *steps.optimizer.variables]
        self.best_weights: list[Array] = steps.model.get_weights()

    def __iter__(self) -> Iterator[Row | None]:
        """Train; gives after each step the row of history.csv about the evaluation that followed it, or None.

        Losses, by task, and the gradient norm (before clipping) are means per batch since the evaluation before.
        """
        settings, phase, progress = self._settings, self._phase, self.progress
        batches = _batches(phase.tasks, self._streams, progress.position)
        step = progress.step - progress.steps_before
        while step < phase.steps and progress.without_progress < settings.patience:
            started = time.perf_counter()
            rate = learning_rate(settings, step, phase.steps)
            for task, batch in batches:
                loss, norm = self._steps(task, batch[0], batch[1], rate)
                if not math.isfinite(loss):
                    raise UserError(
                        f"the loss of task '{task}' became {loss} at step {progress.step + 1}: "
                        f"lower {self._section}.learning_rate (now {settings.learning_rate})"
                    )
                progress.batches += 1
                progress.position += 1
                progress.symbols += batch.symbols
                progress.losses.setdefault(task, []).append(loss)
                progress.norms.append(norm)
                if task is phase.counted:
                    break
            progress.step += 1
            step += 1
            is_due = progress.step % settings.evaluate_every == 0 or step == phase.steps
            evaluation = self._evaluation(rate) if is_due else None
            progress.seconds += time.perf_counter() - started
            yield evaluation
        if not phase.with_dev:
            self._steps.model.set_weights(self.best_weights)

    def _evaluation(self, rate: float) -> Row:
        progress, score = self.progress, Score() if self._phase.with_dev else self._evaluate()
        progress.without_progress += not self._phase.with_dev
        if score.rank > progress.best.rank:
            progress.best, progress.best_step, progress.without_progress = score, progress.step, 0
            self.best_weights = self._steps.model.get_weights()
        losses = {f"loss_{task}": sum(each) / len(each) for task, each in progress.losses.items()}
        norm = float(np.mean(progress.norms))
        progress.losses, progress.norms = {}, []
        return {STEP: progress.step, **losses, **score.columns, "learning_rate": rate, "gradient_norm": norm}

    def arrays(self) -> dict[str, Array]:
        """All that `restore` needs besides the progress: weights, optimizer, random states, best weights."""
        arrays = [*map(np.array, self._variables), *self.best_weights]
        return {str(place): each for place, each in enumerate(arrays)}

    def restore(self, arrays: Mapping[str, Array]) -> None:
        """Resume where `arrays` was called between two steps, with the progress of that time."""
        values = list(arrays.values())
        for variable in self._variables:
            variable.assign(values.pop(0))
        self.best_weights = values


def _batches(tasks: Sequence[Task], streams: Mapping[Task, Any], first: int) -> Iterator[tuple[Task, Any]]:
    """The batches of a cycle of tasks from position `first` on, endless; a thread prepares the next during a step."""

    def prepare(position: int) -> tuple[Task, Any]:
        cycle, place = divmod(position, len(tasks))
        task = tasks[place]
        return task, streams[task][cycle * tasks.count(task) + tasks[:place].count(task)]

    with ThreadPoolExecutor(max_workers=1) as worker:
        upcoming = worker.submit(prepare, first)
        for position in count(first + 1):
            ready = upcoming.result()
            upcoming = worker.submit(prepare, position)
            yield ready


def learning_rate(settings: Training, step: int, steps: int) -> float:
    """The rate of the step that follows `step` finished ones: linear warm-up, then constant or cosine to zero."""
    warm = min(1.0, (step + 1) / (settings.warmup + 1))
    if settings.decay is Decay.CONSTANT:
        return settings.learning_rate * warm
    return settings.learning_rate * warm * 0.5 * (1.0 + math.cos(math.pi * step / steps))


@dataclass
class History:
    """The state of a training with the rows of history.csv and timings.csv: one of each for every evaluation."""

    progress: Progress = field(default_factory=Progress)
    evaluations: list[Row] = field(default_factory=list)
    timings: list[Row] = field(default_factory=list)
    symbols: int = 0  # trained on up to the last evaluation

    def add(self, evaluation: Row, usage: Row) -> Row:
        """Add an evaluation that was just made, with what it used of the machine; gives its row and timing as one."""
        seconds, symbols = self.progress.seconds, self.progress.symbols
        passed = seconds - (self.timings[-1][SECONDS] if self.timings else 0.0)
        speed = round((symbols - self.symbols) / passed, 1)
        self.symbols = symbols
        self.evaluations.append(evaluation)
        timing = {STEP: self.progress.step, SECONDS: round(seconds, 3), "symbols_per_second": speed}
        self.timings.append(timing | usage)
        return self.rows()[-1]

    def rows(self) -> list[Row]:
        """All evaluations, each with its timing."""
        return [row | timing for row, timing in zip(self.evaluations, self.timings, strict=True)]

    def save(self, folder: Path, timings: Path) -> None:
        """Write history.csv into `folder` and timings.csv into `timings`."""
        for place, name, rows in ((folder, HISTORY, self.evaluations), (timings, TIMINGS, self.timings)):
            place.mkdir(parents=True, exist_ok=True)
            pd.DataFrame(rows).to_csv(place / name, index=False, lineterminator="\n")


class TrainingSteps(Steps):
    """The steps of a network: one for each task over one Adam, so that the shared decoder has one state."""

    def __init__(self, network: Network, settings: Training, workers: Workers = ALONE) -> None:
        """workers: those that train together; each is given the same batches, and does its part of them."""
        # The gradient of a table comes as rows that repeat: unsummed, its norm and Adam's squares would be wrong.
        super().__init__(network, settings, lambda values: workers.sum([*map(tf.convert_to_tensor, values)]))
        self._workers = workers
        for layer in network._flatten_layers():
            if isinstance(layer, Dropout):
                layer.stream = workers.index
        encoder_a, decoder = network.encoder_a.trainable_variables, network.decoder.trainable_variables
        lent = {id(variable) for variable in decoder}  # with tied weights encoder B reads a table of the decoder's
        encoder_b = [variable for variable in network.encoder_b.trainable_variables if id(variable) not in lent]
        paired_loss = partial(_cross_entropy, network.predictor)
        paired = self._step(paired_loss, encoder_a + decoder)
        self.compiled = {
            Task.PAIRED: paired,
            Task.SYNTHETIC: paired,
            Task.PSEUDO: paired,
            Task.AUTOENCODE: self._step(partial(_cross_entropy, network.autoencoder), encoder_b + decoder),
            Task.EMBEDDING: self._step(self._embedding_loss, encoder_a, of_strings=True),
            Task.FROZEN_DECODER: self._step(paired_loss, encoder_a),
        }

    def _embedding_loss(self, source_ids: tf.Tensor, target_ids: tf.Tensor) -> tf.Tensor:
        # The autoencoder reads targets without END.
        ids = tf.where(tf.equal(target_ids, END), PADDING, target_ids)
        aim = tf.stop_gradient(self.model.encoder_b(ids)["vector"])
        return tf.reduce_mean(tf.square(self.model.encoder_a(source_ids, training=True)["vector"] - aim))

    def _step(self, loss_of: Loss, variables: list[Any], of_strings: bool = False) -> Callable[..., Any]:
        """of_strings: the loss is a mean over strings, not over target symbols."""
        workers, l2 = self._workers, self.settings.l2 / self._workers.count
        kernels = [variable for variable in variables if len(variable.shape) > 1]

        def losses_of(source_ids: tf.Tensor, target_ids: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            part = workers.part(target_ids)
            loss = loss_of(workers.part(source_ids), part)
            if workers.count > 1:  # this part's share of the mean over all
                symbols, all_symbols = (tf.math.count_nonzero(ids, dtype=tf.float32) for ids in (part, target_ids))
                loss *= 1 / workers.count if of_strings else symbols / all_symbols
            return loss, loss + l2 * tf.add_n([tf.reduce_sum(tf.square(kernel)) for kernel in kernels]) if l2 else loss

        return self.compile(losses_of, variables)


def _cross_entropy(model: keras.Model, source_ids: tf.Tensor, target_ids: tf.Tensor) -> tf.Tensor:
    return masked_cross_entropy(model((source_ids, target_ids), training=True), target_ids)


def masked_cross_entropy(logits: tf.Tensor, target_ids: tf.Tensor) -> tf.Tensor:
    """Mean cross-entropy in nats per target symbol, padding left out.

    logits: float32 [B, T, V]. target_ids: int32 [B, T], 0 is padding.
    """
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(target_ids, logits)
    counts = tf.cast(tf.not_equal(target_ids, PADDING), losses.dtype)
    return tf.reduce_sum(losses * counts) / tf.reduce_sum(counts)
