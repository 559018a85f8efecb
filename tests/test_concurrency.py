"""Several processes at once on one project: nothing is lost or doubled, and none fails or warns."""

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.conftest import PATIENCE, PROJECT
from tests.support.clones import environment
from tests.support.reported_project import REPORTED, make_reported_project
from tests.support.servers import tandem_ui
from tests.support.small_project import ACCURACIES
from tests.support.stored import (
    TANDEM_TRAINED,
    artifacts,
    assert_no_store_elsewhere,
    children,
    client,
    comparisons,
    newest_children,
    points,
    runs,
)

pytestmark = pytest.mark.slow

TROUBLE = ("Traceback", "warning: MLflow", "database is locked", "OperationalError", "IntegrityError")
TROUBLE_OF_SERVER = ("Traceback", "database is locked", "OperationalError")
PUBLISH = (sys.executable, "-m", "pipeline.cli", "publish")


def at_once(folder: Path, *commands: Sequence[str]) -> list[tuple[int, str]]:
    """Exit code and all output of commands that are started together."""
    own = environment(folder if (folder / "pipeline").is_dir() else PROJECT)
    with ExitStack() as stack:
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        started = [
            stack.enter_context(subprocess.Popen(command, cwd=folder, env=own, **pipes))  # type: ignore[call-overload]
            for command in commands
        ]
        outputs = [process.communicate()[0] for process in started]
    return [(process.returncode, output) for process, output in zip(started, outputs, strict=True)]


def assert_no_trouble(output: str, trouble: Sequence[str] = TROUBLE) -> None:
    assert not [word for word in trouble if word in output], output


@contextmanager
def open_ui(folder: Path, log: Path) -> Iterator[str]:
    """The UI of a project, asked for its runs at the end."""
    with tandem_ui(folder, log) as address:
        yield address
        assert shown(address)
    assert_no_trouble(log.read_text(encoding="utf-8"), TROUBLE_OF_SERVER)


def shown(address: str) -> list[str]:
    """The status of all runs that the UI shows."""
    body = json.dumps({"experiment_ids": ["1"], "max_results": 1000}).encode()
    request = urllib.request.Request(
        f"{address}/api/2.0/mlflow/runs/search", body, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=PATIENCE) as response:
        return [run["info"]["status"] for run in json.load(response).get("runs", [])]


def test_processes_that_publish_a_comparison_at_once_to_a_missing_store(cold_project: Path, tmp_path: Path) -> None:
    make_reported_project(cold_project)
    for code, output in at_once(cold_project, *[PUBLISH] * 4):
        assert (code, output.splitlines()[-1]) == (0, "MLflow has all of the comparison"), output
        assert_no_trouble(output)
    assert_published_once(cold_project)
    with open_ui(cold_project, tmp_path / "ui.log") as address:
        (cold_project / "reports" / "comparison.md").write_text("# Another report\n", encoding="utf-8")
        for code, output in at_once(cold_project, *[PUBLISH] * 2):
            assert code == 0, output
            assert_no_trouble(output)
        assert shown(address) == ["FINISHED"] * (1 + len(ACCURACIES))
    assert_published_once(cold_project)


def assert_published_once(project: Path) -> None:
    (parent,) = runs(project, "comparison")
    found = children(project)
    assert set(found) == set(ACCURACIES)
    assert len(runs(project)) == 1 + len(ACCURACIES)
    assert len(runs(project, deleted=True)) == 0
    assert artifacts(project, parent) == REPORTED
    for run in found.values():
        assert run.info.status == "FINISHED"
        assert run.outputs is not None
        assert len(run.outputs.model_outputs) == 1
        assert len(points(project, run, "dev_word_accuracy")) == 1
    assert len(client(project).search_logged_models(["1"])) == len(ACCURACIES)
    assert [version.version for version in client(project).search_model_versions()] == [1]
    assert len(client(project).search_experiments()) == 2  # MLflow's own, and that of the project


def test_equal_and_different_experiments_at_once_are_each_published_once(clone: Path, tmp_path: Path) -> None:
    def experiment(steps: int) -> list[str]:
        # DVC sets up one at a time, and refuses others meanwhile.
        command = f"dvc exp run --temp --set-param=strategies.tandem.steps={steps}"
        return ["sh", "-c", f"for _ in $(seq 20); do {command} && exit; sleep 3; done; exit 1"]

    with open_ui(clone, tmp_path / "ui.log") as address:
        before = comparisons(clone)
        for _, output in at_once(clone, experiment(22), experiment(24), experiment(24)):
            assert_no_trouble(output, ("Traceback", "database is locked"))
            assert "Ran experiment" in output, output
        assert set(shown(address)) == {"FINISHED"}
    assert len(comparisons(clone) - before) == 2
    assert newest_children(clone) == TANDEM_TRAINED
    assert_no_store_elsewhere(clone)
