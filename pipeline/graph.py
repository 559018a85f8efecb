"""Which modules decide the result of a stage, computed from their imports.

DVC does not follow imports, so dvc.yaml lists these modules among the dependencies of each stage. `python -m
pipeline.graph` writes the lists; a test compares them. Keys of trainings are made of the same modules.

A module decides a stage if the stage's module imports it, directly or through others, wherever in the file the import
stands (imports for type checkers alone do not count). Left out is whatever cannot change a number: the checks of
params.yaml, whose values DVC tracks themselves, and what keeps, runs, tracks or shows results.
"""

import ast
import hashlib
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from pipeline.hashing import DIGITS

PACKAGE = Path(__file__).parent
ROOT = PACKAGE.parent

# Packages and modules, below `pipeline`, whose code decides no result.
DECIDES_NOTHING = {"config", "runs", "serving", "sweeps", "tracking"}
DECIDES_NOTHING |= {"cli", "errors", "graph", "hashing", "listener", "parallel", "ray_cluster", "writing"}

DOCUMENTED = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def deciding_modules(*entries: str) -> list[Path]:
    """The files that decide what modules compute, their own included, sorted by path.

    entries: full names such as `pipeline.stages.evaluate`. Templates and style sheets beside a module belong to it.
    """
    paths: set[Path] = set()
    waiting = [_path(entry) for entry in entries]
    while waiting:
        if (path := waiting.pop()) not in paths:
            paths.add(path)
            waiting += _imports(path)
    folders = {path.parent for path in paths} - {PACKAGE}
    assets = {path for folder in folders for path in folder.iterdir() if path.suffix in (".html", ".css")}
    return sorted(paths | assets)


def code_digest(*entries: str) -> str:
    """Hexadecimal, equal for modules that compute the same: comments, docstrings and layout do not count.

    entries: full names of modules; all that decides any of them counts.
    """
    whole = hashlib.sha256()
    for path in deciding_modules(*entries):
        whole.update(f"{path.relative_to(PACKAGE).as_posix()}\0{_meaning(path)}\0".encode())
    return whole.hexdigest()[:DIGITS]


def missing_and_surplus(stage: dict[str, Any]) -> tuple[set[str], set[str]]:
    """Modules that a stage of dvc.yaml lacks among its dependencies, and those it lists without reason."""
    listed = {path for path in stage.get("deps", ()) if path.startswith(f"{PACKAGE.name}/")}
    entries = re.findall(rf"{PACKAGE.name}[.\w]+", str(stage["cmd"]))  # a command or a list of them
    needed = {path.relative_to(ROOT).as_posix() for path in deciding_modules(*entries)}
    return needed - listed, listed - needed


def stage_depends_on(name: str, path: str) -> bool:
    """Whether a stage of dvc.yaml in the current folder depends on a path; a stage of one's own stands under `own`."""
    stages = YAML(typ="safe").load(Path("dvc.yaml"))["stages"]
    return path in stages.get(name, stages["own"]["do"])["deps"]


def main() -> None:
    """Write the lists of modules in dvc.yaml anew, everything else as it is."""
    yaml = YAML()
    yaml.width = 4096  # no line is broken
    yaml.indent(mapping=2, sequence=4, offset=2)
    path = ROOT / "dvc.yaml"
    content = yaml.load(path)
    for stage in content["stages"].values():
        body = stage.get("do", stage)
        missing, surplus = missing_and_surplus(body)
        if missing or surplus:
            others = [dep for dep in body["deps"] if not dep.startswith(f"{PACKAGE.name}/")]
            body["deps"][:] = [*others, *sorted(missing.union(body["deps"]) - surplus - set(others))]
    with path.open("w", encoding="utf-8") as file:
        yaml.dump(content, file)


def _path(module: str) -> Path:
    return ROOT / f"{module.replace('.', '/')}.py"


@cache
def _imports(path: Path) -> list[Path]:
    """The files of the deciding modules that a file imports."""
    names = [name.split(".") for name in _imported(ast.parse(path.read_text(encoding="utf-8")))]
    ours = [name for name in names if name[0] == PACKAGE.name and name[1:] and name[1] not in DECIDES_NOTHING]
    return [file for name in ours if (file := _path(".".join(name))).is_file()]


def _imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))
        yield from _imported(node)


@cache
def _meaning(path: Path) -> str:
    """The content of a file; of Python, its syntax tree without docstrings."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        return text
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            node.body[0] = ast.Pass()
    return ast.dump(tree)


if __name__ == "__main__":
    main()
