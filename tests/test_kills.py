"""`dvc repro` killed with SIGKILL again and again, and what comes out in the end."""

import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psutil
import pytest
from ruamel.yaml import YAML

from pipeline.runs.checkpoints import CHECKPOINTS
from pipeline.runs.folders import PRETRAIN, RunMetadata, load_history, run_folder
from tests.conftest import PATIENCE
from tests.support.clones import copy_clone, environment, run
from tests.support.same_bytes import comparable
from tests.support.stored import (
    OLD_EXPERIMENT,
    client,
    comparisons,
    make_older,
    newest_comparison,
    points,
    runs,
    tables,
)

pytestmark = pytest.mark.slow

SEEDS = (0, 1)
STEPS = 40
STAGES = (PRETRAIN, "two_stage", "supervised", "tandem")  # those that are killed
CHANGES: dict[str, object] = {f"strategies.{name}.steps": STEPS for name in ("supervised", "tandem")}
CHANGES |= {"strategies.two_stage.frozen_steps": STEPS // 2, "strategies.two_stage.steps": STEPS // 2}
CHANGES |= {"pretrain.steps": STEPS, "training.dev_steps": STEPS // 2, "checkpoints.seconds": 0}

EVERYTHING, STAGE, TRAINING, DVC = "everything", "stage", "training", "dvc"
# DVC alone comes last: its stage is then an orphan that goes on by itself, and the next one has to wait for it.
VICTIMS = (EVERYTHING, STAGE, TRAINING, DVC)


@dataclass(frozen=True)
class Repro:
    """A `dvc repro` of a stage in a process group of its own, with all that its processes print in a file."""

    folder: Path
    stage: str
    process: "subprocess.Popen[bytes]"

    @classmethod
    def start(cls, folder: Path, stage: str, *options: str) -> "Repro":
        with (folder / "output.txt").open("ab") as output:
            process = subprocess.Popen(
                ["dvc", "repro", *options, stage],
                cwd=folder,
                env=environment(folder),
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        return cls(folder, stage, process)

    def group(self) -> list[psutil.Process]:
        """Its processes, as long as they live."""
        found = []
        for process in psutil.process_iter():
            try:
                if os.getpgid(process.pid) == self.process.pid and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except (ProcessLookupError, psutil.NoSuchProcess):
                continue
        return found

    def wait_for(self, batches: int, before: set[Path]) -> None:
        """Until one of its trainings has written a checkpoint after so many batches; before: those it found."""
        deadline = time.monotonic() + PATIENCE
        while progress(self.folder, before) < batches:
            assert self.process.poll() is None, f"{self.stage} ended at {progress(self.folder, before)} of {batches}"
            assert time.monotonic() < deadline, f"{self.stage} did not get to {batches}"
            time.sleep(0.002)

    def kill(self, victim: str) -> None:
        """SIGKILL, and wait until DVC is gone as well; of an orphan, the next one has to take notice."""
        module = "pipeline.stages.train"
        stage = [process for process in self.group() if process.cmdline()[-2:] == [module, self.stage]]
        forked = [process for process in self.group() if "forkserver" in " ".join(process.cmdline())]
        match victim:
            case "everything":
                os.killpg(self.process.pid, signal.SIGKILL)
            case "stage":
                stage[-1].kill()
            case "training":
                forked[-1].kill()
            case "dvc":
                self.process.kill()
        assert self.process.wait(PATIENCE) != 0
        if victim != DVC:
            psutil.wait_procs(self.group(), PATIENCE)
            assert not self.group(), f"processes of {self.stage} outlive it"


def checkpoints(folder: Path) -> set[Path]:
    return set((folder / CHECKPOINTS).glob("*/*.checkpoint"))


def progress(folder: Path, before: set[Path]) -> int:
    """The batches after which the newest checkpoint stands that was not there before; 0 without one."""
    return max((int(path.stem) for path in checkpoints(folder) - before), default=0)


def kill_stages(folder: Path, reference: Path) -> None:
    """Reproduce the stages, each killed once with every victim, at points that are evenly spread, before it may end."""
    chance = random.Random(0)
    for stage in STAGES:
        batches = RunMetadata.load(reference / run_folder(stage, 0)).batches
        for number, victim in enumerate(VICTIMS, start=1):
            # A kill may come late: the checkpoints of the repro before can already be past this one's point.
            before = checkpoints(folder)
            repro = Repro.start(folder, stage)
            repro.wait_for(batches * number // (len(VICTIMS) + 1), before)
            time.sleep(chance.uniform(0.0, 0.03))
            repro.kill(victim)
        run(folder, "dvc", "repro", stage)


@pytest.fixture(scope="module")
def reference(clone: Path) -> Path:
    """The clone with longer trainings, so far without them."""
    yaml = YAML()
    content = yaml.load(clone / "params.yaml")
    for name, value in CHANGES.items():
        *sections, key = name.split(".")
        place = content
        for section in sections:
            place = place[section]
        place[key] = value
    yaml.dump(content, clone / "params.yaml")
    return clone


def test_stages_that_are_killed_come_to_the_same_to_the_byte_and_lose_and_double_no_run(reference: Path) -> None:
    killed = shutil.copytree(reference, reference.parent / "killed", symlinks=True)
    run(reference, "dvc", "repro", *STAGES)
    kill_stages(killed, reference)
    output = (killed / "output.txt").read_text(encoding="utf-8")
    assert "Traceback" not in output, output
    assert output.count("resumes after step") >= len(STAGES) * len(set(VICTIMS) - {DVC})  # its orphan goes on
    for stage in STAGES:
        for seed in SEEDS:
            found, wanted = (root / run_folder(stage, seed) for root in (killed, reference))
            assert comparable(found) == comparable(wanted), f"{stage} {seed}"

    run(killed, "dvc", "repro")
    assert len(comparisons(killed)) == 2  # with the clone's own
    newest = newest_comparison(killed)
    for child in runs(killed, "run"):
        if child.data.tags["mlflow.parentRunId"] == newest.info.run_id:
            rows = load_history(
                killed / run_folder(child.data.tags["tandem.strategy"], int(child.data.tags["tandem.seed"]))
            )
            evaluated = [row["step"] for row in rows if "dev_word_accuracy" in row]  # not those that learned dev
            assert 0 < len(evaluated) < len(rows)
            assert [step for step, _ in points(killed, child, "dev_word_accuracy")] == evaluated
    assert not list((killed / CHECKPOINTS).glob("*"))
    assert json.loads((killed / "reports" / "metrics.json").read_text(encoding="utf-8"))


def kill_when(happened: Callable[[], object], folder: Path, stage: str, *options: str) -> None:
    """Start a `dvc repro` and kill all of it as soon as something has happened."""
    repro = Repro.start(folder, stage, *options)
    deadline = time.monotonic() + PATIENCE
    while not happened():
        assert repro.process.poll() is None, (folder / "output.txt").read_text(encoding="utf-8")
        assert time.monotonic() < deadline
        time.sleep(0.002)
    repro.kill(EVERYTHING)


def has_files(folder: Path) -> bool:
    return any(folder.glob("*"))


def written(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_later_stages_that_are_killed_while_they_write_come_to_the_same_bytes(original: Path, tmp_path: Path) -> None:
    folder = copy_clone(original, tmp_path / "clone")
    shutil.rmtree(folder / ".dvc" / "cache" / "runs")  # from which DVC would restore what they wrote
    published = comparisons(folder)
    for stage, name in (
        ("rerank@tandem", "models/rerank/tandem"),
        ("matcher", "models/matcher"),
        ("evaluate", "reports/evaluation"),
    ):
        output = folder / name
        before = written(output)
        shutil.rmtree(output)
        kill_when(partial(has_files, output), folder, stage, "--force", "--single-item")
        assert len(written(output)) < len(before)
        run(folder, "dvc", "repro", stage)
        assert written(output) == before, stage
    run(folder, "dvc", "repro")
    assert comparisons(folder) == published


def test_publication_that_is_killed_again_and_again_has_every_run_once(original: Path, tmp_path: Path) -> None:
    folder = copy_clone(original, tmp_path / "clone")
    database, draft, artifacts = (folder / name for name in ("mlflow.db", "mlflow.db.draft", "mlartifacts"))
    database.unlink()
    shutil.rmtree(artifacts)
    events: tuple[Callable[[], object], ...] = (
        lambda: draft.exists() and tables(draft) >= 5,
        lambda: draft.exists() and tables(draft) >= 30,
        database.exists,
        lambda: any(artifacts.glob("*/artifacts/predictions.json")),
        lambda: len(list(artifacts.glob("*/artifacts/predictions.json"))) >= 4,
        lambda: any(artifacts.glob("*/artifacts/index.html")),
        lambda: any(artifacts.glob("models/*/artifacts/MLmodel")),
        lambda: len(list(artifacts.glob("models/*"))) >= 4,
    )
    for number, event in enumerate(events):
        kill_when(event, folder, "publish")
        assert database.exists() == (number >= 2)
    run(folder, "dvc", "repro")
    assert len(comparisons(folder)) == 1
    assert [version.version for version in client(folder).search_model_versions()] == [1]
    assert "warning: MLflow" not in (folder / "output.txt").read_text(encoding="utf-8")
    assert {path.name for path in folder.glob("mlflow.db*")} == {"mlflow.db"}


def test_a_migration_that_is_killed_leaves_the_store_of_the_older_mlflow(original: Path, tmp_path: Path) -> None:
    folder = copy_clone(original, tmp_path / "clone")
    database, draft = folder / "mlflow.db", folder / "mlflow.db.draft"
    database.unlink()
    make_older(database)
    before = database.read_bytes()
    kill_when(lambda: draft.exists() and tables(draft) > tables(database) > 0, folder, "publish")
    assert database.read_bytes() == before
    run(folder, "dvc", "repro")
    assert client(folder).get_experiment_by_name(OLD_EXPERIMENT)
    assert len(comparisons(folder)) == 1
