"""Imports run one way, and whatever takes seconds to import is imported only where it is needed."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.conftest import PROJECT

PACKAGE = PROJECT / "pipeline"

# Who may import these: everything else can be used, and tested, without trackers and engines.
TRACKERS_AND_ENGINES = {
    "mlflow": {"tracking", "sweeps"},
    "dvc": {"evaluation"},
    "ray": {"ray_cluster", "prediction", "sweeps"},
    "pyspark": set(),
}


def imported(path: Path) -> Iterator[list[str]]:
    """The full names of modules that a file imports, wherever in it, split at the dots."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".") for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from ([*node.module.split("."), alias.name] for alias in node.names)


def unit(path: Path) -> str:
    """The package of a module, or the name of a module that is in none."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def units() -> dict[str, set[str]]:
    """By package, the packages that its modules import."""
    found: dict[str, set[str]] = {}
    for path in PACKAGE.rglob("*.py"):
        own = found.setdefault(unit(path), set())
        own |= {name[1] for name in imported(path) if name[0] == "pipeline" and len(name) > 1} - {unit(path)}
    return found


def test_no_package_imports_one_that_imports_it_directly_or_through_others() -> None:
    order = list(TopologicalSorter(units()).static_order())  # raises CycleError, which names the circle
    assert order.index("config") < order.index("data") < order.index("model") < order.index("training")
    assert order.index("evaluation") < order.index("report")
    assert order[-1] in ("cli", "stages")


@pytest.mark.parametrize("library", TRACKERS_AND_ENGINES)
def test_trackers_and_engines_are_known_to_few(library: str) -> None:
    importing = {unit(path) for path in PACKAGE.rglob("*.py") for name in imported(path) if name[0] == library}
    assert importing <= TRACKERS_AND_ENGINES[library]


@pytest.mark.parametrize(
    "module", ["cli", "stages.train", "stages.publish", "tracking.publish", "tracking.models", "tracking.runs"]
)
def test_what_neither_trains_nor_predicts_is_quick_to_import(module: str) -> None:
    heavy = "{'keras', 'matplotlib', 'mlflow', 'pandas', 'scipy', 'sklearn', 'tensorflow'}"
    program = f"import sys, pipeline.{module}; print(*sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("\n", "")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["predict", "x", "--order", "best"],
        ["predict", "x", "--model", "nowhere"],
        ["serve", "--model", "nowhere"],
        ["match", "x", "--among", "nowhere"],
        ["suggest", "--among", "nowhere"],
        ["add", "nowhere"],
        ["sweep", "--space", "nowhere"],
    ],
    ids=" ".join,
)
def test_help_and_errors_of_usage_import_nothing_slow(arguments: list[str]) -> None:
    code = f"""if True:
        import sys
        from pipeline.cli import main
        sys.argv = ["tandem", *{arguments!r}]
        try:
            main()
        finally:
            print(sorted({{"tensorflow", "keras", "mlflow", "ray", "pandas", "scipy"}} & set(sys.modules)))
    """
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == (0 if arguments == ["--help"] else 2), done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
