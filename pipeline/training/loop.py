"""The training loop that all strategies share: a schedule of tasks, compiled steps, looks at the development data.

The loop is iterated over. It owns gradients, learning rate, early stopping and the best weights; what watches it
(files, checkpoints, progress bar, MLflow) does so from outside, between two steps.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.config.params import Decay, Training
from pipeline.data.alphabet import END, PADDING
from pipeline.errors import UserError
from pipeline.model.backend import keras, tf
from pipeline.model.layers import Dropout
from pipeline.model.network import Network
from pipeline.training.batches import Batch, BatchStream
from pipeline.training.strategies import Phase, Task
from pipeline.training.workers import ALONE, Workers


@keras.saving.register_keras_serializable(package="tandem")
class Adam(keras.optimizers.Adam):
    """`keras.optimizers.Adam` with the same numbers and state, a variable's step being one kernel and not fifteen.

    Source: Kingma and Ba 2015, "Adam: a method for stochastic optimization".
    """

    def update_step(self, gradient: tf.Tensor, variable: Any, learning_rate: Any) -> None:
        """Move a variable and its two moments in place. gradient: dense, of the variable's shape."""
        if self.amsgrad:
            raise NotImplementedError("this Adam has no amsgrad: use keras.optimizers.Adam")
        step = tf.cast(self.iterations.value + 1, tf.float32)
        place = self._get_variable_index(variable)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,  # Keras hands over tensorflow's variable
            m=self._momentums[place].value.handle,
            v=self._velocities[place].value.handle,
            beta1_power=tf.pow(self.beta_1, step),
            beta2_power=tf.pow(self.beta_2, step),
            lr=tf.cast(learning_rate, tf.float32),
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=gradient,
        )


Array = NDArray[Any]


@dataclass(frozen=True)
class DevScore:
    """Greedy decoding of the development data, both as fractions."""

    word_accuracy: float
    character_error_rate: float

    def beats(self, other: "DevScore") -> bool:
        """Whether the accuracy is higher, or equal with fewer errors: while no word is right yet, errors still fall."""
        if self.word_accuracy != other.word_accuracy:
            return self.word_accuracy > other.word_accuracy
        return self.character_error_rate < other.character_error_rate


@dataclass(frozen=True)
class Look:
    """What stood after an evaluation, a row of history.csv.

    losses: mean per batch since the last look, by task; gradient_norm: likewise, before clipping. best: whether the dev
    score beats all before it.
    """

    step: int
    losses: Mapping[Task, float]
    dev: DevScore
    learning_rate: float
    gradient_norm: float
    best: bool

    def row(self) -> dict[str, float]:
        """The look under the names that history.csv and MLflow use."""
        return {
            "step": self.step,
            **{f"loss_{task}": loss for task, loss in self.losses.items()},
            "dev_word_accuracy": self.dev.word_accuracy,
            "dev_character_error_rate": self.dev.character_error_rate,
            "learning_rate": self.learning_rate,
            "gradient_norm": self.gradient_norm,
        }


@dataclass
class Progress:
    """Where training stands; a phase yields it after every counted step, with a look where there was one."""

    step: int = 0
    batches: int = 0  # of all tasks
    symbols: int = 0  # target symbols trained on, END included, padding not
    seconds: float = 0.0  # in steps and evaluations, not in whatever watches
    best_step: int = 0
    best: DevScore | None = None
    look: Look | None = None


@dataclass
class Tally:
    """What a phase keeps count of: its beginning, its batches, and losses and gradient norms since the last look."""

    began: int  # steps before this phase
    position: int = 0  # batches of the schedule so far
    looks_without_progress: int = 0  # in a row
    losses: dict[Task, list[float]] = field(default_factory=dict)
    norms: list[float] = field(default_factory=list)

    def add(self, task: Task, loss: float, norm: float) -> None:
        """Count a batch."""
        self.position += 1
        self.losses.setdefault(task, []).append(loss)
        self.norms.append(norm)

    def look(self, step: int, dev: DevScore, rate: float, best: bool) -> Look:
        """What was counted since the last look, which begins anew."""
        losses = {task: sum(each) / len(each) for task, each in self.losses.items()}
        look = Look(step, losses, dev, rate, float(np.mean(self.norms)), best)
        self.losses, self.norms = {}, []
        self.looks_without_progress = 0 if best else self.looks_without_progress + 1
        return look


class DivergedError(UserError):
    """A loss became NaN or infinite."""


