"""Sweeps as they are run: on a real cluster that loses a node, broken off, stopped early, done again."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial, reduce
from operator import getitem
from pathlib import Path
from typing import Any

import psutil
import pytest
from filelock import FileLock

from pipeline.config.params import Params, load_params
from pipeline.data.prepared import Prepared
from pipeline.errors import UserError
from pipeline.runs.folders import PRETRAIN, run_folder
from pipeline.sweeps.space import read_space
from pipeline.sweeps.trials import Place, load_result
from pipeline.training.trainer import run_training
from tests.conftest import PROJECT, changed_params
from tests.support.clusters import two_nodes
from tests.support.same_bytes import comparable
from tests.support.stored import artifacts, runs, state

pytestmark = pytest.mark.slow

SMALL: dict[str, Any] = {
    "data.source": "files",
    "data.pairs": "data/raw/pairs.tsv",
    "data.dev": "data/raw/dev.tsv",
    "data.test": "data/raw/dev.tsv",
    "data.targets": "data/raw/targets.txt",
    "data.source_symbols": "characters",
    "prepare.pairs": 50,
    "prepare.targets": None,
    "prepare.hold_out_targets": False,
    "model.units": 8,
    "model.projection": 6,
    "training.batch_size": 8,
    "training.evaluate_every": 4,
    "training.learning_rate": 0.05,
    "training.warmup": 0,
    "checkpoints.seconds": 0,
    "pretrain.steps": 20,
    "strategies.supervised.steps": 20,
    "strategies.two_stage.frozen_steps": 10,
    "strategies.two_stage.steps": 10,
    "strategies.tandem.steps": 20,
}

# 2 x 3 of supervised, 2 x 2 of two_stage, 2 x 1 of tandem: what a strategy does not depend on makes no more of it.
MANY = """
strategies: [supervised, two_stage, tandem]
seeds: [0, 1]
parameters:
  strategies.supervised.steps: [12, 16, 20]
  strategies.two_stage.steps: [10, 12]
  strategies.tandem.steps: [16]
stop_early: false
"""

# What does not learn is worse than half of those before it, when it has made a quarter of its steps.
HOPELESS = """
strategies: [supervised]
seeds: [0, 1]
parameters:
  training.learning_rate: [0.05, 1.0e-9]
