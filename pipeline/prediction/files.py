"""Batch prediction: shards of sources in, one Parquet file of predictions for each out, on an engine.

A shard is predicted slice by slice; a slice is written as a whole or not at all, and a shard's slices are put together
when all are there. So a worker may be lost at any time, a slice be predicted twice, and the whole be started again.
"""

import gc
import shutil
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from pipeline.config.options import Symbols
from pipeline.data.alphabet import split
from pipeline.errors import UserError
from pipeline.prediction.engines import Engine
from pipeline.prediction.parquet import ENDING, Count, Label, PredictedRow, tidy, writing
from pipeline.prediction.portable import Recipe, digest
from pipeline.prediction.predictor import Chooser, OwnOrder
from pipeline.prediction.shards import EXCERPT, SOURCE, Read, Shard, Slice, read, slices
from pipeline.text import fault_of

FORMAT = 1  # of the files; another one is not taken for finished
WORKSPACE = ".unfinished"  # in the folder of the output: hidden from what reads it
LOCK = ".lock"


@dataclass(frozen=True)
class Task:
    """A file to be written: the predictions for a slice, or else what stands in other files, in their order."""

    path: Path
    label: Label
    piece: Slice | None = None
    parts: Sequence[Path] = ()


@dataclass(frozen=True)
class Done:
    """A file that has been written."""

    path: Path
    count: Count


@dataclass
class Summary:
    """What a job came to; `count` is of all shards, those finished before as well."""

    shards: int = 0
    finished_before: int = 0
    count: Count = field(default_factory=Count)

    def __str__(self) -> str:
        before = f", {self.finished_before:,} of them before" if self.finished_before else ""
        text = f"{self.shards:,} shards are predicted{before}: {self.count.sources:,} sources"
        if self.count.unusable:
            text += f", of which {self.count.unusable:,} could not be used (column error says why)"
        return text


def predict_shards(
    shards: Sequence[Shard], output: Path, folder: Path, recipe: Recipe, engine: Engine, column: str | None = None
) -> Summary:
    """Predict with a packed predictor; shards that are finished are left as they are.

    Raises `UserError` where a shard cannot be read, a file is in the way that was made with another model or other
    settings, or another process writes to the same folder. Finished slices and shards stay.
    """
    content = recipe.content(folder)
    settings = {"format": FORMAT, "model": digest(content), "column": column or SOURCE, **asdict(recipe)}
    job = _Job(output.absolute(), settings, column)
    try:
        output.mkdir(parents=True, exist_ok=True)
        with FileLock(output / LOCK, timeout=0):
            tidy(job.workspace)
            job.look(shards)
            for done in engine.results(partial(start, recipe, job.workspace), content, job.next_task):
                job.note(done)
            shutil.rmtree(job.workspace, ignore_errors=True)
    except Timeout:
        raise UserError(f"another process is predicting into {output}: wait for it, or give another --output") from None
    except OSError as error:
        raise UserError(f"{output} cannot be written to: {error}") from error
    return job.summary


def start(recipe: Recipe, workspace: Path, folder: Path) -> Callable[[Task], Done]:
    """What does the tasks of a job, in a worker: loads the predictor once."""
    chooser = recipe.load(folder)
    # Rows come by the thousand, and for each thousand Python would go through all that a model is made of.
    gc.collect()
    gc.freeze()
    return partial(do, recipe, workspace, chooser)


def do(recipe: Recipe, workspace: Path, chooser: Chooser | OwnOrder, task: Task) -> Done:
    """Write a task's file."""
    with writing(task.path, task.label, workspace) as writer:
        if task.piece:
            for part in read(task.piece):
                faults = [_fault(row, chooser.model.source_alphabet.kind, recipe.max_symbols) for row in part]
                rows = predicted_rows(chooser, recipe.n_best, part, faults)
                writer.add(rows, Count(len(part), len(part) - faults.count(None)))
            if not task.label.input.items() >= task.piece.shard.state().items():
                raise UserError(f"{task.piece.shard.path} was changed while it was read: start again")
        for path in task.parts:
            found = Label.read(path)
            if found is None:
                raise UserError(f"{path} is gone or damaged: start again")
            writer.add_file(path, found.count)
    return Done(task.path, writer.count)


