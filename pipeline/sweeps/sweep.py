"""A sweep: its trials on Ray Tune, on this machine's cores or on a cluster.

Whatever a trial needs that others need too is made once, before the trials. This process alone decides with Tune's
scheduler what is stopped early, and writes to MLflow; what came of a trial stands in its folder, and a sweep that was
broken off goes on from there. What a trial does is left to `trainable`.
"""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ray
from filelock import FileLock, Timeout
from ray import tune
from ray.tune.schedulers import ASHAScheduler

from pipeline.config.params import Params
from pipeline.errors import UserError
from pipeline.ray_cluster import connected
from pipeline.report.figures import save as save_figure
from pipeline.runs import checkpoints
from pipeline.runs.folders import METADATA, PRETRAIN, STEP, Row, run_folder
from pipeline.sweeps.coordinates import parallel_coordinates
from pipeline.sweeps.ranking import Configuration, apply, ranked, table, tsv, verdict
from pipeline.sweeps.runs import SweepRuns
from pipeline.sweeps.space import Space, read_space
from pipeline.sweeps.trainable import FINISHED, PROBLEM, ROWS, SHARE, TrialTraining, code, prepare, pretrain, share_of
from pipeline.sweeps.trials import (
    ACCURACY,
    Place,
    Result,
    Trial,
    load_result,
    plain,
    save_stop,
    save_trial,
)

OBJECTS = 10**8  # bytes of values that Ray passes around: parameters are small
RESTARTS = 10  # of a piece of work whose process or machine died
# A trial is held against the others when it has made so much of its steps, in per cent, and again at twice as much:
# what is not in the better half of those that came so far stops there.
FIRST_RUNG, HALVING = 25, 2


def sweep(
    file: Path, params: Params, root: Path, address: str | None = None, apply_to: Path | None = None
) -> Configuration:
    """Run all of a sweep that is not over yet, write its table and its plot, and complete it in MLflow; the best.

    apply_to: a params.yaml that gets the parameters of the best.

    Raises `UserError` for a file that cannot be used, and for trials that cannot be run.
    """
    space, place = read_space(file, params), Place(root, _name(file))
    if apply_to and not space.is_comparable:
        raise UserError(f"{file} varies the development data, so that no trial is the best: --apply is not possible")
    trials = {place.key(trial): trial for trial in space.trials}
    with _alone(place):
        with SweepRuns(params, trials, place.name) as runs:
            results = _run_trials(trials, place, runs, address, space.stop_early)
        found = [(trials[key], result) for key, result in results.items()]
        ranking = ranked(found)
        text = f"{table(ranking, space.parameters)}\n{verdict(ranking[0])}"
        files = _write(found, space, place)
        runs.complete(results, text, [file, *files])
    print(f"\n{text}\n\nevery trial: {files[0].relative_to(root)}, as a plot: {files[1].relative_to(root)}")
    if not space.is_comparable:
        print("The trials have different development data: their accuracies cannot be held against each other")
    if apply_to:
        for name, (before, after) in apply(ranking[0], apply_to).items():
            print(f"{apply_to}: {name} is {plain(after)} now, was {plain(before)}")
        print(f"strategies are no parameters: `dvc repro` trains all, {ranking[0].strategy} was the best")
    return ranking[0]


def _run_trials(
    trials: Mapping[str, Trial], place: Place, runs: SweepRuns, address: str | None, stop_early: bool
) -> dict[str, Result]:
    """Run what is not over yet, in a cluster if there is an address; the results by the keys of trials."""
    waiting = {key: trial for key, trial in trials.items() if _result(trial, place, stop_early) is None}
    over = len(trials) - len(waiting)
    print(f"{len(trials):,} trials, {over:,} of them over already", flush=True)
    if waiting:
        with connected(address, OBJECTS):
            _make_shared(list(waiting.values()), place)
            watcher = _Watcher(waiting, place, runs, over, len(trials))
            with suppress(KeyboardInterrupt):  # what is left then is told below
                _tune(waiting, place, watcher, _halving(trials, place) if stop_early else None)
        if watcher.problems:
            raise UserError("\n  ".join([f"{len(watcher.problems)} trial(s) failed:", *watcher.problems]))
        if watcher.left:
            raise UserError(f"broken off, {watcher.left} trial(s) are not over: the same command goes on with them")
        checkpoints.clear(place.checkpoints)
    found = {key: _result(trial, place, stop_early) for key, trial in trials.items()}
    return {key: result for key, result in found.items() if result}


def _result(trial: Trial, place: Place, stop_early: bool) -> Result | None:
    """The result of a trial that need not be gone on with."""
    result = load_result(trial, place.trial(trial))
    return result if result and (stop_early or result.is_finished) else None


def _name(file: Path) -> str:
    """A folder's name from that of a sweep's file."""
    return "".join(letter if letter.isalnum() or letter in "-_" else "-" for letter in file.stem) or "sweep"


def _write(found: Sequence[tuple[Trial, Result]], space: Space, place: Place) -> list[Path]:
    """The files that say what came out: a table of all trials, and the plot."""
    place.folder.mkdir(parents=True, exist_ok=True)
    paths = [place.folder / "trials.tsv", place.folder / "parallel.png"]
    paths[0].write_text(tsv(found, space.parameters), encoding="utf-8")
    save_figure(parallel_coordinates(found, space.parameters), paths[1])
    return paths


