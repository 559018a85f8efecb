"""dvc.yaml against the code: DVC does not track imports, so the lists of modules have to be right."""

import ast
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from pipeline.keys import PREPARE_ONLY, VIEW_ONLY
from pipeline.runs.folders import MODELS, PRETRAIN, STRATEGIES
from tests.conftest import PROJECT, shipped_params

STAGES: dict[str, Any] = YAML(typ="safe", pure=True).load((PROJECT / "dvc.yaml").read_bytes())["stages"]

# Stages with results; what runs every time has none.
DECIDING = [name for name, stage in STAGES.items() if not stage.get("always_changed")]

# What decides no result: it checks parameters, says what is wrong, quietens imports, keeps what a training came to, or
# writes to MLflow.
NOT_DECISIVE = {
    "pipeline/__init__.py",
    "pipeline/runs/checkpoints.py",
    "pipeline/config",
    "pipeline/hashing.py",
    "pipeline/errors.py",
    "pipeline/keys.py",
    "pipeline/stages/__init__.py",
    "pipeline/tracking",
}
READING = "pipeline/reading"  # of raw data; of it, stages other than `prepare` use the type of an example


def imported(module: Path, seen: set[str]) -> set[str]:
    """The package's own files that a file imports, directly or not, wherever in it the import stands."""
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "pipeline":
            for name in (node.module, *(f"{node.module}.{alias.name}" for alias in node.names)):
                for file in (f"{name.replace('.', '/')}.py", f"{name.replace('.', '/')}/__init__.py"):
                    if file not in seen and (PROJECT / file).exists():
                        seen.add(file)
                        imported(PROJECT / file, seen)
    return seen


def covered(files: set[str], places: set[str]) -> set[str]:
    """Those of the files that are one of the places, or lie in one."""
    return {file for file in files if not places.isdisjoint({file, *map(str, Path(file).parents)})}


@pytest.mark.parametrize("stage", DECIDING)
def test_a_stage_depends_on_what_decides_its_result(stage: str) -> None:
    own = f"pipeline/stages/{stage}.py"
    listed = {dep for dep in STAGES[stage]["deps"] if dep.startswith("pipeline/")}
    left_out = NOT_DECISIVE if stage == "prepare" else NOT_DECISIVE | {READING}
    needed = imported(PROJECT / own, set()) | {own}
    needed -= covered(needed, left_out)
    assert covered(needed, listed) == needed
    assert all(covered(needed, {dep}) for dep in listed)


@pytest.mark.parametrize("stage", DECIDING)
def test_a_stage_depends_on_sections_of_the_parameters_that_exist(stage: str) -> None:
    content = shipped_params()
    for name in STAGES[stage]["params"]:
        section, *key = name.split(".")
        assert section in content
        assert not key or key[0] in content[section]


def test_every_strategy_has_a_stage_for_all_seeds_and_its_models_where_runs_keep_them() -> None:
    for strategy in (PRETRAIN, *STRATEGIES):
        assert "seeds" in STAGES[strategy]["params"]
        assert STAGES[strategy]["outs"] == [str(MODELS / strategy)]


def test_what_the_key_of_a_comparison_leaves_out_is_named_as_it_is() -> None:
    assert all((PROJECT / "pipeline" / name).exists() for name in (*VIEW_ONLY, *PREPARE_ONLY))


def test_the_key_leaves_out_of_what_stage_prepare_runs_only_what_no_other_stage_needs() -> None:
    others = [stage for stage in DECIDING if stage != "prepare"]
    assert not {f"pipeline/{name}" for name in PREPARE_ONLY} & {dep for name in others for dep in STAGES[name]["deps"]}


def test_publication_runs_last_and_every_time() -> None:
    made = set(STAGES["evaluate"]["outs"]) | set(STAGES["evaluate"]["metrics"])
    assert set(STAGES["publish"]["deps"]) <= made
    assert STAGES["publish"]["always_changed"]
