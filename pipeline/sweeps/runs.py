"""A sweep in MLflow: a parent run with one child for each trial, found by their tags and each made once.

Files are the record: trials that MLflow lacks are added from their results.
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
from pipeline.tracking.client import KIND, PUBLISHED, REUSED, SEED, STRATEGY, TRAINED, Connection, ExistingRun
from pipeline.tracking.runs import Run

if TYPE_CHECKING:
    from mlflow import MlflowClient

SWEEP, TRIAL = "sweep", "trial"  # kinds of runs
KEY, ENDING = "tandem.trial", "tandem.ending"  # tags of a trial


class SweepConnection(Connection):
    """The connection to the runs of a sweep."""

    parent_kind = SWEEP
    mended_by = "the same `tandem sweep` adds"

    def __init__(self, experiment: str, key: str, name: str, tags: Mapping[str, str]) -> None:
        super().__init__(experiment, key, tags)
        self._name = f"{SWEEP}-{name}-{key[:6]}"

    def trials(self) -> list[ExistingRun]:
        """The runs of trials."""
        return self._existing({KIND: TRIAL}) or []

    def new_trial(self, parent: str, key: str, name: str, tags: Mapping[str, str]) -> str:
        """Make a run of a trial in place of any before it; returns its id, empty if MLflow is away."""

        def make(client: "MlflowClient") -> str:
            for run in self._search(client, {KIND: TRIAL, KEY: key}):
                client.delete_run(run.info.run_id)
            every = {**self._tags, "mlflow.parentRunId": parent, KIND: TRIAL, KEY: key, **tags}
            return str(client.create_run(self._experiment, tags=every, run_name=name).info.run_id)

        return self.attempt("make the run of a trial", make) or ""


class SweepRuns:
    """The runs of one sweep in MLflow. No method raises because of MLflow."""

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
            self._parent = Run(self._connection, self._connection.open_parent({}))
            self._parent.log_parameters(self._settings)

    def start(self, trial: Trial, key: str, **tags: str) -> Run:
        """Open the run of a trial."""
        self.begin()
        every = {STRATEGY: trial.strategy, SEED: str(trial.seed), **self._tags, **tags}
        run_id = self._connection.new_trial(self._parent.run_id, key, trial.title, every)
        run = self._open[key] = Run(self._connection, run_id, is_new=True)
        run.log_parameters(run_parameters(trial.strategy, trial.params))
        return run

    def log(self, key: str, rows: Sequence[Row]) -> None:
        """Add evaluations to the run of a trial."""
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
        """Add to MLflow what it lacks of these results; writes nothing where nothing is missing."""
        existing = self._connection.trials()
        for key, result in results.items():
            if [run.was_trained_as(result.digest) for run in existing if run.tags.get(KEY) == key] != [True]:
                self.start(self._trials[key], key, **{REUSED: "true"})
                self.log(key, result.rows)
                self.finish(key, result)
        published = joined(description, *(result.digest for result in results.values()))
        if [run.shows(published) for run in self._connection.parents()] == [True]:
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
        """End all open runs if an exception interrupts the sweep."""
        if error is not None:
            for run in [*self._open.values(), *([self._parent] if self._parent.run_id else [])]:
                run.__exit__(kind, error, trace)
