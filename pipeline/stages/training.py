"""What the training stages share: all seeds of a strategy side by side, in processes with `training.threads` each.

With `training.workers` the seeds come one after the other instead, each trained by all workers together.

This process does without tensorflow; it shows how far the trainings are, and writes to MLflow what they report.
"""

import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from pipeline.config.params import Params, load_params
from pipeline.data.prepared import PREPARED, Prepared
from pipeline.parallel import jobs_for, side_by_side
from pipeline.runs import checkpoints
from pipeline.runs.environment import Environment
from pipeline.runs.folders import PRETRAIN, STEP, Row, load_history, run_folder, run_parameters, starts_pretrained
from pipeline.stages import end_on_sigterm
from pipeline.tracking.client import import_mlflow, project_root
from pipeline.tracking.runs import Child, Comparison
from pipeline.training.strategies import phases_of
from pipeline.training.workers import Member, members_here

if TYPE_CHECKING:
    from pipeline.training.workers import Workers

# What a process tells of its seed: that it begins, looks at the development data, that it is done.
News = tuple[int, str | list[Row]]
BEGINS, DONE = "begins", "done"


def train_seeds(strategy: str) -> None:
    """Train a strategy, or `pretrain`, with every seed of params.yaml."""
    end_on_sigterm()
    params, prepared = load_params(), Prepared.open(PREPARED)
    seeds, threads = params.seeds, params.training.threads
    train = partial(_train, strategy=strategy, params=params, checkpoints=project_root() / checkpoints.FOLDER)
    if params.training.workers == 1:
        news = side_by_side(train, seeds, jobs_for(len(seeds), threads), threads, imports=["pipeline.training.trainer"])
    else:
        members = members_here(params.training.workers)
        together = partial(_train_together, seeds=seeds, train=train)
        news = side_by_side(together, members, len(members), threads, imports=["pipeline.training.trainer"])
        if len(members) == 1:
            title, others = f"worker {members[0].index}", ", ".join(members[0].addresses)
            print(f"{title} waits until all workers are there: {others}", file=sys.stderr)
        if not members[0].is_chief:  # what its training comes to is the chief's to write
            deque(news, maxlen=0)
            return
    import_mlflow()  # meanwhile
    environment = Environment.here()
    comparison = Comparison.open(params, prepared.digest, environment)
    prefix = f"{PRETRAIN}_" if strategy == PRETRAIN else ""
    children: dict[int, Child] = {}
    with (
        ExitStack() as open_runs,
        Watcher(strategy, sum(plan.steps for plan in phases_of(strategy, params))) as watcher,
    ):
        open_runs.push(comparison.end_if_broken_off)
        for seed, told in news:
            if told == BEGINS:
                child = _child(comparison, strategy, params, seed, environment)
                children[seed] = open_runs.enter_context(child)
            elif isinstance(told, list):
                watcher.show(seed, told[-1])
                children[seed].log_history(told, prefix)
            else:
                environment.save(run_folder(strategy, seed))
                if strategy == PRETRAIN:  # its run is gone on with by stage two_stage
                    children[seed].finish("SCHEDULED")
                else:
                    children[seed].finish_training(run_folder(strategy, seed))


def _train(
    seed: int, strategy: str, params: Params, checkpoints: Path, workers: "Workers | None" = None
) -> Iterator[News]:
    # Here, because the process that watches does not need tensorflow.
    from pipeline.training.trainer import run_training
    from pipeline.training.workers import ALONE

    yield seed, BEGINS
    prepared = Prepared.open(PREPARED)
    for rows in run_training(strategy, params, prepared, seed, checkpoints=checkpoints, workers=workers or ALONE):
        if rows:
            yield seed, rows
    yield seed, DONE


def _train_together(member: Member, seeds: Sequence[int], train: Callable[..., Iterator[News]]) -> Iterator[News]:
    """As one of the workers, all seeds one after the other; the chief tells of them."""
    from pipeline.training.workers import join

    with join(member) as workers:
        for seed in seeds:
            for news in train(seed, workers=workers):
                if workers.is_chief:
                    yield news


def _child(comparison: Comparison, strategy: str, params: Params, seed: int, environment: Environment) -> Child:
    """The run of a strategy and seed in MLflow; it begins with its pretraining, where there is one."""
    name = "two_stage" if strategy == PRETRAIN else strategy
    child = comparison.start(name, seed, run_parameters(name, params), environment, continuing=strategy == "two_stage")
    if starts_pretrained(strategy, params) and not child.continued:
        child.log_history(load_history(run_folder(PRETRAIN, seed)), f"{PRETRAIN}_")
    return child


class Watcher:
    """A progress bar for each seed on a terminal, a line per look elsewhere."""

    def __init__(self, strategy: str, steps: int) -> None:
        self._strategy = strategy
        self._updates = steps
        self._terminal = sys.stderr.isatty()
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        console = Console(stderr=True)
        self._bars = Progress(*columns, TextColumn("{task.fields[state]}"), console=console, disable=not self._terminal)
        self._lines: dict[int, TaskID] = {}

    def __enter__(self) -> "Watcher":
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def show(self, seed: int, row: Row) -> None:
        """Move on to where a seed is by a look at the development data."""
        title, step = f"{self._strategy} {seed}", int(row[STEP])
        losses = [f"{name.removeprefix('loss_')} loss {row[name]:.3f}" for name in row if name.startswith("loss_")]
        state = "  ".join([*losses, f"dev accuracy {row['dev_word_accuracy']:.1%}"])
        if not self._terminal:
            print(f"{title}  {step}/{self._updates}  {state}", flush=True)
        if seed not in self._lines:
            self._lines[seed] = self._bars.add_task(title, total=self._updates, state="")
        self._bars.update(self._lines[seed], completed=step, state=state)
