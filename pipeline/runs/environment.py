"""environment.json beside timings.csv: software, machine and state of the code of a training; and what it used."""

import json
import os
import platform
import subprocess
from importlib.metadata import distributions
from pathlib import Path
from typing import ClassVar, Self

import psutil
from pydantic.dataclasses import dataclass

from pipeline.runs.folders import JsonFile

ENVIRONMENT = "environment.json"
STAGE, EXPERIMENT = "DVC_STAGE", "DVC_EXP_NAME"  # set by DVC
SHOWN = ("tensorflow", "keras", "numpy")  # packages with a tag of their own
WRITTEN_BY_REPRO = "dvc.lock"  # a change there is none of the code


@dataclass(frozen=True)
class Environment(JsonFile):
    """Where a process ran. commit, clean (whether the code is that of the commit): None outside of git."""

    FILE: ClassVar[str] = ENVIRONMENT

    python: str
    platform: str
    processors: int
    packages: dict[str, str]
    commit: str | None
    clean: bool | None
    stage: str | None
    experiment: str | None

    @classmethod
    def here(cls) -> Self:
        """The environment of this process."""
        packages = {package.metadata["Name"]: package.version for package in distributions()}
        commit = _git("rev-parse", "--verify", "HEAD")
        changes = _git("--no-optional-locks", "status", "--porcelain", "--untracked-files=no")
        changed = None if changes is None else {Path(line[3:]).name for line in changes.splitlines()}
        return cls(
            python=platform.python_version(),
            platform=platform.platform(),
            processors=os.cpu_count() or 1,
            packages={name: packages[name] for name in sorted(packages, key=str.lower)},
            commit=commit and commit.strip(),
            clean=None if commit is None or changed is None else changed <= {WRITTEN_BY_REPRO},
            stage=os.environ.get(STAGE) or None,
            experiment=os.environ.get(EXPERIMENT) or None,
        )

    def tags(self) -> dict[str, str]:
        """The tags that show this environment on a run in MLflow."""
        found = {
            "mlflow.source.git.commit": self.commit,
            "tandem.git_clean": None if self.clean is None else json.dumps(self.clean),
            STAGE: self.stage,
            EXPERIMENT: self.experiment,
            "tandem.python": self.python,
            "tandem.platform": self.platform,
            **{f"tandem.{name}": self.packages.get(name) for name in SHOWN},
        }
        return {name: value for name, value in found.items() if value is not None}


def _git(*arguments: str) -> str | None:
    command = ["git", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, check=True, timeout=30)  # noqa: S603
        return done.stdout.decode(errors="surrogateescape")  # names of files, in whatever locale
    except (OSError, subprocess.SubprocessError):
        return None


class Usage:
    """Measures how much processor and memory this process uses."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._process.cpu_percent()  # starts the first interval

    def row(self) -> dict[str, float]:
        """Columns of timings.csv: processor use since the last call (100: one busy core) and resident memory now."""
        memory = self._process.memory_info().rss / 2**20
        return {"cpu_percent": self._process.cpu_percent(), "memory_megabytes": round(memory, 1)}
