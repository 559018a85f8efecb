"""Projects in folders whose names are no plain words: everything works there, and nothing is written beside them."""

import json
import urllib.request
from pathlib import Path

import pytest

from tests.conftest import PROJECT
from tests.support.clones import run
from tests.support.reported_project import make_reported_project
from tests.support.servers import tandem_ui
from tests.support.small_project import ACCURACIES
from tests.support.stored import assert_no_store_elsewhere, runs

pytestmark = pytest.mark.slow

NAMES = ("50%20off", "q?x", "a#b", "100% [1] {x} *", 'it\'s "ü" & 日本; $HOME')


def tandem(*arguments: str) -> str:
    return run(Path.cwd(), "env", f"PYTHONPATH={PROJECT}", "tandem", *arguments)


@pytest.mark.parametrize("name", NAMES)
def test_a_project_is_published_predicts_and_is_shown_in_its_own_folder(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project, log = tmp_path / "beside" / name, tmp_path / "ui.log"
    make_reported_project(project)
    monkeypatch.chdir(project)
    assert tandem("publish") == "MLflow has all of the comparison\n"
    assert len(runs(project)) == 1 + len(ACCURACIES)
    assert {run.info.artifact_uri.startswith(f"{(project / 'mlartifacts').as_uri()}/") for run in runs(project)} == {
        True
    }
    assert "F AO\t1\t" in tandem("predict", "F AO", "--model", "models:/tandem@champion")
    (project / "in").mkdir()
    (project / "in" / "a.txt").write_text("F AO\n", encoding="utf-8")
    tandem("predict", "--input", f"{project}/in/*.txt", "--output", "out")
    assert (project / "out" / "a.parquet").is_file()
    with tandem_ui(project, log) as address:
        url = f"{address}/get-artifact?path=predictions.json&run_uuid={runs(project, 'run')[0].info.run_id}"
        with urllib.request.urlopen(url, timeout=60) as response:
            assert json.load(response)["columns"][:2] == ["source", "prediction"]
    assert_no_store_elsewhere(project)
    assert [path.name for path in (tmp_path / "beside").iterdir()] == [name]


def test_a_project_that_moves_between_such_folders_keeps_its_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path / NAMES[0]
    make_reported_project(project)
    for name in (*NAMES[1:], "plain"):
        monkeypatch.chdir(project)
        tandem("publish")
        project = project.rename(tmp_path / name)
    monkeypatch.chdir(project)
    (project / ".dvc" / "tmp" / "tandem-published").unlink()
    tandem("publish")
    assert len(runs(project)) == 1 + len(ACCURACIES)
    assert_no_store_elsewhere(project)
    assert [path.name for path in tmp_path.iterdir()] == ["plain"]
