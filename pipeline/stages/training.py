"""What the training stages share: all seeds of a strategy side by side, in processes with `training.threads` each.

This process does without tensorflow; it shows how far the trainings are, and writes to MLflow what they report.
"""

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial

import pandas as pd
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from pipeline.config import Params, load_params
from pipeline.connection import import_mlflow
from pipeline.plans import phases
from pipeline.prepared import PREPARED, Prepared
from pipeline.processes import jobs_for, side_by_side
from pipeline.records import HISTORY, PRETRAIN, run_folder, run_parameters
from pipeline.stages import end_on_sigterm
from pipeline.tracking import STEP, Tracker

# What a process tells of its seed: that it begins, a row of history.csv, that it is done.
News = tuple[int, str | dict[str, float]]
BEGINS, DONE = "begins", "done"


def train_seeds(strategy: str) -> None:
    """Train a strategy, or `pretrain`, with every seed of params.yaml."""
    end_on_sigterm()
    params, prepared = load_params(), Prepared.open(PREPARED)
    seeds, threads = params.seeds, params.training.threads
    work, jobs = partial(_train, strategy=strategy, params=params), jobs_for(len(seeds), threads)
    news = side_by_side(work, seeds, jobs, threads, imports=["pipeline.runs"])
    import_mlflow()  # meanwhile
    prefix = f"{PRETRAIN}_" if strategy == PRETRAIN else ""
    trackers: dict[int, Tracker] = {}
    with ExitStack() as open_runs, Watcher(strategy, sum(plan.updates for plan in phases(strategy, params))) as watcher:
        for seed, told in news:
            if told == BEGINS:
                trackers[seed] = open_runs.enter_context(_tracker(strategy, params, prepared.digest, seed))
            elif isinstance(told, dict):
                watcher.show(seed, told)
                trackers[seed].log_history(pd.DataFrame([told]), prefix)
            else:  # the run of a pretraining is gone on with by stage two_stage
                trackers[seed].finish("SCHEDULED" if strategy == PRETRAIN else "FINISHED")


def _train(seed: int, strategy: str, params: Params) -> Iterator[News]:
    from pipeline.runs import run_training  # here, because the process that watches does not need tensorflow

    yield seed, BEGINS
    for row in run_training(strategy, params, Prepared.open(PREPARED), seed):
        yield seed, row
    yield seed, DONE


def _tracker(strategy: str, params: Params, data_digest: str, seed: int) -> Tracker:
    """The run of a strategy and seed in MLflow; that of two_stage begins with its pretraining."""
    name = "two_stage" if strategy == PRETRAIN else strategy
    parameters, continuing = run_parameters(name, params), strategy == "two_stage"
    tracker = Tracker.start(params, data_digest, name, seed, parameters, continuing)
    if continuing and not tracker.continued:
        tracker.log_history(pd.read_csv(run_folder(PRETRAIN, seed) / HISTORY), f"{PRETRAIN}_")
    return tracker


class Watcher:
    """A progress bar for each seed on a terminal, a line per look elsewhere."""

    def __init__(self, strategy: str, updates: int) -> None:
        self._strategy = strategy
        self._updates = updates
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

    def show(self, seed: int, row: dict[str, float]) -> None:
        """Move on to where a seed is by a row of its history.csv."""
        title, update = f"{self._strategy} {seed}", int(row[STEP])
        losses = [f"{name.removeprefix('loss_')} loss {row[name]:.3f}" for name in row if name.startswith("loss_")]
        state = "  ".join([*losses, f"dev accuracy {row['dev_word_accuracy']:.1%}"])
        if not self._terminal:
            print(f"{title}  {update}/{self._updates}  {state}", flush=True)
        if seed not in self._lines:
            self._lines[seed] = self._bars.add_task(title, total=self._updates, state="")
        self._bars.update(self._lines[seed], completed=update, state=state)
