"""The DVC stages: each reads files, calls the package and writes files."""

import signal
import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, track

from pipeline.config.params import Params
from pipeline.runs.folders import ACCURACY, STEP, Row
from pipeline.training.strategies import phases_of

T = TypeVar("T")


def end_on_sigterm() -> None:
    """Make SIGTERM end this process as Ctrl-C does, cleaning up."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


def watched(items: Iterable[T], title: str, total: int) -> Iterator[T]:
    """The items one by one, with a progress bar on a terminal."""
    yield from track(items, title, total, console=Console(stderr=True), disable=not sys.stderr.isatty())


class Watcher(Progress):
    """Shows how far the seeds of a training stage are: progress bars on a terminal, a line per evaluation elsewhere."""

    def __init__(self, strategy: str, params: Params) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        state = TextColumn("{task.fields[state]}")
        super().__init__(*columns, state, console=Console(stderr=True), disable=not sys.stderr.isatty())
        self._strategy = strategy
        self._steps = sum(phase.steps for phase in phases_of(strategy, params))
        self._bar_of: dict[int, TaskID] = {}

    def show(self, seed: int, row: Row) -> None:
        """Show a seed's newest evaluation, a row of history.csv."""
        title, step = f"{self._strategy} {seed}", int(row[STEP])
        losses = [f"{name.removeprefix('loss_')} loss {row[name]:.3f}" for name in row if name.startswith("loss_")]
        dev = f"dev accuracy {row[ACCURACY]:.1%}" if ACCURACY in row else "learns dev"
        state = "  ".join([*losses, dev])
        if self.disable:
            print(f"{title}  {step}/{self._steps}  {state}", flush=True)
        if seed not in self._bar_of:
            self._bar_of[seed] = self.add_task(title, total=self._steps, state="")
        self.update(self._bar_of[seed], completed=step, state=state)