class TrainingLoop:
    """A plan that is being trained; iterate it once. In the end the network holds the weights with the best dev score.

    It stops after `plan.steps` steps, or when `settings.patience` looks in a row brought no better score.
    Iterating raises `DivergedError` when a loss is no longer a number.
    """

    def __init__(
        self,
        network: Network,
        plan: Phase,
        streams: Mapping[Task, BatchStream],
        settings: Training,
        evaluate: Callable[[], DevScore],
        progress: Progress | None = None,
        workers: Workers = ALONE,
    ) -> None:
        """progress: of the phase before, whose best weights the network holds; it goes on, and is what is yielded.

        workers: with whom it is trained; the streams give all of them the same batches, of which each does its part.
        """
        self.progress = progress or Progress()
        self.tally = Tally(began=self.progress.step)
        self._network, self._plan, self._streams = network, plan, streams
        self._settings, self._evaluate = settings, evaluate
        self._steps = TrainingSteps(network, settings, workers)
        self._best_weights: list[Array] = network.get_weights()

    def __iter__(self) -> Iterator[Progress]:
        settings, plan, progress, tally = self._settings, self._plan, self.progress, self.tally
        batches = _batches(plan.tasks, self._streams, tally.position)
        while (step := progress.step - tally.began) < plan.steps and tally.looks_without_progress < settings.patience:
            started = time.perf_counter()
            task, batch = next(batches)
            rate = learning_rate(settings, step, plan.steps)
            loss, norm = self._steps(task, batch.source_ids, batch.target_ids, rate)
            if not math.isfinite(loss):
                raise DivergedError(
                    f"the loss of task '{task}' became {loss} at step {progress.step + 1}: lower "
                    f"training.learning_rate (now {settings.learning_rate}) "
                    f"or training.clip_norm (now {settings.clip_norm})"
                )
            tally.add(task, loss, norm)
            progress.batches += 1
            progress.symbols += int(np.count_nonzero(batch.target_ids))
            if task is not plan.counted:
                progress.seconds += time.perf_counter() - started
                continue
            progress.step += 1
            if progress.step % settings.evaluate_every == 0 or step + 1 == plan.steps:
                dev = self._evaluate()
                better = progress.best is None or dev.beats(progress.best)
                if better:
                    progress.best, progress.best_step = dev, progress.step
                    self._best_weights = self._network.get_weights()
                progress.look = tally.look(progress.step, dev, rate, better)
            progress.seconds += time.perf_counter() - started
            yield progress
            progress.look = None
        self._network.set_weights(self._best_weights)

    def arrays(self) -> dict[str, Array]:
        """All that `restore` needs besides progress and tally: weights, best weights, optimizer, random states."""
        kept = {f"network/{place}": np.array(each) for place, each in enumerate(self._network.variables)}
        kept |= {f"optimizer/{place}": np.array(each) for place, each in enumerate(self._steps.optimizer.variables)}
        return kept | {f"best/{place}": each for place, each in enumerate(self._best_weights)}

    def restore(self, tally: Tally, arrays: Mapping[str, Array]) -> None:
        """Go on from where `arrays` was asked for between two steps; the progress of then was given to this phase.

        Raises ValueError if they are not of such a phase.
        """
        variables = {f"network/{place}": each for place, each in enumerate(self._network.variables)}
        variables |= {f"optimizer/{place}": each for place, each in enumerate(self._steps.optimizer.variables)}
        best = [f"best/{place}" for place in range(len(self._best_weights))]
        shapes = {name: tuple(variable.shape) for name, variable in variables.items()}
        shapes |= {name: each.shape for name, each in zip(best, self._best_weights, strict=True)}
        if {name: each.shape for name, each in arrays.items()} != shapes:
            raise ValueError("its arrays are not those of this network")
        for name, variable in variables.items():
            variable.assign(arrays[name])
        self.tally = tally
        self._best_weights = [arrays[name] for name in best]


def _batches(schedule: Sequence[Task], streams: Mapping[Task, BatchStream], first: int) -> Iterator[tuple[Task, Batch]]:
    """A schedule's batches from position `first` on, endless; the next is prepared while one is trained on."""

    def prepare(position: int) -> tuple[Task, Batch]:
        cycle, place = divmod(position, len(schedule))
        task = schedule[place]
        return task, streams[task][cycle * schedule.count(task) + schedule[:place].count(task)]

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


def symbols(target_ids: tf.Tensor) -> tf.Tensor:
    """How many symbols there are besides padding, float32."""
    return tf.math.count_nonzero(target_ids, dtype=tf.float32)


def strings(target_ids: tf.Tensor) -> tf.Tensor:
    """How many strings there are, float32."""
    return tf.cast(tf.shape(target_ids)[0], tf.float32)


