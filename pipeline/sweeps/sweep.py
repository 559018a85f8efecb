"""A sweep: its trials on Ray Tune, on this machine's cores or on a cluster.

Prepared data and autoencoders that several trials need are made once, before the trials. This process alone decides
with Tune's scheduler which trials stop early, and writes to MLflow; the result of a trial is kept in its folder, and an
interrupted sweep continues from there. How a trial is trained is left to `trainable`.
"""

import logging
import re
import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ray
from filelock import FileLock, Timeout
from ray import tune
from ray.tune.schedulers import ASHAScheduler

from pipeline.config import edit
from pipeline.config.options import Device
from pipeline.config.params import Params
from pipeline.errors import UserError
from pipeline.ray_cluster import connected
from pipeline.report import figures
from pipeline.runs import checkpoints
from pipeline.runs.folders import ACCURACY, STEP, Row
from pipeline.sweeps import ranking
from pipeline.sweeps.runs import SweepRuns
from pipeline.sweeps.space import read_space
from pipeline.sweeps.trainable import COMPLETE, PROBLEM, ROWS, SHARE, prepare, pretrain, train
from pipeline.sweeps.trials import FINISHED, Place, Result, Trial, code, load_result, save_stop

OBJECTS = 10**8  # bytes of values that Ray passes around: parameters are small
RESTARTS = 10  # of a piece of work whose process or machine died

logger = logging.getLogger(__name__)


def sweep(file: Path, params: Params, root: Path, address: str | None = None, apply_to: Path | None = None) -> str:
    """Run the unfinished trials of a sweep, write its table and plot, and complete it in MLflow.

    apply_to: a params.yaml that gets the parameters of the best configuration. Returns the ranking for a terminal;
    raises `UserError` for a file that cannot be used, and for trials that fail.
    """
    space, every_trial = read_space(file, params)
    if apply_to and space.incomparable:
        raise UserError(f"{file} varies the development data, so no trial is the best: --apply is not possible")
    place, parameters = Place(root, re.sub(r"[^\w-]", "-", file.stem) or "sweep"), list(space.parameters)
    trials = {place.key(trial): trial for trial in every_trial}
    place.folder.mkdir(parents=True, exist_ok=True)
    place.shared.mkdir(exist_ok=True)
    table, plot = place.folder / "trials.tsv", place.folder / "parallel.png"
    try:
        with FileLock(place.shared / "lock", timeout=0), ExitStack() as stack:
            runs = SweepRuns(params, trials, place.name, stack)
            results = _run_trials(trials, place, runs, address, space.stop_early)
            rows = ranking.trials_table(((trials[key], result) for key, result in results.items()), parameters)
            configurations = ranking.ranked(rows, parameters)
            best = configurations.iloc[0]
            text = f"{ranking.table(configurations)}\n{ranking.verdict(best)}"
            rows.drop(columns="trial").to_csv(table, sep="\t", index=False, lineterminator="\n")
            figures.save(ranking.parallel_coordinates(rows, parameters), plot)
            runs.complete(results, text, [file, table, plot])
    except Timeout:
        raise UserError(f"another sweep is running in {root}: wait for it, or end it") from None
    lines = [f"\n{text}\n", f"every trial: {table.relative_to(root)}, as a plot: {plot.relative_to(root)}"]
    if space.incomparable:
        lines.append("The trials have different development data: their accuracies cannot be compared")
    if apply_to:
        for name, (before, after) in edit.apply(best["trial"].changes, apply_to).items():
            lines.append(f"{apply_to}: {name} is {edit.yaml_text(after)} now, was {edit.yaml_text(before)}")
        lines.append(f"`dvc repro` trains all strategies; {best['strategy']} was the best")
    return "\n".join(lines)


def _run_trials(
    trials: Mapping[str, Trial], place: Place, runs: SweepRuns, address: str | None, stop_early: bool
) -> dict[str, Result]:
    """Run the unfinished trials, in a cluster if there is an address; returns the results by the keys of trials."""

    def results() -> dict[str, Result]:
        every = {key: load_result(trial, place.trial(trial)) for key, trial in trials.items()}
        return {key: one for key, one in every.items() if one and (stop_early or one.ending == FINISHED)}

    existing = results()
    waiting = {key: trial for key, trial in trials.items() if key not in existing}
    logger.info("%s trials, %s of them have a result already", f"{len(trials):,}", f"{len(existing):,}")
    if not waiting:
        return existing
    watcher = _Watcher(waiting, place, runs, len(trials))
    with connected(address, OBJECTS):
        if _resources(list(waiting.values()))[1] > ray.cluster_resources().get("GPU", 0):
            raise UserError(
                "training.device is gpu, but Ray sees no GPU: set it to cpu, or start Ray where there is one"
            )
        _make_shared(list(waiting.values()), place)
        _tune(waiting, place, watcher, _halving(trials, existing) if stop_early else None)
    if watcher.problems:
        raise UserError("\n  ".join([f"{len(watcher.problems)} trial(s) failed:", *watcher.problems]))
    if left := len(trials) - watcher.ended:
        raise UserError(f"interrupted, {left} trial(s) are unfinished: the same command continues with them")
    checkpoints.clear(place.checkpoints)
    return results()