"""


@pytest.fixture
def place(project: Path) -> Place:
    """A project whose pairs all have the same target, which is learned in a few steps."""
    raw = project / "data" / "raw"
    raw.mkdir(parents=True)
    rows = [f"{a}{b}\tyes\n" for a in "abcdefgh" for b in "ijklmnop"]
    (raw / "pairs.tsv").write_text("".join(rows[:50]), encoding="utf-8")
    (raw / "dev.tsv").write_text("".join(rows[50:]), encoding="utf-8")
    (raw / "targets.txt").write_text("yes\nyea\nno\n", encoding="utf-8")
    shutil.copy(PROJECT / "params.yaml", project)
    write_params(project / "params.yaml", SMALL)
    return Place(project, "sweep")


def write_params(path: Path, changes: dict[str, Any]) -> None:
    from ruamel.yaml import YAML

    yaml = YAML()
    content = yaml.load(path.read_text(encoding="utf-8"))
    for name, value in changes.items():
        *sections, key = name.split(".")
        reduce(getitem, sections, content)[key] = value
    with path.open("w", encoding="utf-8") as file:
        yaml.dump(content, file)


def start(place: Place, text: str, *arguments: str) -> subprocess.Popen[str]:
    (place.root / "sweep.yaml").write_text(text, encoding="utf-8")
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "DVC_", "RAY_ADDRESS"))
    }
    return subprocess.Popen(
        [sys.executable, "-m", "pipeline.cli", "sweep", *arguments],
        cwd=place.root,
        env=kept | {"PYTHONPATH": str(PROJECT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # ignored where tests run in the background
    )


def output(sweep: subprocess.Popen[str]) -> tuple[str, str]:
    """What a sweep that ended well wrote to standard output and standard error."""
    out, err = sweep.communicate()
    assert sweep.returncode == 0, f"{out}\n{err}"
    assert "Traceback" not in err
    return out, err


def wait_for(what: Callable[[], bool], sweep: subprocess.Popen[str]) -> None:
    while not what():
        assert sweep.poll() is None, "\n".join(sweep.communicate())
        time.sleep(0.1)


def finished(place: Place) -> list[Path]:
    return [path for path in (place.folder / "trials").glob("*/*/*/run.json") if path.parts[-3] != PRETRAIN]


def assert_every_trial_is_once_in_mlflow(place: Place, params: Params) -> None:
    _, trials = read_space(place.root / "sweep.yaml", params)
    (parent,) = runs(place.root, "sweep")
    shown = runs(place.root, "trial")
    assert sorted(run.data.tags["tandem.trial"] for run in shown) == sorted(map(place.key, trials))
    assert len(runs(place.root)) == len(trials) + 1
    assert {run.data.tags["mlflow.parentRunId"] for run in shown} == {parent.info.run_id}
    assert {run.info.status for run in (parent, *shown)} == {"FINISHED"}
    assert artifacts(place.root, parent) == {"sweep.yaml", "trials.tsv", "parallel.png"}
    by_key = {run.data.tags["tandem.trial"]: run for run in shown}
    for trial in trials:
        run, result = by_key[place.key(trial)], load_result(trial, place.trial(trial))
        assert result
        assert run.info.run_name == trial.title
        assert run.data.metrics["best_dev_word_accuracy"] == result.best["dev_word_accuracy"]
        assert run.data.metrics["dev_word_accuracy"] == result.rows[-1]["dev_word_accuracy"]


def test_a_sweep_of_12_trials_survives_a_killed_node_and_is_not_done_again(place: Place) -> None:
    with two_nodes() as cluster:
        sweep = start(place, MANY, "--address", cluster.address)
        wait_for(lambda: len(finished(place)) >= 4, sweep)

        def at_work() -> set[int]:
            with suppress(psutil.Error):  # a process that has just ended
                return {worker.pid for worker in cluster.workers(0) if ".train" in " ".join(worker.cmdline())}
            return set()

        before = at_work()
        wait_for(lambda: bool(at_work() - before), sweep)  # has just begun, so that it is not over when it is killed
        cluster.kill(0)
        _, log = output(sweep)
    params = load_params(place.root / "params.yaml")
    assert "its process or machine died; it resumes elsewhere" in log
    assert "made for all trials: 1 set(s) of prepared data, 2 autoencoder(s)" in log
    assert [line[:7] for line in log.splitlines() if line.startswith("[")] == [f"[{n:2}/12]" for n in range(1, 13)]
    assert len(finished(place)) == 12
    assert_every_trial_is_once_in_mlflow(place, params)
    before_again = state(place.root)
    text = (place.root / "params.yaml").read_text(encoding="utf-8")
    again, log = output(start(place, MANY, "--apply"))
    assert log.startswith("12 trials, 12 of them have a result already\n")
    assert state(place.root) == before_again
    (best,) = [line for line in again.splitlines() if line.startswith("best: ")]
    written = load_params(place.root / "params.yaml")
    for name in ("supervised", "two_stage", "tandem"):
        now = written.strategies[name].steps
        if f"strategies.{name}.steps: " in best:
            assert f"strategies.{name}.steps: {now}" in best
        else:
            assert now == params.strategies[name].steps
    assert (written == params) == ((place.root / "params.yaml").read_text(encoding="utf-8") == text)


def test_an_interrupted_and_killed_sweep_continues_and_hopeless_trials_stop_early(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_params(place.root / "params.yaml", {"strategies.supervised.steps": 80, "training.evaluate_every": 8})
    params = load_params(place.root / "params.yaml")
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")  # one trial after the other
    stopped = start(place, HOPELESS, "--apply")
    wait_for(lambda: bool(finished(place)), stopped)
    os.killpg(stopped.pid, signal.SIGINT)  # as Ctrl-C does
    out, log = stopped.communicate()
    assert stopped.returncode == 2
    assert "best: " not in out
    assert log.splitlines()[-1].startswith("error: interrupted, ")
    assert "Traceback" not in log
    killed = start(place, HOPELESS)
    wait_for(lambda: len(finished(place)) >= 2, killed)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    _, log = output(start(place, HOPELESS))
    assert log.startswith("4 trials, ")
    assert not log.startswith("4 trials, 0 of them")
    assert_every_trial_is_once_in_mlflow(place, params)
    trials = {trial.title: trial for trial in read_space(place.root / "sweep.yaml", params)[1]}
    results = {title: load_result(trial, place.trial(trial)) for title, trial in trials.items()}
    good = [result for title, result in results.items() if "0.05" in title and result]
    bad = [result for title, result in results.items() if "1e-09" in title and result]
    assert [result.best["dev_word_accuracy"] for result in good] == [1.0, 1.0]
    assert all(result.ending == "finished" for result in good)
    assert [result.best["dev_word_accuracy"] for result in bad] == [0.0, 0.0]
    assert not any(result.ending == "finished" for result in bad)
    assert [result.rows[-1]["step"] for result in bad] == [24, 24]  # of 80: the first evaluation after a quarter
    assert len((place.folder / "trials.tsv").read_text(encoding="utf-8").splitlines()) == 5


def test_a_trial_that_is_started_again_resumes_from_its_checkpoint_and_gives_identical_bytes(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray", reason="needs Ray: python -m pip install '.[cluster]'")
    from pipeline.sweeps.trainable import prepare, pretrain, reports
    from pipeline.sweeps.trials import code

    monkeypatch.chdir(place.root)
    (place.root / "sweep.yaml").write_text("strategies: [two_stage]\nseeds: [1]\n", encoding="utf-8")
    params = changed_params(SMALL | {"strategies.two_stage.finetune_steps": 10})
    _, (trial,) = read_space(place.root / "sweep.yaml", params)
    start = trial.pretraining
    assert start
    for _ in range(2):  # the second time there is nothing to do, and no harm in it
        assert prepare(params, place) == pretrain(start, place) == ""
    first = reports(trial, place, code())
    rows = [row for _ in range(3) for row in next(first)["rows"]]
    first.close()  # type: ignore[attr-defined]  # a generator
    report, *others = reports(trial, place, code())
    assert report["rows"] == rows[:-1]  # the last evaluation was after the last checkpoint
    rows = [row for some in (report, *others) for row in some["rows"]]
    assert others[-1]["complete"]
    result = load_result(trial, place.trial(trial))
    assert result
    assert result.rows == rows
    models = place.root / "without a sweep"
    shutil.copytree(place.trial(start), models)
    prepared = Prepared.open(place.prepared(params))
    for _ in run_training("two_stage", params, prepared, 1, models):
        pass
    assert comparable(run_folder("two_stage", 1, models)) == comparable(run_folder("two_stage", 1, place.trial(trial)))


def test_data_that_cannot_be_prepared_are_explained_and_leave_nothing_behind(place: Place) -> None:
    pytest.importorskip("ray", reason="needs Ray: python -m pip install '.[cluster]'")
    from pipeline.sweeps.trainable import prepare

    params = changed_params(SMALL | {"prepare.pairs": 5000})
    place.prepared(params).parent.mkdir(parents=True)
    assert prepare(params, place).startswith("prepare.pairs")
    assert not list(place.prepared(params).parent.iterdir())


def test_two_sweeps_do_not_run_at_once_in_a_project(place: Place) -> None:
    pytest.importorskip("ray", reason="needs Ray: python -m pip install '.[cluster]'")
    from pipeline.sweeps.sweep import sweep

    file = place.root / "sweep.yaml"
    file.write_text(HOPELESS, encoding="utf-8")
    place.shared.mkdir(parents=True)
    with FileLock(place.shared / "lock"), pytest.raises(UserError, match="another sweep is running"):
        sweep(file, changed_params(SMALL), place.root)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nowhere", "ray://127.0.0.1:1"])
def test_a_cluster_that_is_not_there_is_an_error_in_a_sentence(place: Place, address: str) -> None:
    pytest.importorskip("ray", reason="needs Ray: python -m pip install '.[cluster]'")
    from pipeline.sweeps.sweep import sweep

    (place.root / "sweep.yaml").write_text(HOPELESS, encoding="utf-8")
    with pytest.raises(UserError, match=f"there is no Ray cluster at {address}"):
        sweep(place.root / "sweep.yaml", changed_params(SMALL), place.root, address)


def test_trials_on_a_gpu_where_ray_has_none_are_an_error_and_do_not_wait_for_one(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray", reason="needs Ray: python -m pip install '.[cluster]'")
    from pipeline.sweeps.sweep import sweep

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    (place.root / "sweep.yaml").write_text(HOPELESS, encoding="utf-8")
    with pytest.raises(UserError, match=r"training\.device is gpu, but Ray sees no GPU"):
        sweep(place.root / "sweep.yaml", changed_params(SMALL | {"training.device": "gpu"}), place.root)
    assert not list(place.shared.glob("prepared/*"))


def test_the_best_of_different_development_data_is_not_applied(place: Place) -> None:
    pytest.importorskip("ray", reason="needs Ray: python -m pip install '.[cluster]'")
    from pipeline.sweeps.sweep import sweep

    file = place.root / "sweep.yaml"
    text = "strategies: [tandem]\nseeds: [0]\nparameters: {prepare.seed: [0, 1]}\nstop_early: false\n"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match="varies the development data"):
        sweep(file, changed_params(SMALL), place.root, apply_to=place.root / "params.yaml")


def test_a_trial_that_fails_reports_the_problem(place: Place) -> None:
    pytest.importorskip("ray", reason="needs Ray: python -m pip install '.[cluster]'")
    from pipeline.sweeps.trainable import reports
    from pipeline.sweeps.trials import code

    (place.root / "sweep.yaml").write_text("strategies: [tandem]\nseeds: [1]\n", encoding="utf-8")
    _, (trial,) = read_space(place.root / "sweep.yaml", changed_params(SMALL))
    (report,) = reports(trial, place, code())
    assert "run `dvc repro prepare`" in report["problem"] or "cannot be read" in report["problem"]
    (other,) = reports(trial, place, "of another machine")
    assert other["problem"].startswith("the code differs from the code that the sweep started with")
