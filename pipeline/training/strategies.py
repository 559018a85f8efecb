"""The network that each strategy starts from."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pipeline.config.params import Model, Params
from pipeline.data.prepared import Prepared
from pipeline.model.backend import keras, tf
from pipeline.model.network import Network, Sizes, load_network
from pipeline.runs.folders import MODELS, PRETRAIN, needs_pretraining, run_folder


class Task(StrEnum):
    """What one batch trains, and which parts it may change."""

    PAIRED = "paired"  # A -> B: encoder A and the decoder
    AUTOENCODE = "autoencode"  # B -> B: encoder B and the decoder
    SYNTHETIC = "synthetic"  # made-up A -> B: encoder A and the decoder
    EMBEDDING = "embedding"  # encoder A(a) towards encoder B(b): encoder A
    FROZEN_DECODER = "frozen_decoder"  # A -> B: encoder A


@dataclass(frozen=True)
class Plan:
    """Which tasks run, in which order and for how long.

    schedule: the tasks of one cycle. counted: the task whose batches are the updates that budget, learning rate and
    evaluations are measured in. updates: the budget.
    """

    schedule: Sequence[Task]
    counted: Task
    updates: int


def phases(strategy: str, params: Params) -> list[Plan]:
    """What is trained, one phase after the other, each from the best weights of the one before."""
    match strategy:
        case "pretrain":
            plans = [Plan([Task.AUTOENCODE], Task.AUTOENCODE, params.pretrain.updates)]
        case "supervised":
            plans = [Plan([Task.PAIRED], Task.PAIRED, params.supervised.updates)]
        case "two_stage":
            objective = Task(params.two_stage.objective)
            plans = [
                Plan([objective], objective, params.two_stage.updates),
                Plan([Task.PAIRED], Task.PAIRED, params.two_stage.finetune),
            ]
        case "tandem":
            schedule = [Task(task) for task in params.tandem.schedule]
            plans = [
                Plan(schedule, Task.PAIRED, params.tandem.updates),
                Plan([Task.PAIRED], Task.PAIRED, params.tandem.finetune),
            ]
        case _:
            raise ValueError(f"there is no strategy {strategy!r}")
    return [plan for plan in plans if plan.updates]


def start(strategy: str, params: Params, prepared: Prepared, seed: int, models: Path = MODELS) -> Network:
    """The network that a strategy starts from: with the weights of `seed`, the same for each, or pretrained.

    From here on, all randomness follows from `seed`.
    """
    if not needs_pretraining(strategy, params):
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