def _make_shared(trials: Sequence[Trial], place: Place) -> None:
    """Prepare missing data and pretrain missing autoencoders, each once for all trials that agree on them."""
    data = {place.prepared(trial.params): trial.params for trial in trials}
    data = {folder: params for folder, params in data.items() if not folder.is_dir()}
    starts = {place.trial(start): start for trial in trials if (start := trial.pretraining)}
    starts = {folder: start for folder, start in starts.items() if load_result(start, folder) is None}
    training = _resources(trials)
    for work, items, (cores, gpus) in ((prepare, data.values(), (1, 0)), (pretrain, starts.values(), training)):
        # A process for each: one that has computed with tensorflow keeps its memory.
        task = ray.remote(num_cpus=cores, num_gpus=gpus, max_retries=RESTARTS, max_calls=1)(work)
        for problem in ray.get([task.remote(item, place) for item in items]):
            if problem:
                raise UserError(problem)
    if data or starts:
        logger.info("made for all trials: %s set(s) of prepared data, %s autoencoder(s)", len(data), len(starts))


def _resources(trials: Sequence[Trial]) -> tuple[int, int]:
    """Cores and GPUs for each trial, the same for all."""
    training = trials[0].params.training
    return training.threads, int(training.device is Device.GPU)


def _halving(trials: Mapping[str, Trial], results: Mapping[str, Result]) -> ASHAScheduler:
    """Asynchronous successive halving (Li et al. 2020) that also counts the trials with a result already."""
    # A trial is compared with the others when it has made 25 per cent of its steps, and again at twice as many: it
    # stops unless it is in the better half so far. Per cent, because learning rates fall over all steps of a trial.
    # Finished trials are never stopped: their results are being written.
    scheduler = ASHAScheduler(
        SHARE, ACCURACY, "max", max_t=99, grace_period=25, reduction_factor=2, stop_last_trials=False
    )
    for key, result in results.items():
        known = SimpleNamespace(trial_id=key)  # all that the scheduler reads of a trial
        scheduler.on_trial_add(None, known)
        for row in result.rows:
            scheduler.on_trial_result(None, known, {SHARE: trials[key].share(row), ACCURACY: row[ACCURACY]})
    return scheduler


def _tune(trials: dict[str, Trial], place: Place, watcher: "_Watcher", scheduler: ASHAScheduler | None) -> None:
    scratch = place.folder / "ray"  # Tune's own files, of no use afterwards
    shutil.rmtree(scratch, ignore_errors=True)
    with suppress(KeyboardInterrupt):  # the caller sees that trials are unfinished
        tune.run(
            tune.with_parameters(train, trials=trials, place=place, expected_code=code()),
            config={"trial": tune.grid_search(list(trials))},
            resources_per_trial=dict(zip(("cpu", "gpu"), _resources(list(trials.values())), strict=True)),
            scheduler=scheduler,
            callbacks=[watcher],
            storage_path=str(scratch),
            verbose=0,
            max_failures=RESTARTS,
            raise_on_failed_trial=False,
        )
    shutil.rmtree(scratch, ignore_errors=True)


class _Watcher(tune.Callback):
    """Logs what trials report, passes it to MLflow, and saves the evaluations of those that are stopped."""

    def __init__(self, trials: dict[str, Trial], place: Place, runs: SweepRuns, total: int) -> None:
        self._trials, self._place, self._runs, self._total = trials, place, runs, total
        self._rows: dict[str, list[Row]] = {}
        self.ended = total - len(trials)
        self.problems: list[str] = []

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **_: Any) -> None:
        """Log the new evaluations; a trial that was started again reports all of them once more."""
        key = trial.config["trial"]
        if key not in self._rows:
            self._rows[key] = []
            self._runs.start(key)
        known = self._rows[key]
        new = [row for row in result[ROWS] if not known or row[STEP] > known[-1][STEP]]
        known += new
        self._runs.open[key].log_history(new)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """Keep the result of a trial that has ended."""
        key, report = trial.config["trial"], trial.last_result
        folder = self._place.trial(self._trials[key])
        if problem := report.get(PROBLEM):
            self._end(key, problem=problem)
            return
        if not report.get(COMPLETE):
            save_stop(self._rows[key], folder)
        if result := load_result(self._trials[key], folder):
            self._runs.finish(key, result)
            steps = f"{result.best[STEP]:,.0f} of {result.rows[-1][STEP]:,.0f} steps"
            self._end(key, f"{result.best[ACCURACY]:.1%} after {steps}, {result.ending}")

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        logger.info("%s: its process or machine died; it resumes elsewhere", self._trials[trial.config["trial"]].title)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        self._end(trial.config["trial"], problem=f"its process or machine died {RESTARTS + 1} times")

    def _end(self, key: str, summary: str = "failed", problem: str = "") -> None:
        title = self._trials[key].title
        if problem:
            self.problems.append(f"{title}: {problem}")
            if key in self._runs.open:
                self._runs.open.pop(key).finish("FAILED")
        self.ended += 1
        logger.info("[%s/%s] %s: %s", f"{self.ended:{len(str(self._total))}}", self._total, title, summary)
