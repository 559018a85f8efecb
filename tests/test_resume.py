"""Interrupted trainings resume and give identical bytes; finished ones are recognised by key and files."""

import shutil
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from pipeline.config.options import Symbols
from pipeline.config.params import Params
from pipeline.data.corpus import Corpus
from pipeline.data.examples import Example
from pipeline.data.prepared import Prepared, write_prepared
from pipeline.errors import UserError, show_logs
from pipeline.model.network import WEIGHTS
from pipeline.runs.folders import (
    KEY,
    METADATA,
    PRETRAIN,
    TIMINGS,
    RunMetadata,
    content_digest,
    is_finished,
    load_history,
    run_folder,
    timings_folder,
    training_key,
)
from pipeline.training.trainer import run_training
from tests.conftest import PROJECT, changed_params
from tests.support.same_bytes import comparable

SMALL: dict[str, Any] = {
    "model.units": 8,
    "model.projection": 6,
    "training.batch_size": 8,
    "training.evaluate_every": 4,
    "training.dev_steps": 0,
    "checkpoints.seconds": 0,
    "pretrain.steps": 9,
    "strategies.supervised.steps": 9,
    "strategies.two_stage.steps": 5,
    "strategies.two_stage.frozen_steps": 6,
    "strategies.tandem.steps": 6,
    "strategies.tandem.finetune_steps": 5,
}
STRATEGIES = (PRETRAIN, "supervised", "two_stage", "tandem")
PAIRS = [Example(word.upper(), word) for word in ("ab", "abc", "bca", "cab", "acb", "ba", "bac", "c", "cb", "aab")]


@pytest.fixture(autouse=True)
def _shown_logs() -> None:
    """As at the command line, where they go to standard error."""
    show_logs()


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    folder = tmp_path_factory.mktemp("prepared")
    targets = ["abcab", "bcb", "ccab", "bbca", "acac", "abba", "cabb", "bab"]
    write_prepared(folder, Corpus(PAIRS, PAIRS[:3], PAIRS[3:5], targets, 0, None, "made up"), *2 * [Symbols.CHARACTERS])
    return Prepared.open(folder)


