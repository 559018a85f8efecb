"""Several processes that train one network: on loopback, through the stage that DVC runs."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pytest
from ruamel.yaml import YAML

from pipeline.config.options import Symbols
from pipeline.data.alphabet import END
from pipeline.data.corpus import Corpus
from pipeline.data.examples import Example
from pipeline.data.prepared import PREPARED, Prepared, write_prepared
from pipeline.errors import UserError
from pipeline.model.backend import keras, tf
from pipeline.model.layers import Dropout
from pipeline.model.network import Network, Sizes
from pipeline.runs.checkpoints import CHECKPOINTS
from pipeline.runs.folders import HISTORY, RunMetadata, run_folder
from pipeline.training.loop import TrainingSteps
from pipeline.training.noise import streams
from pipeline.training.strategies import Phase, Task
from pipeline.training.workers import ALONE, Member, Workers, members_here
from tests.conftest import PATIENCE, PROJECT, changed_params, quick_training, shipped_params, small_model
from tests.support.same_bytes import comparable

TWO = ["127.0.0.1:1234", "127.0.0.1:1235"]
LOSSES = {"loss_paired", "loss_autoencode", "loss_synthetic"}
STRATEGIES = {"supervised": ["paired"], "tandem": ["paired", "autoencode", "synthetic"]}
SMALL: dict[str, dict[str, Any]] = {
    "model": {"units": 12, "projection": 8, "dropout": 0.0},
    "training": {"workers": 2, "batch_size": 8, "evaluate_every": 5, "warmup": 2, "patience": 100},
    "strategies": {name: {"tasks": tasks, "steps": 20} for name, tasks in STRATEGIES.items()},
}


def make_project(folder: Path, seeds: Sequence[int] = (0,), **changes: dict[str, Any]) -> Path:
    """A folder with prepared data and params.yaml; changes: of `SMALL`, by section."""
    content = shipped_params() | {"seeds": list(seeds)}
    for settings in (SMALL, changes):
        for section, values in settings.items():
            content[section] |= values
    folder.mkdir()
    YAML().dump(content, folder / "params.yaml")
    prepare(folder / PREPARED)
    return folder


def prepare(folder: Path) -> Prepared:
    rng = np.random.default_rng(0)
    words = ["".join(rng.choice(list("abcdef"), size=rng.integers(2, 9))) for _ in range(120)]
    pairs = [Example(word.upper(), word) for word in words[:60]]
    corpus = Corpus(pairs, pairs[:10], pairs[10:20], words[60:], 0, None, "made up")
    write_prepared(folder, corpus, Symbols.CHARACTERS, Symbols.CHARACTERS)
    return Prepared.open(folder)


def start(folder: Path, strategy: str, **variables: str) -> "subprocess.Popen[str]":
    """A stage, as DVC runs it."""
    return subprocess.Popen(
        [sys.executable, "-m", "pipeline.stages.train", strategy],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(PROJECT), **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def end(stage: "subprocess.Popen[str]") -> tuple[int, str]:
    """Exit code and standard error of a stage that ends."""
    _, errors = stage.communicate(timeout=PATIENCE)
    return stage.returncode, errors


def wait_for(batches: int, folder: Path, stage: "subprocess.Popen[str]") -> None:
    """Until a training has a checkpoint after so many batches."""
    deadline = time.monotonic() + PATIENCE
    while not any(int(path.stem) >= batches for path in (folder / CHECKPOINTS).glob("*/*.checkpoint")):
        assert stage.poll() is None, end(stage)
        assert time.monotonic() < deadline
        time.sleep(0.002)


def trainings(stage: "subprocess.Popen[str]") -> list[psutil.Process]:
    """Its workers, in the order in which they were started."""
    found = psutil.Process(stage.pid).children(recursive=True)
    server = next(process for process in found if process.children())
    return sorted(server.children(), key=lambda process: process.pid)


def outside(index: int, addresses: Sequence[str], kind: str = "worker") -> str:
    return json.dumps({"cluster": {"worker": list(addresses)}, "task": {"type": kind, "index": index}})


@pytest.mark.slow
def test_two_workers_have_the_loss_curve_of_one_process_with_the_doubled_batch(tmp_path: Path) -> None:
    two = make_project(tmp_path / "two")
    one = make_project(tmp_path / "one", training={"workers": 1, "batch_size": 16})
    for stage in [start(two, "tandem"), start(one, "tandem")]:
        assert end(stage) == (0, "")
    run = run_folder("tandem", 0)
    found, wanted = pd.read_csv(two / run / HISTORY), pd.read_csv(one / run / HISTORY)
    assert set(found.columns) == set(wanted.columns) >= LOSSES
    assert list(found["step"]) == [5, 10, 15, 20]
    assert (found["loss_paired"].diff().dropna() < 0).all()
    for name in found.columns:
        np.testing.assert_allclose(found[name], wanted[name], rtol=1e-5, err_msg=name)
    records = [RunMetadata.load(folder / run) for folder in (two, one)]
    assert records[0].symbols == records[1].symbols


@pytest.mark.slow
def test_after_workers_are_killed_the_next_run_resumes_from_the_checkpoint_and_gives_identical_bytes(
    tmp_path: Path,
) -> None:
    settings: dict[str, Any] = {"model": {"dropout": 0.3}, "checkpoints": {"seconds": 0}}
    settings["strategies"] = {"supervised": {"tasks": ["paired"], "steps": 60}}
    whole, killed = (make_project(tmp_path / name, **settings) for name in ("whole", "killed"))
    for victim, least in ((1, 15), (0, 30)):
        stage = start(killed, "supervised")
        wait_for(least, killed, stage)
        trainings(stage)[victim].kill()
        code, errors = end(stage)
        assert code == 2
        error = errors.splitlines()[-1]
        assert re.match(r"error: (a process was killed \(SIGKILL\)|worker [01] of 2 at )", error)
        assert ": the next `dvc repro` " in error
        assert "Traceback" not in errors
    for folder, said in ((whole, ""), (killed, "supervised 0 resumes after step (3[0-9]|[45][0-9]|60)\n")):
        code, errors = end(start(folder, "supervised"))
        assert code == 0
        assert re.fullmatch(said, errors)
    run = run_folder("supervised", 0)
    assert comparable(killed / run) == comparable(whole / run)


@pytest.mark.slow
def test_workers_on_several_machines_leave_all_writing_to_the_first(tmp_path: Path) -> None:
    machines = [make_project(tmp_path / f"machine {index}", [0, 1]) for index in range(2)]
    addresses = members_here(2)[0].addresses
    stages = [start(folder, "supervised", TF_CONFIG=outside(index, addresses)) for index, folder in enumerate(machines)]
    for index, stage in enumerate(stages):
        assert end(stage) == (0, f"worker {index} waits for the other workers: {', '.join(addresses)}\n")
    for seed in (0, 1):
        assert RunMetadata.load(machines[0] / run_folder("supervised", seed)).steps == 20
    assert {path.name for path in machines[1].iterdir()} == {"params.yaml", "data"}


@pytest.mark.slow
def test_a_worker_at_another_training_ends_all_with_a_sentence(tmp_path: Path) -> None:
    machines = [make_project(tmp_path / f"machine {rate}", training={"learning_rate": rate}) for rate in (0.01, 0.02)]
    addresses = members_here(2)[0].addresses
    stages = [start(folder, "supervised", TF_CONFIG=outside(index, addresses)) for index, folder in enumerate(machines)]
    found = [end(stage) for stage in stages]
    assert [code for code, _ in found] == [2, 2]
    assert "error: worker 1 differs from worker 0 in parameters, prepared data" in found[1][1]
    assert "error: worker 0 of 2 at " in found[0][1]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[", r"TF_CONFIG is invalid \(.*Invalid JSON.*\): it must look like \{"),
        ("{}", r"TF_CONFIG is invalid \(cluster: "),
        (outside(0, ["here"]), r"TF_CONFIG is invalid \(cluster\.worker\.0: "),
        (outside(-1, TWO), r"TF_CONFIG is invalid \(task\.index: "),
        (outside(0, TWO, "chief"), r"TF_CONFIG is invalid \(task\.type: .*'worker'"),
        (outside(0, TWO[:1]), r"TF_CONFIG names 1 worker\(s\), but training\.workers is 2: they must agree"),
        (outside(0, TWO[:1] * 2), "TF_CONFIG names a worker twice: 127.0.0.1:1234, 127.0.0.1:1234"),
        (outside(2, TWO), "TF_CONFIG says worker 2, but of 2 workers the last one is 1"),
    ],
)
def test_a_wrong_tf_config_is_reported(text: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(UserError, match=said):
        members_here(2)


def test_a_wrong_tf_config_ends_a_stage_with_its_sentence(tmp_path: Path) -> None:
    code, errors = end(start(make_project(tmp_path / "project"), "tandem", TF_CONFIG=outside(2, TWO)))
    assert (code, errors) == (2, "error: TF_CONFIG says worker 2, but of 2 workers the last one is 1\n")


def test_tf_config_names_the_one_worker_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_CONFIG", outside(1, TWO))
    assert members_here(2) == [Member(tuple(TWO), 1)]
    assert not members_here(2)[0].is_chief


def test_without_tf_config_all_workers_are_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TF_CONFIG", raising=False)
    members = members_here(3)
    assert [member.index for member in members] == [0, 1, 2]
    assert len({member.addresses for member in members}) == 1
    assert len(set(members[0].addresses)) == 3
    assert all(address.startswith("127.0.0.1:") for address in members[0].addresses)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_parts_of_a_batch_are_the_batch(count: int) -> None:
    ids = np.arange(24, dtype=np.int32).reshape(6, 4)
    parts = [Workers(index, count, tf.distribute.get_strategy()).part(ids) for index in range(count)]
    assert {len(part) for part in parts} == {6 // count}
    np.testing.assert_array_equal(np.concatenate(parts), ids)


@pytest.mark.parametrize(
    ("task", "family"),
    [(Task.PAIRED, {}), (Task.EMBEDDING, {"decoder": "repeat", "bridge": "vector"})],
)
def test_the_losses_of_all_parts_add_up_to_that_of_the_batch(task: Task, family: dict[str, Any]) -> None:
    source_ids = np.array([[4, 5, 6, 7], [5, 0, 0, 0], [7, 6, 0, 0], [4, 0, 0, 0]], dtype=np.int32)
    target_ids = np.array([[4, 5, 6, 7, END], [5, END, 0, 0, 0], [7, 6, END, 0, 0], [4, END, 0, 0, 0]], dtype=np.int32)
    losses = []
    tf.config.run_functions_eagerly(True)  # one step does not pay for compiling it
    try:
        # Without others the strategy sums over the one that is there.
        for workers in (ALONE, *(Workers(index, 2, tf.distribute.get_strategy()) for index in range(2))):
            keras.utils.set_random_seed(0)
            steps = TrainingSteps(Network(small_model(**family), Sizes(8, 8, 8)), quick_training(), workers)
            losses.append(steps(task, source_ids, target_ids, 0.01)[0])
    finally:
        tf.config.run_functions_eagerly(False)
    assert losses[1] + losses[2] == pytest.approx(losses[0], rel=1e-6)
    assert min(losses) > 0


def test_each_worker_drops_out_other_units_and_the_first_those_of_one_that_is_alone() -> None:
    masks = []
    for stream in (None, 0, 1, 1, 2):
        layer = Dropout(0.5, seed=7)
        if stream is not None:
            layer.stream = stream
        masks.append(layer(tf.ones([100]), training=True).numpy().tobytes())
    assert masks[0] == masks[1]
    assert masks[2] == masks[3]
    assert len(set(masks)) == 3


def test_workers_share_the_batches_of_one_process_with_as_many_times_the_batch_size(tmp_path: Path) -> None:
    prepared, phase = prepare(tmp_path), Phase(list(Task)[:3], Task.PAIRED, 10)
    two = streams(phase, prepared, changed_params({"training.batch_size": 8, "training.workers": 2}), 0)
    one = streams(phase, prepared, changed_params({"training.batch_size": 16}), 0)
    for task in phase.tasks:
        for k in range(3):
            np.testing.assert_array_equal(two[task][k].source_ids, one[task][k].source_ids)
            np.testing.assert_array_equal(two[task][k].target_ids, one[task][k].target_ids)


def test_what_a_chief_that_is_alone_sends_arrives_as_it_is() -> None:
    for content in (b"", b"\x00", b"five!", bytes(range(256))):
        for workers in (ALONE, Workers(0, 2, tf.distribute.get_strategy())):
            assert workers.from_chief(lambda: content) == content  # noqa: B023