class TrainingSteps:
    """One compiled step per task over one optimizer (Adam), so that the shared decoder has one state."""

    def __init__(self, network: Network, settings: Training, workers: Workers = ALONE) -> None:
        self._network = network
        self._settings = settings
        self._workers = workers
        for layer in network._flatten_layers():
            if isinstance(layer, Dropout):
                layer.stream = workers.index
        self.optimizer = Adam(settings.learning_rate)
        self.optimizer.build(network.trainable_variables)
        encoder_a, decoder = network.encoder_a.trainable_variables, network.decoder.trainable_variables
        lent = {id(variable) for variable in decoder}  # with tied weights encoder B reads a table of the decoder's
        encoder_b = [variable for variable in network.encoder_b.trainable_variables if id(variable) not in lent]
        paired = self._compile(self._paired_loss, encoder_a + decoder)
        self._steps = {
            Task.PAIRED: paired,
            Task.SYNTHETIC: paired,
            Task.AUTOENCODE: self._compile(self._autoencoding_loss, encoder_b + decoder),
            Task.EMBEDDING: self._compile(self._embedding_loss, encoder_a, strings),
            Task.FROZEN_DECODER: self._compile(self._paired_loss, encoder_a),
        }

    def __call__(self, task: Task, source_ids: Any, target_ids: Any, rate: float) -> tuple[float, float]:
        """Train one batch: int32 [B, S] and int32 [B, T] closed by END -> loss and gradient norm before clipping."""
        loss, norm = self._steps[task](source_ids, target_ids, rate)
        return float(loss), float(norm)

    def _paired_loss(self, source_ids: tf.Tensor, target_ids: tf.Tensor) -> tf.Tensor:
        return masked_cross_entropy(self._network.predictor((source_ids, target_ids), training=True), target_ids)

    def _autoencoding_loss(self, source_ids: tf.Tensor, target_ids: tf.Tensor) -> tf.Tensor:
        return masked_cross_entropy(self._network.autoencoder((source_ids, target_ids), training=True), target_ids)

    def _embedding_loss(self, source_ids: tf.Tensor, target_ids: tf.Tensor) -> tf.Tensor:
        # The autoencoder reads targets without END.
        ids = tf.where(tf.equal(target_ids, END), PADDING, target_ids)
        aim = tf.stop_gradient(self._network.encoder_b(ids)["vector"])
        return tf.reduce_mean(tf.square(self._network.encoder_a(source_ids, training=True)["vector"] - aim))

    def _compile(
        self,
        loss_of: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
        variables: list[Any],
        mean_of: Callable[[tf.Tensor], tf.Tensor] = symbols,
    ) -> Callable[..., Any]:
        """mean_of: how many of what it is the mean of there are in target ids."""
        ids, workers = tf.TensorSpec([None, None], tf.int32), self._workers
        kernels = [variable for variable in variables if len(variable.shape) > 1]

        @tf.function(input_signature=[ids, ids, tf.TensorSpec([], tf.float32)], autograph=False)
        def step(source_ids: tf.Tensor, target_ids: tf.Tensor, rate: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            with tf.GradientTape() as tape:
                loss = loss_of(workers.part(source_ids), workers.part(target_ids))
                if workers.count > 1:  # of the mean over all, what is this part's
                    loss *= mean_of(workers.part(target_ids)) / mean_of(target_ids)
                objective = loss
                if self._settings.l2:
                    l2 = self._settings.l2 / workers.count
                    objective += l2 * tf.add_n([tf.reduce_sum(tf.square(kernel)) for kernel in kernels])
            gradients = tape.gradient(objective, [variable.value for variable in variables])
            # That of a table comes as rows which repeat: unsummed, neither their norm nor Adam's squares are right.
            gradients = [tf.convert_to_tensor(gradient) for gradient in gradients]
            *gradients, loss = workers.sum([*gradients, loss])
            gradients, norm = tf.clip_by_global_norm(gradients, self._settings.clip_norm)
            self.optimizer.learning_rate.assign(rate)
            self.optimizer.apply(gradients, variables)
            return loss, norm

        return step


def masked_cross_entropy(logits: tf.Tensor, target_ids: tf.Tensor) -> tf.Tensor:
    """Mean cross-entropy in nats per target symbol, padding left out.

    logits: float32 [B, T, V]. target_ids: int32 [B, T], 0 is padding.
    """
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(target_ids, logits)
    counts = tf.cast(tf.not_equal(target_ids, PADDING), losses.dtype)
    return tf.reduce_sum(losses * counts) / tf.reduce_sum(counts)
