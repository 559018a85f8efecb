"""dvc.yaml against the code: DVC does not track imports, so the lists of modules have to be right."""

import ast
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from pipeline.records import MODELS, PRETRAIN, STRATEGIES
from pipeline.tracking import VIEW_ONLY
from tests.conftest import PROJECT, shipped_params

STAGES: dict[str, Any] = YAML(typ="safe", pure=True).load((PROJECT / "dvc.yaml").read_bytes())["stages"]

# What decides no result: it checks parameters, says what is wrong, quietens imports, or writes to MLflow.
NOT_DECISIVE = {
    "pipeline/__init__.py",
    "pipeline/stages/__init__.py",
    "pipeline/backend.py",
    "pipeline/config.py",
    "pipeline/connection.py",
    "pipeline/errors.py",
    "pipeline/publication.py",
    "pipeline/tracking.py",
}


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


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_the_modules_that_decide_its_result(stage: str) -> None:
    own = f"pipeline/stages/{stage}.py"
    listed = {dep for dep in STAGES[stage]["deps"] if dep.endswith(".py")}
    needed = (imported(PROJECT / own, set()) | {own}) - NOT_DECISIVE
    if stage != "prepare":
        needed -= {
            "pipeline/corpus.py",
            "pipeline/raw.py",
        }  # read raw data; of them, the other stages use the type of an example
    assert listed == needed


@pytest.mark.parametrize("stage", STAGES)
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


def test_modules_that_only_show_are_named_as_they_are() -> None:
    names = {path.name for path in (PROJECT / "pipeline").glob("*.py")}
    assert set(VIEW_ONLY) <= names | {"serving.py"}
