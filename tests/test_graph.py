"""The graph tells the truth: each stage depends on exactly the modules that decide its result, and so do keys."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from pipeline.graph import PACKAGE, code_digest, deciding_modules, missing_and_surplus
from pipeline.runs.folders import PRETRAIN
from tests.conftest import PROJECT, shipped_params
from tests.support.clones import ran, run
from tests.support.stored import STRATEGIES, comparisons, state

STAGES: dict[str, Any] = YAML(typ="safe", pure=True).load((PROJECT / "dvc.yaml").read_bytes())["stages"]
BODIES = {name: stage.get("do", stage) for name, stage in STAGES.items()}
SHIPPED = tuple(shipped_params()["strategies"])
TRAININGS = {PRETRAIN, *STRATEGIES}  # of a clone, as all that follows
RERANKINGS = {f"rerank@{name}" for name in STRATEGIES}
ALL = {"prepare", "features", "matcher", "evaluate", "report"} | TRAININGS | RERANKINGS


@pytest.mark.parametrize("stage", sorted(BODIES))
def test_a_stage_depends_on_exactly_the_modules_that_decide_its_result(stage: str) -> None:
    assert missing_and_surplus(BODIES[stage]) == (set(), set()), "run `python -m pipeline.graph`"


@pytest.mark.parametrize("stage", sorted(BODIES))
def test_a_stage_depends_on_parameters_that_exist(stage: str) -> None:
    for name in BODIES[stage].get("params", ()):
        place = shipped_params()
        for key in name.replace("${item}", "tandem").split("."):
            assert key in place
            place = place[key]


def test_every_shipped_strategy_has_a_stage_of_its_own_name_that_keeps_its_outputs() -> None:
    for name in (PRETRAIN, *SHIPPED):
        outs = [{f"models/{name}": {"persist": True}}, {f"models/timings/{name}": {"persist": True}}]
        assert STAGES[name]["outs"] == outs
        assert STAGES[name]["cmd"] == f"python -m pipeline.stages.train {name}"
        own = PRETRAIN if name == PRETRAIN else f"strategies.{name}"
        assert own in STAGES[name]["params"]


def test_no_stage_is_made_of_values_of_params_yaml_whose_mistakes_dvc_would_report_in_its_own_words() -> None:
    text = (PROJECT / "dvc.yaml").read_text(encoding="utf-8")
    assert set(re.findall(r"\$\{.*?\}", text)) == {"${item}"}
    assert STAGES["rerank"]["foreach"] == list(SHIPPED)


def test_only_what_starts_pretrained_depends_on_the_autoencoder() -> None:
    starts = {name for name, entry in shipped_params()["strategies"].items() if entry.get("start") == "pretrained"}
    assert {name for name in SHIPPED if f"models/{PRETRAIN}" in STAGES[name]["deps"]} == starts


def test_the_checks_of_parameters_and_whatever_tracks_or_shows_decides_nothing() -> None:
    names = {path.relative_to(PACKAGE).as_posix() for path in deciding_modules("pipeline.stages.evaluate")}
    assert {"data/examples.py", "evaluation/comparison.py", "model/network.py"} <= names
    assert not {name for name in names if name.startswith(("config/", "tracking/", "runs/", "report/", "errors"))}


def test_style_sheets_and_templates_belong_to_the_modules_beside_them() -> None:
    names = {path.name for path in deciding_modules("pipeline.stages.report")}
    assert {"page.py", "page.css", "page.html"} <= names


def test_comments_docstrings_and_layout_leave_the_digest_of_code_as_it_is(tmp_path: Path) -> None:
    shutil.copytree(PACKAGE, tmp_path / "pipeline", ignore=shutil.ignore_patterns("__pycache__"))
    module = tmp_path / "pipeline" / "training" / "loop.py"
    program = "from pipeline.graph import code_digest; print(code_digest('pipeline.training.trainer'))"

    def digest() -> str:
        done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    before = digest()
    assert before == code_digest("pipeline.training.trainer")
    text = module.read_text(encoding="utf-8")
    module.write_text(text.replace('"""', '"""Changed. ', 1) + "\n\n# a comment\n", encoding="utf-8")
    assert digest() == before
    module.write_text(text + "\nANOTHER = 1\n", encoding="utf-8")
    assert digest() != before


# What `dvc status` has to say after a change of each file, below `pipeline`.
CHANGED = {
    "data/examples.py": ALL - {"report"},
    "data/cmudict.py": {"prepare"},
    "training/loop.py": TRAININGS | {"matcher"},
    "training/trainer.py": TRAININGS,
    "runs/environment.py": set(),
    "runs/checkpoints.py": set(),
    "model/inference.py": RERANKINGS | {"matcher", "evaluate"},
    "matcher/negatives.py": {"matcher"},
    "reranking/trees.py": RERANKINGS | {"evaluate"},
    "evaluation/comparison.py": {"evaluate"},
    "report/page.css": {"report"},
    "report/figures.py": {"report"},
    "tracking/runs.py": set(),
    "config/params.py": set(),
    "cli/results.py": set(),
}


def changed_stages(folder: Path) -> set[str]:
    """The stages that DVC says are changed, but for the one that runs every time."""
    status = json.loads(run(folder, "dvc", "status", "--json"))
    return {name.split(":")[-1] for name in status} - {"publish"}


@pytest.mark.slow
def test_dvc_says_of_a_changed_module_exactly_which_stages_it_decides(clone: Path) -> None:
    assert changed_stages(clone) == set()
    for name, stages in CHANGED.items():
        path = clone / "pipeline" / name
        before = path.read_bytes()
        path.write_bytes(before + (b"\n/* changed */\n" if path.suffix == ".css" else b"\nCHANGED = 1\n"))
        assert changed_stages(clone) == stages, name
        path.write_bytes(before)


@pytest.mark.slow
def test_comments_in_all_modules_train_nothing_and_add_no_comparison(clone: Path) -> None:
    before = state(clone)
    for path in (clone / "pipeline").rglob("*.py"):
        path.write_text(path.read_text(encoding="utf-8") + "\n# a comment\n", encoding="utf-8")
    output = run(clone, "dvc", "repro")
    assert output.count("trainings are finished and kept") == len(TRAININGS)
    assert state(clone) == before


@pytest.mark.slow
def test_code_that_trains_the_same_weights_reruns_nothing_after_training_and_adds_no_comparison(clone: Path) -> None:
    known = comparisons(clone)
    with (clone / "pipeline" / "training" / "trainer.py").open("a", encoding="utf-8") as module:
        module.write("\nANOTHER = 1\n")
    output = run(clone, "dvc", "repro")
    assert TRAININGS <= ran(output) <= TRAININGS | {"report", "publish"}
    assert "finished and kept" not in output
    assert comparisons(clone) == known
