"""A sweep in MLflow: a parent run, below it one for each trial, found by their tags and each made once.

Files are the record: what MLflow lacks of trials that are over is added from their results.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from pipeline.config.params import Params, flatten
from pipeline.hashing import joined
from pipeline.runs.environment import Environment
from pipeline.runs.folders import Row, run_parameters
from pipeline.sweeps.trials import ACCURACY, ERROR_RATE, Result, Trial
from pipeline.tracking.client import KIND, PUBLISHED, REUSED, SEED, STRATEGY, TRAINED, Connection
from pipeline.tracking.runs import Run

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run as MlflowRun

SWEEP, TRIAL = "sweep", "trial"  # kinds of runs
KEY, ENDING = "tandem.trial", "tandem.ending"  # tags of a trial


class SweepConnection(Connection):
    """The way to a sweep's runs."""

    parent_kind = SWEEP
    mended_by = "the same `tandem sweep` adds"

    def __init__(self, experiment: str, key: str, name: str, tags: Mapping[str, str]) -> None:
        super().__init__(experiment, key, tags)
        self._name = f"{SWEEP}-{name}-{key[:6]}"

    def trials(self) -> dict[str, list["MlflowRun"]]:
        """The runs of trials by their keys."""
        found: dict[str, list[MlflowRun]] = {}
        for run in self.attempt("find the trials", lambda client: self._search(client, {KIND: TRIAL})) or ():
            found.setdefault(run.data.tags[KEY], []).append(run)
        return found

    def parents(self) -> list["MlflowRun"]:
        """The runs of the sweep itself."""
        return self.attempt("find the sweep", lambda client: self._search(client, {KIND: SWEEP})) or []

    def new_trial(self, parent: str, key: str, name: str, tags: Mapping[str, str]) -> str:
        """Id of a new run of a trial, in place of any before it; empty if MLflow is away."""

        def make(client: "MlflowClient") -> str:
            with self._lock:
                for run in self._search(client, {KIND: TRIAL, KEY: key}):
                    client.delete_run(run.info.run_id)
                every = {**self._tags, "mlflow.parentRunId": parent, KIND: TRIAL, KEY: key, **tags}
                return str(client.create_run(self._experiment, tags=every, run_name=name).info.run_id)

        return self.attempt("make the run of a trial", make) or ""


class SweepRuns:
    """The runs of one sweep. Nothing here raises because of MLflow."""

    def __init__(self, params: Params, trials: Mapping[str, Trial], name: str) -> None:
        """trials: all of the sweep, by key."""
        self._trials = trials
        self._tags = Environment.here().tags()
        self._settings = flatten(params)
        key = joined(*sorted(trials))
        self._connection = SweepConnection(params.tracking.experiment, key, name, self._tags)
        self._parent = Run(self._connection, "")
        self._open: dict[str, Run] = {}

    def begin(self) -> None:
        """Open the parent run."""
        if not self._parent.run_id:
            self._parent = Run(self._connection, self._connection.open_parent(self._settings, {}))

    def start(self, trial: Trial, key: str, **tags: str) -> Run:
        """Open the run of a trial."""
        every = {STRATEGY: trial.strategy, SEED: str(trial.seed), **self._tags, **tags}
        self.begin()
        run = Run(
            self._connection, self._connection.new_trial(self._parent.run_id, key, trial.title, every), is_new=True
        )
        run.log_parameters(run_parameters(trial.strategy, trial.params))
        self._open[key] = run
        return run

    def log(self, key: str, rows: Sequence[Row]) -> None:
        """Add looks to the run of a trial."""
        self._open[key].log_history(rows)

    def finish(self, key: str, result: Result) -> None:
        """End the run of a trial that finished, or was stopped."""
        run = self._open.pop(key)
        best = {ACCURACY: result.dev_word_accuracy, ERROR_RATE: result.dev_character_error_rate}
        run.log_metrics({f"best_{name}": value for name, value in best.items()}, step=result.steps)
        run.set_tags({TRAINED: result.digest, ENDING: result.ending})
        run.finish()

    def fail(self, key: str) -> None:
        """End the run of a trial that failed."""
        if key in self._open:
            self._open.pop(key).finish("FAILED")

    def complete(self, results: Mapping[str, Result], description: str, files: Sequence[Path]) -> None:
        """Add what is missing; where that is nothing, nothing is written."""
        stored = self._connection.trials()
        for key, result in results.items():
            there = stored.get(key, [])
            if (
                len(there) != 1
                or there[0].info.status != "FINISHED"
                or there[0].data.tags.get(TRAINED) != result.digest
            ):
                self.start(self._trials[key], key, **{REUSED: "true"})
                self.log(key, result.rows)
                self.finish(key, result)
        published = joined(description, *(result.digest for result in results.values()))
        parents = self._connection.parents()
        if [(run.info.status, run.data.tags.get(PUBLISHED)) for run in parents] == [("FINISHED", published)]:
            return
        self.begin()
        for path in files:
            self._parent.log_artifact(path)
        self._parent.set_tags({"mlflow.note.content": description, PUBLISHED: published})
        self._parent.finish()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Where an exception breaks the sweep off, that ends all runs that are open."""
        if error is not None:
            for run in [*self._open.values(), *([self._parent] if self._parent.run_id else [])]:
                run.__exit__(kind, error, trace)
