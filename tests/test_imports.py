"""Imports run one way: what trains, chooses and evaluates can be used, and tested, without trackers and engines.

And what takes seconds to import is imported where it is needed, and not before.
"""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import PROJECT

MODELLING = ("config", "reading", "data", "model", "training", "reranking", "siamese", "evaluation")
NOT_THEIRS = {"batch", "cli", "publishing", "reporting", "serving", "stages", "sweeps", "tracking"}
TRACKERS_AND_ENGINES = {"dvc", "mlflow", "pyspark", "ray"}


def imports(path: Path) -> set[str]:
    """The full names of modules that a file imports, wherever in it."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return plain | {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}


@pytest.mark.parametrize("package", MODELLING)
def test_modelling_packages_know_neither_trackers_nor_engines_nor_what_uses_them(package: str) -> None:
    modules = sorted((PROJECT / "pipeline" / package).glob("*.py"))
    assert modules
    for module in modules:
        named = [name.split(".") for name in imports(module)]
        assert not {name[0] for name in named} & TRACKERS_AND_ENGINES, module
        assert not {name[1] for name in named if name[0] == "pipeline" and len(name) > 1} & NOT_THEIRS, module


def test_every_package_of_the_project_is_one_of_the_two_kinds() -> None:
    packages = {path.parent.name for path in (PROJECT / "pipeline").glob("*/__init__.py")}
    assert packages == {*MODELLING, *NOT_THEIRS} - {"cli"}


@pytest.mark.parametrize(
    "module",
    ["cli", "publishing.completion", "reporting.summary", "serving.registry", "stages.training", "tracking.runs"],
)
def test_what_neither_trains_nor_predicts_is_quick_to_import(module: str) -> None:
    heavy = "{'keras', 'matplotlib', 'mlflow', 'pandas', 'scipy', 'sklearn', 'tensorflow'}"
    program = f"import sys, pipeline.{module}; print(*sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("\n", "")
