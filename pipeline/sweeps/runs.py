"""A sweep in MLflow: a parent run with one child for each trial, found by their tags and each made once.

Files are the record: trials that MLflow lacks are added from their results.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from pipeline.config.params import Params, flatten
from pipeline.hashing import joined
from pipeline.runs.environment import Environment
from pipeline.runs.folders import ACCURACY, ERROR_RATE, STEP, run_parameters
from pipeline.sweeps.trials import Result, Trial
from pipeline.tracking.client import KIND, PARENT_ID, PUBLISHED, REUSED, SEED, STRATEGY, TRAINED, Connection
from pipeline.tracking.runs import Run

SWEEP, TRIAL = "sweep", "trial"  # kinds of runs
KEY, ENDING = "tandem.trial", "tandem.ending"  # tags of a trial


class SweepRuns(Connection):
    """The runs of one sweep in MLflow. No method raises because of MLflow."""

    parent_kind = SWEEP
    mended_by = "the same `tandem sweep` adds"

    def __init__(self, params: Params, trials: Mapping[str, Trial], name: str, stack: ExitStack) -> None:
        """trials: all of the sweep, by key. stack: ends the runs that are open when it is closed."""
        key = joined(*sorted(trials))
        super().__init__(params.tracking.experiment, key, Environment.here().tags())
        self._name = f"{SWEEP}-{name}-{key[:6]}"
        self._trials, self._settings, self._stack = trials, flatten(params), stack
        self._parent = Run(self, "")
        self.open: dict[str, Run] = {}  # runs of trials by key

    def start(self, key: str, **tags: str) -> None:
        """Open the run of a trial in place of any before it."""
        self._begin()
        trial = self._trials[key]
        own = {PARENT_ID: self._parent.run_id, KIND: TRIAL, KEY: key}
        every = {**self._tags, **own, STRATEGY: trial.strategy, SEED: str(trial.seed), **tags}

        def make(client: Any) -> str:
            for run in self._search(client, {KIND: TRIAL, KEY: key}):
                client.delete_run(run.info.run_id)
            return str(client.create_run(self._experiment, tags=every, run_name=trial.title).info.run_id)

        run = Run(self, self.attempt("make the run of a trial", make), is_new=True)
        self.open[key] = self._stack.enter_context(run)
        run.log_parameters(run_parameters(trial.strategy, trial.params))

    def finish(self, key: str, result: Result) -> None:
        """End the run of a trial that finished, or was stopped."""
        run, best = self.open.pop(key), result.best
        run.log_metrics({f"best_{name}": best[name] for name in (ACCURACY, ERROR_RATE)}, int(result.rows[-1][STEP]))
        run.set_tags({TRAINED: result.digest, ENDING: result.ending})
        run.finish()

    def complete(self, results: Mapping[str, Result], description: str, files: Sequence[Path]) -> None:
        """Add to MLflow what it lacks of these results; writes nothing where nothing is missing."""
        existing = self._existing({KIND: TRIAL}) or []
        for key, result in results.items():
            if [run.was_trained_as(result.digest) for run in existing if run.tags.get(KEY) == key] != [True]:
                self.start(key, **{REUSED: "true"})
                self.open[key].log_history(result.rows)
                self.finish(key, result)
        published = joined(description, *(result.digest for result in results.values()))
        if [run.shows(published) for run in self.parents()] != [True]:
            self._begin()
            for path in files:
                self._parent.log_artifact(path)
            self._parent.set_tags({"mlflow.note.content": description, PUBLISHED: published})
            self._parent.finish()

    def _begin(self) -> None:
        if not self._parent.run_id:
            self._parent = self._stack.enter_context(Run(self, self.open_parent({})))
            self._parent.log_parameters(self._settings)