@contextmanager
def _alone(place: Place) -> Iterator[None]:
    """While inside, no other sweep of the project runs."""
    place.shared.mkdir(parents=True, exist_ok=True)
    lock = FileLock(place.shared / "lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise UserError(f"another sweep is running in {place.root}: wait for it, or end it") from None
    try:
        yield
    finally:
        lock.release()


def _make_shared(trials: Sequence[Trial], place: Place) -> None:
    """Prepare data and pretrain autoencoders, each once for all trials that agree on them, if they are not there."""
    data = {place.prepared(trial.params): trial for trial in trials}
    starts = {place.pretrained(trial): trial for trial in trials if trial.is_pretrained}
    data = {folder: trial for folder, trial in data.items() if not folder.is_dir()}
    starts = {
        folder: trial
        for folder, trial in starts.items()
        if not (run_folder(PRETRAIN, trial.seed, folder) / METADATA).exists()
    }
    place.shared.joinpath("prepared").mkdir(parents=True, exist_ok=True)
    _each(prepare, [(trial.params, place) for trial in data.values()], threads=1)
    threads = trials[0].params.training.threads
    _each(pretrain, [(trial, place) for trial in starts.values()], threads)
    if data or starts:
        print(f"made for all trials: {len(data)} set(s) of prepared data, {len(starts)} autoencoder(s)", flush=True)


def _each(work: Callable[..., str], items: Sequence[tuple[Any, ...]], threads: int) -> None:
    # A process for each: one that has computed with tensorflow keeps what it took.
    task = ray.remote(num_cpus=threads, max_retries=RESTARTS, max_calls=1)(work)
    for problem in ray.get([task.remote(*item) for item in items]):
        if problem:
            raise UserError(problem)


def _halving(trials: Mapping[str, Trial], place: Place) -> ASHAScheduler:
    """Stops what is hopeless, also against trials that are over already (Li et al. 2020, successive halving)."""
    scheduler = ASHAScheduler(
        # Not steps, as trials may have more or less of them: learning rates fall over all that a trial has. Finished
        # trials are never stopped: their results are being written.
        time_attr=SHARE,
        metric=ACCURACY,
        mode="max",
        grace_period=FIRST_RUNG,
        max_t=99,
        reduction_factor=HALVING,
        stop_last_trials=False,
    )
    for key, trial in trials.items():
        if result := load_result(trial, place.trial(trial)):
            known: Any = SimpleNamespace(trial_id=key)  # all that the scheduler asks of a trial
            scheduler.on_trial_add(None, known)
            for row in result.rows:
                scheduler.on_trial_result(None, known, {SHARE: share_of(trial, row), ACCURACY: row[ACCURACY]})
    return scheduler


def _tune(trials: dict[str, Trial], place: Place, watcher: "_Watcher", scheduler: ASHAScheduler | None) -> None:
    for trial in trials.values():
        save_trial(trial, place.trial(trial))
    threads = next(iter(trials.values())).params.training.threads
    config = {"root": str(place.root), "name": place.name, "code": code(), "trial": tune.grid_search(list(trials))}
    scratch = place.folder / "ray"  # what Tune itself keeps of a sweep; none of it is needed afterwards
    shutil.rmtree(scratch, ignore_errors=True)
    tuner = tune.Tuner(
        tune.with_resources(TrialTraining, {"cpu": threads}),
        param_space=config,
        tune_config=tune.TuneConfig(
            scheduler=scheduler,
            trial_name_creator=lambda trial: trial.config["trial"],
            trial_dirname_creator=lambda trial: trial.config["trial"],
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=str(scratch),
            callbacks=[watcher],
            verbose=0,
            failure_config=tune.FailureConfig(max_failures=RESTARTS),
            checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
        ),
    )
    try:
        tuner.fit()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


class _Watcher(tune.Callback):
    """Tells the terminal and MLflow what trials report, and keeps the looks of those that are stopped."""

    def __init__(self, trials: dict[str, Trial], place: Place, runs: SweepRuns, ended: int, of: int) -> None:
        self._trials = trials
        self._place = place
        self._runs = runs
        self._ended = ended
        self._of = of
        self._rows: dict[str, list[Row]] = {}
        self._reports: dict[str, dict[str, Any]] = {}
        self.problems: list[str] = []

    @property
    def left(self) -> int:
        """Trials that are not over."""
        return self._of - self._ended

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune keeps its callbacks for going on with a sweep by itself, which is not done."""
        return {}

    def __deepcopy__(self, _: Any) -> "_Watcher":
        """The same, not an empty one."""
        return self

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **_: Any) -> None:
        """Take in the looks that are new; a trial that was begun again reports all of them."""
        key = trial.config["trial"]
        if key not in self._rows:
            self._rows[key] = []
            self._runs.start(self._trials[key], key)
        known = self._rows[key]
        new = [row for row in result[ROWS] if not known or row[STEP] > known[-1][STEP]]
        known += new
        self._reports[key] = result
        self._runs.log(key, new)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """Note how a trial ended."""
        key = trial.config["trial"]
        report = self._reports[key]
        if problem := report.get(PROBLEM):
            self._fail(key, problem)
            return
        folder = self._place.trial(self._trials[key])
        if not report.get(FINISHED):
            save_stop(self._rows[key], folder)
        if result := load_result(self._trials[key], folder):
            self._runs.finish(key, result)
            self._say(key, result.summary)

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """Say that a trial will be begun again."""
        title = self._trials[trial.config["trial"]].title
        print(f"{title}: its process or machine died; it goes on elsewhere", flush=True)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """Give up a trial whose process died again and again."""
        self._fail(trial.config["trial"], f"its process or machine died {RESTARTS + 1} times")

    def _fail(self, key: str, problem: str) -> None:
        self.problems.append(f"{self._trials[key].title}: {problem}")
        self._runs.fail(key)
        self._say(key, "failed")

    def _say(self, key: str, outcome: str) -> None:
        self._ended += 1
        width = len(str(self._of))
        print(f"[{self._ended:{width}}/{self._of}] {self._trials[key].title}: {outcome}", flush=True)