def predicted_rows(
    chooser: Chooser | OwnOrder, n_best: int, rows: Sequence[Read], faults: Sequence[str | None]
) -> list[PredictedRow]:
    """What is written for rows in their order: the best predictions of each, or its fault."""
    usable = [row.source for row, fault in zip(rows, faults, strict=True) if fault is None and row.source is not None]
    chosen = iter(chooser.choose(usable))
    return [
        predicted
        for row, fault in zip(rows, faults, strict=True)
        for predicted in (
            [PredictedRow(_shortened(row.source), 1, None, None, None, fault)]
            if fault is not None
            else [
                PredictedRow(row.source, rank, choice.text, choice.log_probability, choice.confidence, None)
                for rank, choice in enumerate(next(chosen)[:n_best], start=1)
            ]
        )
    ]


def _fault(row: Read, kind: Symbols, max_symbols: int) -> str | None:
    """Why a row cannot be predicted for, None if it can."""
    if row.source is None or row.fault is not None:
        return row.fault
    if len(row.source) > max_symbols and (symbols := len(split(row.source, kind))) > max_symbols:
        return f"has {symbols:,} symbols, at most {max_symbols} are possible"
    return fault_of(row.source)


def _shortened(source: str | None) -> str | None:
    return source if source is None or len(source) <= EXCERPT else f"{source[:EXCERPT]}…"


class _Job:
    """Which tasks are left, and what they came to."""

    def __init__(self, output: Path, settings: dict[str, Any], column: str | None) -> None:
        self.summary = Summary()
        self.workspace = output / WORKSPACE
        self._output, self._settings, self._column = output, settings, column
        self._tasks: Iterator[Task] = iter(())
        self._joins: deque[Task] = deque()
        self._join_of: dict[Path, Task] = {}  # of slices in hand: what puts their shard together
        self._missing: dict[Path, int] = {}  # slices of each shard that is to be put together

    def look(self, shards: Sequence[Shard]) -> None:
        """Find out which shards are finished; raises `UserError` where one cannot be predicted."""
        unfinished = []
        for shard in shards:
            path, label = self._path(shard), self._label(shard)
            next(slices(shard, self._column))  # raises where it has no sources
            self.summary.shards += 1
            if path.exists() and self._is_finished(path, label):
                self.summary.finished_before += 1
                continue
            unfinished.append(shard)
        self._tasks = self._tasks_of(unfinished)

    def next_task(self) -> Task | None:
        """One more, if there is one before others are done."""
        if not self._joins and (task := next(self._tasks, None)) is not None:
            return task
        return self._joins.popleft() if self._joins else None

    def note(self, done: Done) -> None:
        """Count a finished shard, and have one put together whose last slice this was."""
        if join := self._join_of.pop(done.path, None):
            self._missing[join.path] -= 1
            if not self._missing[join.path]:
                self._joins.append(join)
            return
        self.summary.count += done.count
        if self._missing.pop(done.path, None) is not None:
            shutil.rmtree(self._parts(done.path), ignore_errors=True)

    def _tasks_of(self, shards: Sequence[Shard]) -> Iterator[Task]:
        for shard in shards:
            path, label = self._path(shard), self._label(shard)
            pieces = list(slices(shard, self._column))
            if len(pieces) == 1:
                yield Task(path, label, pieces[0])
                continue
            parts = [self._parts(path) / f"{number:06}{ENDING}" for number in range(len(pieces))]
            join = Task(path, label, parts=parts)
            labels = [Label(label.settings, {**label.input, "slice": [piece.start, piece.stop]}) for piece in pieces]
            tasks = [
                Task(*given)
                for given in zip(parts, labels, pieces, strict=True)
                if (found := Label.read(given[0])) is None or not found.is_of(given[1])
            ]
            self._missing[path] = len(tasks)
            self._join_of |= dict.fromkeys((task.path for task in tasks), join)
            if not tasks:
                self._joins.append(join)
            yield from tasks

    def _is_finished(self, path: Path, label: Label) -> bool:
        """Whether a file is there already; raises `UserError` for one that would be lost."""
        found = Label.read(path)
        if found is None:
            raise UserError(f"{path} is in the way, it is no file of predictions: give another --output, or delete it")
        if found.settings != self._settings:
            names = [name for name in self._settings if found.settings.get(name) != self._settings[name]]
            said = ", ".join(
                "another model" if name == "model" else f"{name} {found.settings.get(name)}, not {self._settings[name]}"
                for name in names
            )
            raise UserError(f"{path} was made with {said}: give another --output, or delete it")
        if not found.is_of(label):
            return False
        self.summary.count += found.count
        return True

    def _path(self, shard: Shard) -> Path:
        return self._output / f"{shard.name}{ENDING}"

    def _parts(self, path: Path) -> Path:
        return self.workspace / path.relative_to(self._output)

    def _label(self, shard: Shard) -> Label:
        return Label(self._settings, shard.state())
