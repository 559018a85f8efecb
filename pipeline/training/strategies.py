"""Strategies: the phases that each trains through, and the network that it starts from."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pipeline.config.params import Model, Params
from pipeline.data.prepared import Prepared
from pipeline.model.backend import keras, tf
from pipeline.model.network import Network, Sizes, load_network
from pipeline.runs.folders import MODELS, PRETRAIN, run_folder, starts_pretrained


class Task(StrEnum):
    """What one batch trains, and which parts it may change."""

    PAIRED = "paired"  # A -> B: encoder A and the decoder
    AUTOENCODE = "autoencode"  # B -> B: encoder B and the decoder
    SYNTHETIC = "synthetic"  # made-up A -> B: encoder A and the decoder
    EMBEDDING = "embedding"  # encoder A(a) towards encoder B(b): encoder A
    FROZEN_DECODER = "frozen_decoder"  # A -> B: encoder A


@dataclass(frozen=True)
class Phase:
    """A part of a training: which tasks run, in which order and for how long.

    tasks: one cycle, in order; a task may come several times. counted: the task whose batches are the steps that
    `steps`, the learning rate and evaluations are measured in.
    """

    tasks: Sequence[Task]
    counted: Task
    steps: int


def phases_of(strategy: str, params: Params) -> list[Phase]:
    """The phases of a strategy, or of `pretrain`, in order; each starts from the best weights of the one before."""
    if strategy == PRETRAIN:
        return [Phase([Task.AUTOENCODE], Task.AUTOENCODE, params.pretrain.steps)]
    settings = params.strategies[strategy]
    objective = Task(settings.objective)
    phases = [
        Phase([objective], objective, settings.frozen_steps),
        Phase([Task(task) for task in settings.tasks], Task.PAIRED, settings.steps),
        Phase([Task.PAIRED], Task.PAIRED, settings.finetune_steps),
    ]
    return [phase for phase in phases if phase.steps]


def start(strategy: str, params: Params, prepared: Prepared, seed: int, models: Path = MODELS) -> Network:
    """The network that a strategy starts from: with the weights of `seed`, the same for each, or pretrained.

    From here on, all randomness follows from `seed`.
    """
    if not starts_pretrained(strategy, params):
        return new_network(params.model, prepared, seed)
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    return load_network(run_folder(PRETRAIN, seed, models))


def new_network(model: Model, prepared: Prepared, seed: int) -> Network:
    """An untrained network; an output has room for half as much again as the longest target seen."""
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    longest_output = prepared.longest_target * 3 // 2 + 1
    return Network(model, Sizes(len(prepared.source_alphabet), len(prepared.target_alphabet), longest_output))
