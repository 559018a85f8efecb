"""What `dvc repro` costs besides training and evaluating: imports, MLflow, and DVC itself.

A copy of the project is reproduced from nothing in a temporary folder, and measured from outside: a `python` before the
real one on the path times each stage, `benchmarks.sampling` sees what its processes are at.
"""

import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pydantic import TypeAdapter
from ruamel.yaml import YAML

from benchmarks import children, sampling
from pipeline.config.params import Params
from pipeline.runs.folders import METADATA

COPIED = ("dvc.yaml", ".dvcignore", "data/raw", "pipeline")
TIMES = "stages.jsonl"

# Starts the real python, and notes the stage and its seconds. Its own start takes some 10 ms.
PYTHON = """\
#!{python} -IS
import json, os, sys, time
started = time.perf_counter()
process = os.posix_spawn({python!r}, [{python!r}, *sys.argv[1:]], os.environ)
_, status = os.waitpid(process, 0)
with open({times!r}, "a") as file:
    file.write(json.dumps([os.environ.get("DVC_STAGE", ""), time.perf_counter() - started]) + "\\n")
sys.exit(os.waitstatus_to_exitcode(status))
"""


def measure(project: Path, params: Params, rounds: int) -> dict[str, Any]:
    """Reproduce a copy of `project` with `params` once, and then find nothing to do so many times.

    Gives `stages` (see `stage_costs`), `total_seconds`, `dvc_seconds` (what was not in a stage), and of the repros with
    nothing to do `nothing_seconds`, beside the `floor_seconds` of as many trivial stages.
    """
    with TemporaryDirectory() as folder:
        copy, tools, accounts = (Path(folder) / name for name in ("project", "tools", "accounts"))
        copy_project(project, copy, params)
        tools.mkdir()
        write_python(tools)
        environment = sampling.environment(accounts)
        environment["PYTHONPATH"] += f"{os.pathsep}{copy}"
        environment["PATH"] = f"{tools}{os.pathsep}{children.search_path()}"
        whole, _ = children.run(["dvc", "repro"], copy, environment)
        stages = stage_costs(copy, tools / TIMES, accounts)
        spent = sum(stage["seconds"] for stage in stages)
        floor = Path(folder) / "floor"
        write_trivial_project(floor, len(stages))
        children.run(["dvc", "repro"], floor)
        nothing = [[children.run(["dvc", "repro"], place)[0].seconds for place in (copy, floor)] for _ in range(rounds)]
    return {
        "stages": stages,
        "total_seconds": whole.seconds,
        "dvc_seconds": whole.seconds - spent,
        "nothing_seconds": [ours for ours, _ in nothing],
        "floor_seconds": [trivial for _, trivial in nothing],
    }


def copy_project(project: Path, copy: Path, params: Params) -> None:
    """What a repro needs, as a DVC project of its own without results."""
    for name in COPIED:
        source, target = project / name, copy / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    (copy / "params.yaml").write_bytes(TypeAdapter(Params).dump_json(params))  # JSON is YAML
    children.run(["dvc", "init", "--no-scm", "--quiet"], copy)


def write_python(folder: Path) -> None:
    """A `python` that starts this one and notes how long it ran."""
    python = folder / "python"
    python.write_text(PYTHON.format(python=sys.executable, times=str(folder / TIMES)), encoding="utf-8")
    python.chmod(0o755)


def write_trivial_project(folder: Path, stages: int) -> None:
    """A DVC project of stages that copy a file each: what DVC costs at least."""
    folder.mkdir()
    for stage in range(stages):
        (folder / f"input_{stage}").write_text(str(stage), encoding="utf-8")
    content = {
        f"stage_{stage}": {
            "cmd": f"cp input_{stage} output_{stage}",
            "deps": [f"input_{stage}"],
            "outs": [f"output_{stage}"],
        }
        for stage in range(stages)
    }
    with (folder / "dvc.yaml").open("w", encoding="utf-8") as file:
        YAML(typ="safe", pure=True).dump({"stages": content}, file)
    children.run(["dvc", "init", "--no-scm", "--quiet"], folder)


def stage_costs(project: Path, times: Path, accounts: Path) -> list[dict[str, Any]]:
    """Of each stage in the order they ran: its seconds, and which of them went where.

    work: training and evaluating, by what the trainings have recorded themselves (the longest, as they run side by
    side), in other stages by what is neither an import, MLflow nor waiting; imports and mlflow: of the process of the
    stage that spent most on it. Processes of a stage overlap, so these need not add up.
    """
    found = list(sampling.accounts(accounts))
    costs = []
    for stage, seconds in _stage_seconds(times):
        own = [account.seconds for account in found if account.stage == stage] or [dict.fromkeys(sampling.KINDS, 0.0)]
        spent = {kind: max(account[kind] for account in own) for kind in sampling.KINDS}
        records = [json.loads(path.read_text()) for path in (project / "models" / stage).glob(f"*/{METADATA}")]
        work = max((metadata["seconds"] for metadata in records), default=spent[sampling.WORK])
        costs.append({"stage": stage, "seconds": seconds, **spent, "work": work})
    return costs


def _stage_seconds(times: Path) -> Iterator[tuple[str, float]]:
    for line in times.read_text(encoding="utf-8").splitlines():
        stage, seconds = json.loads(line)
        yield stage, seconds
