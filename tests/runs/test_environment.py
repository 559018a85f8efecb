"""What a training says of where it ran."""

import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest

from pipeline.runs.environment import Environment


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder outside of git and DVC."""
    for name in ("DVC_STAGE", "DVC_EXP_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def git(*arguments: str) -> str:
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_it_knows_python_the_machine_and_every_package(folder: Path) -> None:
    here = Environment.here()
    assert here.python == platform.python_version()
    assert here.processors >= 1
    assert here.packages["keras"] == version("keras")
    assert list(here.packages) == sorted(here.packages, key=str.lower)


def test_outside_of_git_and_dvc_it_says_nothing_of_them(folder: Path) -> None:
    here = Environment.here()
    assert (here.commit, here.clean, here.stage, here.experiment) == (None, None, None, None)
    assert set(here.tags()) == {
        "tandem.python",
        "tandem.platform",
        "tandem.tensorflow",
        "tandem.keras",
        "tandem.numpy",
    }


def test_it_names_the_commit_and_whether_the_code_was_changed_since(folder: Path) -> None:
    git("init", "--quiet")
    (folder / "code.py").write_text("x = 1\n", encoding="utf-8")
    (folder / "dvc.lock").write_text("schema: '2.0'\n", encoding="utf-8")
    git("add", "code.py", "dvc.lock")
    git("commit", "--quiet", "--message", "first")
    (folder / "dvc.lock").write_text("schema: '2.1'\n", encoding="utf-8")  # as dvc repro does
    tags = Environment.here().tags()
    assert tags["mlflow.source.git.commit"] == git("rev-parse", "HEAD")
    assert tags["tandem.git_clean"] == "true"
    (folder / "code.py").write_text("x = 2\n", encoding="utf-8")
    assert Environment.here().tags()["tandem.git_clean"] == "false"


def test_it_names_stage_and_experiment_of_dvc(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_STAGE", "tandem")
    monkeypatch.setenv("DVC_EXP_NAME", "loud-gull")
    tags = Environment.here().tags()
    assert (tags["DVC_STAGE"], tags["DVC_EXP_NAME"]) == ("tandem", "loud-gull")


def test_what_is_saved_is_loaded(folder: Path) -> None:
    here = Environment.here()
    here.save(folder)
    assert Environment.load(folder) == here
