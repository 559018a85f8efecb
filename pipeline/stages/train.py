"""Stages `pretrain` and one for each strategy: `python -m pipeline.stages.train STRATEGY` trains every seed.

Seeds are trained side by side, in processes with `training.threads` each; on a GPU one after the other, and with
`training.workers` as well, each by all workers together. A seed whose finished training has the same key is kept. This
process does without tensorflow: it shows the progress, and writes to MLflow what the trainings report.
"""

import shutil
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

from pipeline.config.params import Params, load_params
from pipeline.data.prepared import Prepared
from pipeline.errors import UserError, explain_user_errors
from pipeline.graph import stage_depends_on
from pipeline.parallel import jobs_for, side_by_side
from pipeline.runs import checkpoints, folders
from pipeline.runs.environment import Environment
from pipeline.stages import Watcher, end_on_sigterm
from pipeline.tracking.client import import_mlflow, project_root
from pipeline.tracking.runs import Child, Comparison
from pipeline.training.workers import Member, members_here

# What a process reports of its seed: that training begins, evaluations as they come, that it is finished.
Message = tuple[int, str | list[folders.Row]]
BEGINS, FINISHED = "begins", "finished"


@explain_user_errors
def main() -> None:
    """Train the strategy named on the command line, or `pretrain`, with every seed of params.yaml."""
    end_on_sigterm()
    params, prepared = load_params(), Prepared.open()
    strategy = _strategy(params)
    for of_seed in (folders.run_folder(strategy, 0), folders.timings_folder(strategy, 0)):
        for folder in of_seed.parent.glob("*"):  # DVC keeps these outputs, also of seeds that are no longer asked for
            if folder.name not in map(str, params.seeds):
                shutil.rmtree(folder)
    keys = {seed: folders.training_key(strategy, params, prepared.digest, seed) for seed in params.seeds}
    seeds = [seed for seed, key in keys.items() if not folders.is_finished(strategy, seed, key)]
    if len(seeds) < len(keys):
        print(f"{strategy}: {len(keys) - len(seeds)} of {len(keys)} trainings are finished and kept")
    if seeds:
        _train_seeds(strategy, seeds, params, prepared)


def _strategy(params: Params) -> str:
    pretrain = folders.PRETRAIN
    if len(sys.argv) != 2 or sys.argv[1] not in (pretrain, *params.strategies):
        raise UserError(f"name what to train: {pretrain} or a strategy of params.yaml ({', '.join(params.strategies)})")
    strategy, pretraining = sys.argv[1], (folders.MODELS / pretrain).as_posix()
    if folders.starts_pretrained(strategy, params) and not stage_depends_on(strategy, pretraining):
        raise UserError(
            f"strategies.{strategy}.start is pretrained, but stage {strategy} of dvc.yaml does not depend on "
            f"{pretraining}: add that line to its `deps`"
        )
    return strategy


def _train_seeds(strategy: str, seeds: Sequence[int], params: Params, prepared: Prepared) -> None:
    threads, device, is_chief = params.training.threads, params.training.device, True
    work: Callable[[Any], Iterator[Message]] = partial(
        _train, strategy=strategy, params=params, checkpoints=project_root() / checkpoints.CHECKPOINTS
    )
    items: Sequence[Any] = seeds
    jobs = jobs_for(len(seeds), threads, device)
    if params.training.workers > 1:
        items = members = members_here(params.training.workers)
        work, jobs, is_chief = partial(_train_together, seeds=seeds, train=work), len(members), members[0].is_chief
        if len(members) == 1:
            others = ", ".join(members[0].addresses)
            print(f"worker {members[0].index} waits for the other workers: {others}", file=sys.stderr)
    messages = side_by_side(work, items, jobs, threads, [folders.TRAINER], device)
    if not is_chief:  # the chief writes the results
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
                environment.save(folders.timings_folder(strategy, seed))
                children[seed].finish_training(folders.run_folder(strategy, seed))


def _train(seed: int, strategy: str, params: Params, **options: Any) -> Iterator[Message]:
    from pipeline.training.trainer import run_training  # tensorflow, which the process that watches does without

    yield seed, BEGINS
    for rows in run_training(strategy, params, Prepared.open(), seed, **options):
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
