"""Prediction of files: shards of sources in, one Parquet file of predictions for each out, on an engine.

A shard is predicted slice by slice. Slices are written as a whole or not at all, and joined when all of a shard exist.
So workers may be lost at any time, a slice may be predicted twice, and the whole may be started again.
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

from pipeline.data.alphabet import split
from pipeline.errors import UserError
from pipeline.prediction.bundle import bundle_content, bundle_digest
from pipeline.prediction.engines import Engine
from pipeline.prediction.options import PredictionOptions
from pipeline.prediction.parquet import ENDING, Count, Label, PredictedRow, remove_unfinished, writing
from pipeline.prediction.predictor import Predictor
from pipeline.prediction.shards import EXCERPT, SOURCE, Row, Shard, Slice, read, slices
from pipeline.runs.groups import RerankMetadata
from pipeline.text import fault_of

FORMAT = 2  # of the files: those of another one are not taken for finished
WORKSPACE = ".unfinished"  # in the folder of the output: hidden from what reads it
LOCK = ".lock"


@dataclass(frozen=True)
class Task:
    """A file to be written: the predictions for a slice, or the rows of other files in their order."""

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
    """The result of a job; `count` is of all shards, those finished before as well."""

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
    shards: Sequence[Shard],
    output: Path,
    bundle: Path,
    options: PredictionOptions,
    engine: Engine,
    column: str | None = None,
) -> Summary:
    """Predict with the predictor in a bundle; finished shards are left as they are.

    Raises `UserError` if a shard cannot be read, an existing file was made with another model or other settings, or
    another process writes to the same folder. Finished slices and shards stay.
    """
    content = bundle_content(bundle, options.order)
    settings = {
        "format": FORMAT,
        "model": bundle_digest(content),
        "column": column or SOURCE,
        **asdict(options),
        "max_symbols": RerankMetadata.load(bundle).max_symbols,
    }
    job = _Job(output.absolute(), settings, column)
    try:
        output.mkdir(parents=True, exist_ok=True)
        with FileLock(output / LOCK, timeout=0):
            remove_unfinished(job.workspace)
            job.plan(shards)
            for done in engine.results(partial(start, options, job.workspace), content, job.next_task):
                job.count(done)
            shutil.rmtree(job.workspace, ignore_errors=True)
    except Timeout:
        raise UserError(f"another process is predicting into {output}: wait for it, or give another --output") from None
    except OSError as error:
        raise UserError(f"{output} cannot be written to: {error}") from error
    return job.summary


def start(options: PredictionOptions, workspace: Path, bundle: Path) -> Callable[[Task], Done]:
    """In a worker: load the predictor once, and give the function that does tasks with it."""
    predictor = Predictor.load(bundle, options.order)
    # Rows come by the thousand, and for each thousand Python would go through all that a model is made of.
    gc.collect()
    gc.freeze()
    return partial(write_file, options, workspace, predictor)


def write_file(options: PredictionOptions, workspace: Path, predictor: Predictor, task: Task) -> Done:
    """Write a task's file."""
    with writing(task.path, task.label, workspace) as writer:
        if task.piece:
            for rows in read(task.piece):
                faults = [_fault(row, predictor) for row in rows]
                writer.add(
                    _predicted(rows, faults, predictor, options), Count(len(rows), len(rows) - faults.count(None))
                )
            if not task.label.input.items() >= task.piece.shard.state().items():
                raise UserError(f"{task.piece.shard.path} changed while it was read: start again")
        for path in task.parts:
            label = Label.read(path)
            if label is None:
                raise UserError(f"{path} is missing or damaged: start again")
            writer.add_file(path, label.count)
    return Done(task.path, writer.count)