@pytest.fixture(scope="module")
def whole(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of models of all strategies, trained without a break."""
    models = tmp_path_factory.mktemp("models")
    for strategy in STRATEGIES:
        train(strategy, changed_params(SMALL), prepared, models)
    return models


def train(strategy: str, params: Params, prepared: Prepared, models: Path, kept: Path | None = None) -> list[Any]:
    return [row for rows in run_training(strategy, params, prepared, 0, models, kept) for row in rows]


def interrupt(strategy: str, params: Params, prepared: Prepared, models: Path, kept: Path, evaluations: int) -> None:
    """Train up to so many evaluations, and no further."""
    training = run_training(strategy, params, prepared, 0, models, kept)
    for _ in range(evaluations):
        next(training)
    assert isinstance(training, Generator)
    training.close()


def copy_of_pretraining(whole: Path, models: Path) -> Path:
    shutil.copytree(run_folder(PRETRAIN, 0, whole), run_folder(PRETRAIN, 0, models))
    return models


@pytest.mark.parametrize(("strategy", "after"), [(PRETRAIN, 8), ("supervised", 8), ("two_stage", 7), ("tandem", 7)])
def test_a_training_that_was_interrupted_twice_ends_as_one_that_was_not(
    strategy: str, after: int, prepared: Prepared, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    params, kept = changed_params(SMALL), tmp_path / "kept"
    models = tmp_path if strategy == PRETRAIN else copy_of_pretraining(whole, tmp_path)
    interrupt(strategy, params, prepared, models, kept, 1)
    interrupt(strategy, params, prepared, models, kept, 4)
    assert capsys.readouterr().err == f"{strategy} 0 resumes after step 3\n"
    rows = train(strategy, params, prepared, models, kept)
    assert capsys.readouterr().err == f"{strategy} 0 resumes after step {after}\n"
    assert comparable(run_folder(strategy, 0, models)) == comparable(run_folder(strategy, 0, whole))
    assert rows == load_history(run_folder(strategy, 0, models))


def test_a_training_that_was_interrupted_while_it_learned_dev_ends_as_one_that_was_not(
    prepared: Prepared, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    params, kept = changed_params(SMALL | {"training.dev_steps": 7}), tmp_path / "kept"
    train("supervised", params, prepared, tmp_path / "whole")
    interrupt("supervised", params, prepared, tmp_path, kept, 4)
    train("supervised", params, prepared, tmp_path, kept)
    assert capsys.readouterr().err == "supervised 0 resumes after step 11\n"
    whole, resumed = (comparable(run_folder("supervised", 0, models)) for models in (tmp_path / "whole", tmp_path))
    assert resumed == whole
    assert f"before_dev/{WEIGHTS}" in whole


def test_lost_results_are_written_again_from_the_last_checkpoint(
    prepared: Prepared, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    params, kept = changed_params(SMALL), tmp_path / "kept"
    train("supervised", params, prepared, tmp_path, kept)
    shutil.rmtree(tmp_path / "supervised")
    train("supervised", params, prepared, tmp_path, kept)
    assert capsys.readouterr().err == "supervised 0 resumes after step 9\n"
    assert comparable(run_folder("supervised", 0, tmp_path)) == comparable(run_folder("supervised", 0, whole))


def test_a_training_that_stopped_early_makes_no_further_step(
    prepared: Prepared, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    params, kept = changed_params(SMALL | {"training.patience": 1, "training.learning_rate": 1e-9}), tmp_path / "kept"
    train("supervised", params, prepared, tmp_path, kept)
    before = comparable(run_folder("supervised", 0, tmp_path))
    assert RunMetadata.load(run_folder("supervised", 0, tmp_path)).steps == 8
    train("supervised", params, prepared, tmp_path, kept)
    assert capsys.readouterr().err == "supervised 0 resumes after step 8\n"
    assert comparable(run_folder("supervised", 0, tmp_path)) == before


def test_a_damaged_checkpoint_costs_a_step_and_not_the_result(
    prepared: Prepared, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    params, kept = changed_params(SMALL), tmp_path / "kept"
    interrupt("supervised", params, prepared, tmp_path, kept, 2)
    newest = max(kept.glob("*/*.checkpoint"))
    newest.write_bytes(newest.read_bytes()[:2000])
    train("supervised", params, prepared, tmp_path, kept)
    warning, resumed = capsys.readouterr().err.splitlines()
    assert warning.endswith("cannot be used (it is damaged or incomplete); the one before it is used instead")
    assert resumed == "supervised 0 resumes after step 6"
    assert comparable(run_folder("supervised", 0, tmp_path)) == comparable(run_folder("supervised", 0, whole))


@pytest.mark.parametrize(
    "changes",
    [
        {"strategies.supervised.steps": 10},
        {"model.dropout": 0.2},
        {"training.learning_rate": 0.007},
        {"training.threads": 2},
        {"training.dev_steps": 2},
        {"training.device": "gpu"},
    ],
)
def test_other_parameters_have_other_checkpoints(changes: dict[str, Any], tmp_path: Path) -> None:
    params, changed = changed_params(SMALL), changed_params(SMALL | changes)
    assert training_key("supervised", params, "data", 0, tmp_path) != training_key(
        "supervised", changed, "data", 0, tmp_path
    )


def test_what_changes_no_training_has_the_same_checkpoints(tmp_path: Path) -> None:
    key = training_key("supervised", changed_params(SMALL), "data", 0, tmp_path)
    for changes in (
        {"strategies.tandem.steps": 99},
        {"checkpoints.seconds": 9},
        {"evaluate.resamples": 999},
        {"seeds": [0, 1]},
    ):
        assert training_key("supervised", changed_params(SMALL | changes), "data", 0, tmp_path) == key


def test_other_data_seeds_strategies_and_first_weights_have_other_checkpoints(tmp_path: Path) -> None:
    params = changed_params(SMALL)
    keys = {
        training_key("tandem", params, "data", 0, tmp_path),
        training_key("tandem", params, "other data", 0, tmp_path),
        training_key("tandem", params, "data", 1, tmp_path),
        training_key("alternating", params, "data", 0, tmp_path),
    }
    for content in (b"some weights", b"other weights"):
        weights = run_folder(PRETRAIN, 0, tmp_path) / "network.weights.h5"
        weights.parent.mkdir(parents=True, exist_ok=True)
        weights.write_bytes(content)
        keys.add(training_key("two_stage", params, "data", 0, tmp_path))
    assert len(keys) == 6


def test_a_missing_run_folder_has_no_digest(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere cannot be read"):
        content_digest(tmp_path / "nowhere")


def test_the_network_before_dev_is_part_of_the_digest(tmp_path: Path) -> None:
    (tmp_path / "before_dev").mkdir()
    (tmp_path / WEIGHTS).write_bytes(b"after")
    digests = set()
    for content in (b"before", b"another"):
        (tmp_path / "before_dev" / WEIGHTS).write_bytes(content)
        digests.add(content_digest(tmp_path))
    assert len(digests) == 2


def test_nothing_of_a_run_folder_depends_on_the_clock(prepared: Prepared, whole: Path, tmp_path: Path) -> None:
    train("supervised", changed_params(SMALL), prepared, tmp_path)
    one, two = run_folder("supervised", 0, tmp_path), run_folder("supervised", 0, whole)
    assert {path.name: path.read_bytes() for path in one.iterdir() if path.is_file()} == {
        path.name: path.read_bytes() for path in two.iterdir() if path.is_file()
    }
    assert {path.name for path in timings_folder("supervised", 0, tmp_path).iterdir()} == {KEY, TIMINGS}


def test_a_run_folder_is_finished_for_its_key_alone_and_while_it_is_undamaged(
    prepared: Prepared, whole: Path, tmp_path: Path
) -> None:
    folder, timings = run_folder("supervised", 0, tmp_path), timings_folder("supervised", 0, tmp_path)
    key = training_key("supervised", changed_params(SMALL), prepared.digest, 0, tmp_path)
    assert not is_finished("supervised", 0, key, tmp_path)
    shutil.copytree(run_folder("supervised", 0, whole), folder)
    shutil.copytree(timings_folder("supervised", 0, whole), timings)
    assert is_finished("supervised", 0, key, tmp_path)
    assert not is_finished("supervised", 0, "another key", tmp_path)
    for path in (*folder.iterdir(), timings / TIMINGS, timings / KEY):
        content = path.read_bytes()
        path.unlink()
        assert not is_finished("supervised", 0, key, tmp_path), path
        path.write_bytes(content)
    weights = bytearray((folder / WEIGHTS).read_bytes())
    weights[len(weights) // 2] ^= 1
    (folder / WEIGHTS).write_bytes(weights)
    assert not is_finished("supervised", 0, key, tmp_path)


def test_a_run_folder_that_is_written_anew_is_not_taken_for_that_of_an_earlier_key(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = changed_params(SMALL)
    train("supervised", params, prepared, tmp_path)
    monkeypatch.setattr("pipeline.training.trainer.save_alphabets", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train("supervised", changed_params(SMALL | {"strategies.supervised.steps": 4}), prepared, tmp_path)
    assert not (run_folder("supervised", 0, tmp_path) / METADATA).exists()


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_training_whose_results_cannot_be_written_can_be_resumed(
    prepared: Prepared, whole: Path, tmp_path: Path
) -> None:
    params, kept = changed_params(SMALL), tmp_path / "kept"
    (tmp_path / "supervised").touch()
    with pytest.raises(
        UserError, match=r"supervised/0 cannot be written .*: make room there; the next `dvc repro` resumes"
    ):
        train("supervised", params, prepared, tmp_path, kept)
    (tmp_path / "supervised").unlink()
    train("supervised", params, prepared, tmp_path, kept)
    assert comparable(run_folder("supervised", 0, tmp_path)) == comparable(run_folder("supervised", 0, whole))


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from pipeline.data.prepared import Prepared
from pipeline.training.trainer import run_training
from tests.conftest import PROJECT, changed_params
from tests.test_resume import SMALL
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))  # no file grows further, as where a disk is full
params, (prepared, models, kept) = changed_params(SMALL), map(Path, sys.argv[1:])
try:
    list(run_training("supervised", params, Prepared.open(prepared), 0, models, kept))
except Exception as error:
    print(f"{type(error).__name__}: {error}")
"""


def test_a_full_disk_gives_a_sentence_and_no_traceback_and_training_can_be_resumed(
    prepared: Prepared, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [sys.executable, "-c", FULL_DISK, *map(str, (prepared.folder, tmp_path, tmp_path / "kept"))]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"UserError: {tmp_path}/supervised/0 cannot be written ([Errno 27] File too large)")
    assert "Traceback" not in done.stderr
    train("supervised", changed_params(SMALL), prepared, tmp_path, tmp_path / "kept")
    assert capsys.readouterr().err == "supervised 0 resumes after step 9\n"
    assert comparable(run_folder("supervised", 0, tmp_path)) == comparable(run_folder("supervised", 0, whole))
