"""What each strategy trains through: tasks, schedules, phases. It knows nothing of how a task is trained."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from pipeline.config.params import Params


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