def _predicted(
    rows: Sequence[Row], faults: Sequence[str | None], predictor: Predictor, options: PredictionOptions
) -> Iterator[PredictedRow]:
    """The rows of the output, in order: the best predictions for each source, or its fault."""
    usable = [row.source or "" for row, fault in zip(rows, faults, strict=True) if fault is None]
    ranked = iter(predictor.predict(usable, options))
    for row, fault in zip(rows, faults, strict=True):
        if fault is None:
            for rank, one in enumerate(next(ranked), start=1):
                yield PredictedRow(row.source, rank, one.text, one.log_probability, one.confidence, None)
        else:
            is_long = row.source is not None and len(row.source) > EXCERPT
            source = f"{row.source[:EXCERPT]}…" if row.source and is_long else row.source
            yield PredictedRow(source, 1, None, None, None, fault)


def _fault(row: Row, predictor: Predictor) -> str | None:
    """Why a row cannot be predicted for, None if it can."""
    if row.source is None or row.fault is not None:
        return row.fault
    kind, most = predictor.model.source_alphabet.kind, predictor.max_symbols
    if len(row.source) > most and (symbols := len(split(row.source, kind))) > most:
        return f"has {symbols:,} symbols, at most {most} are possible"
    return fault_of(row.source)


class _Job:
    """The tasks that are left, and the counts of those that are done."""

    def __init__(self, output: Path, settings: dict[str, Any], column: str | None) -> None:
        self.summary = Summary()
        self.workspace = output / WORKSPACE
        self._output, self._settings, self._column = output, settings, column
        self._tasks: Iterator[Task] = iter(())
        self._joins: deque[Task] = deque()
        self._join_of: dict[Path, Task] = {}  # of slices being predicted: the task that joins their shard
        self._missing: dict[Path, int] = {}  # slices of each shard that is to be joined

    def plan(self, shards: Sequence[Shard]) -> None:
        """Find out which shards are finished; raises `UserError` if one cannot be predicted."""
        unfinished = []
        for shard in shards:
            path, label = self._file(shard)
            next(slices(shard, self._column))  # raises if it has no sources
            self.summary.shards += 1
            if path.exists() and self._is_finished(path, label):
                self.summary.finished_before += 1
            else:
                unfinished.append(shard)
        self._tasks = self._tasks_of(unfinished)

    def next_task(self) -> Task | None:
        """One more task; None while all that are left wait for others."""
        if not self._joins and (task := next(self._tasks, None)) is not None:
            return task
        return self._joins.popleft() if self._joins else None

    def count(self, done: Done) -> None:
        """Count a finished shard, and have one joined whose last slice this was."""
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
            path, label = self._file(shard)
            pieces = list(slices(shard, self._column))
            if len(pieces) == 1:
                yield Task(path, label, pieces[0])
                continue
            tasks = [
                Task(
                    self._parts(path) / f"{number:06}{ENDING}",
                    Label(label.settings, {**label.input, "slice": [piece.start, piece.stop]}),
                    piece,
                )
                for number, piece in enumerate(pieces)
            ]
            join = Task(path, label, parts=[task.path for task in tasks])
            tasks = [task for task in tasks if not task.label.is_of(task.path)]
            self._missing[path] = len(tasks)
            self._join_of |= dict.fromkeys((task.path for task in tasks), join)
            if not tasks:
                self._joins.append(join)
            yield from tasks

    def _is_finished(self, path: Path, label: Label) -> bool:
        """Whether an existing file is up to date; raises `UserError` for one that would be lost."""
        existing = Label.read(path)
        if existing is None:
            raise UserError(f"{path} exists and is no file of predictions: give another --output, or delete it")
        if existing.settings != self._settings:
            differences = ", ".join(
                "another model" if name == "model" else f"{name} {existing.settings.get(name)}, not {value}"
                for name, value in self._settings.items()
                if existing.settings.get(name) != value
            )
            raise UserError(f"{path} was made with {differences}: give another --output, or delete it")
        if not label.is_of(path):
            return False
        self.summary.count += existing.count
        return True

    def _file(self, shard: Shard) -> tuple[Path, Label]:
        return self._output / f"{shard.name}{ENDING}", Label(self._settings, shard.state())

    def _parts(self, path: Path) -> Path:
        return self.workspace / path.relative_to(self._output)
