"""A clone of the project as it stands, run once with small parameters, and commands in it."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from pipeline.config.params import load_params
from pipeline.tracking.client import tracking_uri
from pipeline.tracking.sqlite import follow_project
from tests.conftest import PROJECT

SMALL = {
    "seeds=[0,1]",
    "prepare.pairs=300",
    "prepare.dev=50",
    "prepare.test=60",
    "prepare.targets=500",
    "model.units=16",
    "model.projection=8",
    "training.evaluate_every=10",
    "training.dev_steps=10",
    "matcher.units=8",
    "matcher.evaluate_every=10",
    "evaluate.resamples=200",
    "strategies.two_stage.frozen_steps=10",
    "strategies.two_stage.steps=10",
    *(f"{stage}.steps=20" for stage in ("strategies.supervised", "strategies.tandem", "pretrain", "matcher")),
}

# Strategies that differ from those that stay in nothing but their tasks, which these have as well.
LEFT_OUT = ("augmented", "alternating")


def run(folder: Path, *command: str) -> str:
    """Run a command in the clone as in an activated environment; its output."""
    done = subprocess.run(command, cwd=folder, env=environment(folder), capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def ran(output: str) -> set[str]:
    """The stages that DVC says it ran."""
    return {line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")}


def environment(folder: Path) -> dict[str, str]:
    """The variables of an activated environment, in which the clone's own modules are imported."""
    here = Path(sys.executable).parent
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "DVC_"))}
    return kept | {"PATH": f"{here}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(folder)}


def make_clone(folder: Path) -> None:
    """A clone of the project as it stands but with fewer strategies, run once with small parameters."""
    copy_files(folder)
    leave_out(folder, *LEFT_OUT)
    make_repository(folder)
    commit(folder)
    run(folder, "dvc", "exp", "run", *(f"--set-param={change}" for change in sorted(SMALL)))


def copy_files(folder: Path) -> None:
    """The project's files as they stand, without what git ignores, in a folder that is no repository."""
    files = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    for file in files:
        if (PROJECT / file).is_file():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(PROJECT / file, folder / file)


def leave_out(folder: Path, *strategies: str) -> None:
    """Remove strategies as docs/experiments.md says: from params.yaml, and their stages and names from dvc.yaml."""
    for path in (folder / "params.yaml", folder / "dvc.yaml"):
        text = path.read_text(encoding="utf-8")
        for name in strategies:
            text = re.sub(rf"^  {name}:.*\n(?:    .*\n)+", "", text, flags=re.MULTILINE).replace(f", {name}", "")
        path.write_text(text, encoding="utf-8")


def copy_clone(original: Path, folder: Path) -> Path:
    """A copy in a new folder, in which what the last repro left is committed."""
    shutil.copytree(original, folder, symlinks=True)
    commit(folder)
    follow_project(tracking_uri(folder), load_params(folder / "params.yaml").tracking.experiment, folder)
    return folder


def make_repository(folder: Path) -> None:
    """Of git, with somebody who commits."""
    run(folder, "git", "init", "--quiet")
    run(folder, "git", "config", "user.email", "someone@example.org")
    run(folder, "git", "config", "user.name", "Someone")


def commit(folder: Path) -> None:
    """All files as they are, changed or not."""
    run(folder, "git", "add", "--all")
    run(folder, "git", "commit", "--quiet", "--allow-empty", "--message", "as it is")
