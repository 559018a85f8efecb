"""How accuracy grows with the number of pairs, from real DVC experiments whose one stage makes up its metrics."""

from pathlib import Path

import pandas as pd
import pytest

from pipeline.errors import UserError
from pipeline.evaluation.sizes import BY_PAIRS, collect, save, saved
from pipeline.report.tables import sizes_table
from tests.conftest import PROJECT, changed_params
from tests.support.clones import commit, make_repository, run

STAGE = """
import json, pathlib, ruamel.yaml
params = ruamel.yaml.YAML(typ="safe").load(open("params.yaml"))
pairs, steps = params["prepare"]["pairs"], params["strategies"]["tandem"]["steps"]
def row(mean):
    accuracy = {"mean": mean, "low": mean - 0.01, "high": mean + 0.01}
    return {"word_accuracy": accuracy, "items": 9, "seeds": 2, "confidence": 0.95}
metrics = {"tandem": row(pairs / 10000 + steps / 1e6), "ensembles": {"tandem": row(0.9)}, "controls": {}}
metrics |= {"comparisons": {}, "ingredients": [], "verdict": {}}
pathlib.Path("reports/evaluation").mkdir(parents=True, exist_ok=True)
pathlib.Path("reports/evaluation/metrics.json").write_text(json.dumps(metrics))
pathlib.Path("reports/prepare.json").write_text(json.dumps({"pairs": pairs}))
"""

DVC_YAML = """
stages:
  evaluate:
    cmd: python stage.py
    deps: [stage.py]
    params: [prepare, strategies]
    outs: [reports/evaluation]
    metrics: [reports/prepare.json]
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    (folder / "stage.py").write_text(STAGE)
    (folder / "dvc.yaml").write_text(DVC_YAML)
    (folder / "params.yaml").write_bytes((PROJECT / "params.yaml").read_bytes())
    make_repository(folder)
    run(folder, "dvc", "init", "--quiet")
    commit(folder)
    return folder


@pytest.mark.slow
def test_a_queue_of_sizes_becomes_one_table(project: Path) -> None:
    run(project, "dvc", "exp", "run", "--queue", "-S", "prepare.pairs=100,250", "-S", "strategies.tandem.steps=1000")
    run(
        project, "dvc", "exp", "run", "--queue", "-S", "prepare.pairs=500", "-S", "strategies.tandem.steps=3000"
    )  # no match
    run(project, "dvc", "exp", "run", "--run-all")
    run(project, "dvc", "repro")
    found = collect(project)
    rows = found[found["strategy"] == "tandem"]
    assert rows["pairs"].tolist() == [100, 250, 2000]
    assert rows["word_accuracy"].tolist() == pytest.approx([0.011, 0.026, 0.201])
    assert set(found["strategy"]) == {"tandem", "tandem, ensemble"}
    first, _, second, third = sizes_table(found).splitlines()
    assert [cell.strip() for cell in first.split("|")[2:-1]] == ["100", "250", "2,000"]
    assert "1.1 (0.1 to 2.1)" in second
    assert "90.0" in third


def test_outside_a_project_it_says_where_to_run(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_bytes((PROJECT / "params.yaml").read_bytes())
    with pytest.raises(UserError, match="DVC cannot list experiments"):
        collect(tmp_path)


def test_what_was_found_is_kept_for_the_same_parameters_with_any_number_of_pairs(tmp_path: Path) -> None:
    rows = pd.DataFrame([("tandem", 100, 0.5, 0.4, 0.6)], columns=BY_PAIRS)
    save(rows, changed_params({}), tmp_path / "sizes")
    pd.testing.assert_frame_equal(saved(changed_params({"prepare.pairs": 7}), tmp_path / "sizes"), rows)
    assert saved(changed_params({"strategies.tandem.steps": 7}), tmp_path / "sizes").empty
    assert len(saved(changed_params({"matcher.steps": 7}), tmp_path / "sizes")) == 1
    assert saved(changed_params({}), tmp_path / "nowhere").empty
