"""Strategies: the phases that each trains through. What a phase does is left to `loop`.

Needs no tensorflow: a process that only starts trainings does without.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from pipeline.config.params import Params
from pipeline.runs.folders import PRETRAIN


class Task(StrEnum):
    """What one batch trains, and which parts it may change."""

    PAIRED = "paired"  # A -> B: encoder A and the decoder
    AUTOENCODE = "autoencode"  # B -> B: encoder B and the decoder
    SYNTHETIC = "synthetic"  # made-up A -> B: encoder A and the decoder
    PSEUDO = "pseudo"  # A -> B as a teacher predicts it: encoder A and the decoder
    EMBEDDING = "embedding"  # encoder A(a) towards encoder B(b): encoder A
    FROZEN_DECODER = "frozen_decoder"  # A -> B: encoder A


@dataclass(frozen=True)
class Phase:
    """A part of a training: which tasks run, in which order, for how long, and on which pairs.

    tasks: one cycle, in order; a task may come several times. counted: the task whose batches are the steps in which
    `steps`, the learning-rate schedule and the distance between evaluations are measured. with_dev: the pairs of dev
    are learned as well; nothing is left then to evaluate on, and the last weights count.
    """

    tasks: Sequence[Task]
    counted: Task
    steps: int
    with_dev: bool = False


def phases_of(strategy: str, params: Params) -> list[Phase]:
    """The phases of a strategy, or of `pretrain`, in order; each starts from the best weights of the one before."""
    if strategy == PRETRAIN:
        return [Phase([Task.AUTOENCODE], Task.AUTOENCODE, params.pretrain.steps)]
    settings = params.strategies[strategy]
    objective, tasks = Task(settings.objective), [Task(task) for task in settings.tasks]
    phases = [
        Phase([objective], objective, settings.frozen_steps),
        Phase(tasks, Task.PAIRED, settings.steps),
        Phase([Task.PAIRED], Task.PAIRED, settings.finetune_steps),
        Phase(tasks, Task.PAIRED, params.training.dev_steps, with_dev=True),
    ]
    return [phase for phase in phases if phase.steps]
