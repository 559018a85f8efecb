"""Stages `pretrain` and one for each strategy: `python -m pipeline.stages.train STRATEGY` trains every seed.

Seeds are trained side by side, in processes with `training.threads` each; with `training.workers` one after the other,
each by all workers together. A seed whose finished training has the same key is kept. This process does without
tensorflow: it shows the progress, and writes to MLflow what the trainings report.
"""

import shutil
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.config.params import Params, load_params
from pipeline.data.prepared import Prepared
from pipeline.errors import UserError, explain_user_errors
from pipeline.graph import stage_depends_on
from pipeline.parallel import jobs_for, side_by_side
from pipeline.runs import checkpoints
from pipeline.runs.environment import Environment
from pipeline.runs.folders import (
    MODELS,
    PRETRAIN,
    Row,
    is_finished,
    run_folder,
    starts_pretrained,
    timings_folder,
    training_key,
)
from pipeline.stages import Watcher, end_on_sigterm
from pipeline.tracking.client import import_mlflow, project_root
from pipeline.tracking.runs import Child, Comparison
from pipeline.training.workers import Member, members_here

if TYPE_CHECKING:
    from pipeline.training.workers import Workers

# What a process reports of its seed: that training begins, evaluations as they come, that it is finished.
Message = tuple[int, str | list[Row]]
BEGINS, FINISHED = "begins", "finished"


@explain_user_errors
def main() -> None:
    """Train the strategy named on the command line, or `pretrain`, with every seed of params.yaml."""
    end_on_sigterm()
    params, prepared = load_params(), Prepared.open()
    strategy = _strategy(params)
    _remove_other_seeds(strategy, params.seeds)
    seeds = [
        seed
        for seed in params.seeds
        if not is_finished(strategy, seed, training_key(strategy, params, prepared.digest, seed))
    ]
    if len(seeds) < len(params.seeds):
        print(f"{strategy}: {len(params.seeds) - len(seeds)} of {len(params.seeds)} trainings are finished and kept")
    if seeds:
        _train_seeds(strategy, seeds, params, prepared)


def _strategy(params: Params) -> str:
    if len(sys.argv) != 2 or sys.argv[1] not in (PRETRAIN, *params.strategies):
        raise UserError(f"name what to train: {PRETRAIN} or a strategy of params.yaml ({', '.join(params.strategies)})")
    strategy = sys.argv[1]
    pretraining = (MODELS / PRETRAIN).as_posix()
    if starts_pretrained(strategy, params) and not stage_depends_on(strategy, pretraining):
        raise UserError(
            f"strategies.{strategy}.start is pretrained, but stage {strategy} of dvc.yaml does not depend on "
            f"{pretraining}: add that line to its `deps`"
        )
    return strategy


def _remove_other_seeds(strategy: str, seeds: Sequence[int]) -> None:
    """DVC keeps the outputs of these stages: remove what belongs to seeds that are no longer asked for."""
    kept = {str(seed) for seed in seeds}
    for of_seed in (run_folder(strategy, 0), timings_folder(strategy, 0)):
        for folder in of_seed.parent.glob("*"):
            if folder.name not in kept:
                shutil.rmtree(folder)


def _train_seeds(strategy: str, seeds: Sequence[int], params: Params, prepared: Prepared) -> None:
    threads = params.training.threads
    train = partial(_train, strategy=strategy, params=params, checkpoints=project_root() / checkpoints.FOLDER)
    if params.training.workers == 1:
        messages = side_by_side(
            train, seeds, jobs_for(len(seeds), threads), threads, imports=["pipeline.training.trainer"]
        )
    else:
        members = members_here(params.training.workers)
        together = partial(_train_together, seeds=seeds, train=train)
        messages = side_by_side(together, members, len(members), threads, imports=["pipeline.training.trainer"])
        if len(members) == 1:
            others = ", ".join(members[0].addresses)
            print(f"worker {members[0].index} waits for the other workers: {others}", file=sys.stderr)
        if not members[0].is_chief:  # the chief writes the results
            deque(messages, maxlen=0)
            return
    import_mlflow()  # meanwhile
    environment = Environment.here()
    comparison = Comparison(params, prepared.digest, environment)
    children: dict[int, Child] = {}
    with ExitStack() as open_runs, Watcher(strategy, params) as watcher:
        open_runs.enter_context(comparison)
        for seed, message in messages:
            if message == BEGINS:
                children[seed] = open_runs.enter_context(comparison.start(strategy, seed))
            elif isinstance(message, list):
                watcher.show(seed, message[-1])
                children[seed].log_evaluations(message)
            else:
                environment.save(timings_folder(strategy, seed))
                children[seed].finish_training(run_folder(strategy, seed))


def _train(
    seed: int, strategy: str, params: Params, checkpoints: Path, workers: "Workers | None" = None
) -> Iterator[Message]:
    # Here, because the process that watches does not need tensorflow.
    from pipeline.training.trainer import run_training
    from pipeline.training.workers import ALONE

    yield seed, BEGINS
    for rows in run_training(
        strategy, params, Prepared.open(), seed, checkpoints=checkpoints, workers=workers or ALONE
    ):
        if rows:
            yield seed, rows
    yield seed, FINISHED


def _train_together(member: Member, seeds: Sequence[int], train: Callable[..., Iterator[Message]]) -> Iterator[Message]:
    """Train all seeds one after the other as one of the workers; the chief reports them."""
    from pipeline.training.workers import join

    with join(member) as workers:
        for seed in seeds:
            for message in train(seed, workers=workers):
                if workers.is_chief:
                    yield message


if __name__ == "__main__":
    main()
