"""Commands run as a user runs them, each in a process of its own: their seconds and memory, and the parts of a repro.

For `dvc repro`, a copy of the project is reproduced from nothing in a temporary folder and measured from outside: a
`python` before the real one on the path times each stage, `benchmarks.sampling` sees what its processes do.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from pydantic import TypeAdapter
from ruamel.yaml import YAML

from benchmarks import sampling, throughput
from pipeline.config.params import Params, changed
from pipeline.errors import UserError
from pipeline.runs.folders import METADATA, MODELS, load_seconds

BYTES = 1 if sys.platform == "darwin" else 1024  # the unit of `ru_maxrss`
PAIRS = 5000  # of stage `prepare` on many targets
RAW = Path("data/raw")
COPIED = ("dvc.yaml", ".dvcignore", RAW, "pipeline")
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


@dataclass(frozen=True)
class Cost:
    """What a command took: seconds by the clock, processor seconds, peak memory of its largest process in bytes."""

    seconds: float
    cpu_seconds: float
    peak_bytes: int


def run(command: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None) -> tuple[Cost, str]:
    """Run a command in a folder; returns its cost, and its standard output and error; raises `UserError` if it fails.

    Variables that name a tracking server or another project are left out of its environment.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "DVC_"))}
    log = folder / "command.log"
    with log.open("wb") as output:
        started = time.perf_counter()
        process = subprocess.Popen(  # noqa: S603 - our own commands
            command,
            cwd=folder,
            env={**kept, "PATH": search_path(), **(environment or {})},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
    text = log.read_text(encoding="utf-8", errors="replace")
    log.unlink()
    if process.returncode:
        raise UserError(f"{' '.join(command)} failed with exit code {process.returncode}:\n{text[-2000:]}")
    return Cost(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * BYTES), text


def search_path() -> str:
    """PATH as in this Python's environment when it is activated."""
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])


def prepare_costs(params: Params, sizes: Sequence[int]) -> list[dict[str, Any]]:
    """Run stage `prepare` on so many synthetic targets each, dev and test targets held out; returns what each cost."""
    costs = []
    with TemporaryDirectory() as folder:
        for size in sizes:
            project = Path(folder) / str(size)
            write_project(project, params, size)
            cost, _ = run([sys.executable, "-m", "pipeline.stages.prepare"], project)
            prepared = json.loads((project / "reports" / "prepare.json").read_text(encoding="utf-8"))
            costs.append({"targets": size, "held_out": prepared["targets_held_out"], **asdict(cost)})
    return costs


def write_project(project: Path, params: Params, targets: int) -> None:
    """Write a project folder with pairs and targets in files; the list of targets has those of all pairs."""
    (project / RAW).mkdir(parents=True)
    with (project / RAW / "targets.txt").open("wb") as file:
        file.writelines(throughput.words(targets, seed=0))
    with (project / RAW / "targets.txt").open("rb") as file:
        rows = [word.rstrip(b"\n") for word in islice(file, PAIRS)]
    (project / RAW / "pairs.tsv").write_bytes(b"".join(b"%s\t%s\n" % (old_spelling(row), row) for row in rows))
    changes = {
        "data.source": "files",
        "data.pairs": str(RAW / "pairs.tsv"),
        "data.targets": str(RAW / "targets.txt"),
        "data.source_symbols": "characters",
        "prepare.pairs": None,
        "prepare.dev": len(rows) // 5,
        "prepare.test": len(rows) // 5,
        "prepare.targets": None,
        "prepare.hold_out_targets": True,
    }
    content = TypeAdapter(Params).dump_json(changed(params, changes))
    (project / "params.yaml").write_bytes(content)  # JSON is YAML


def old_spelling(word: bytes) -> bytes:
    """Rewrite a word systematically, to be the source of a pair."""
    return word.replace(b"sh", b"sch").replace(b"y", b"ie").replace(b"k", b"ck")


def slope(sizes: Sequence[int], seconds: Sequence[float]) -> float | None:
    """The power of the sizes that seconds grow with, 1 if they are proportional; None for a single size."""
    if len(set(sizes)) < 2:
        return None
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def repro_costs(project: Path, params: Params, rounds: int) -> dict[str, Any]:
    """Reproduce a copy of `project` with `params` once, and then so many times with nothing to do.

    Returns `stages` (see `stage_costs`), `total_seconds`, `dvc_seconds` (those outside of stages), and of the repros
    with nothing to do `nothing_seconds`, beside the `floor_seconds` of as many trivial stages.
    """
    with TemporaryDirectory() as folder:
        copy, tools, accounts = (Path(folder) / name for name in ("project", "tools", "accounts"))
        copy_project(project, copy, params)
        tools.mkdir()
        write_python(tools)
        environment = sampling.environment(accounts)
        environment["PYTHONPATH"] += f"{os.pathsep}{copy}"
        environment["PATH"] = f"{tools}{os.pathsep}{search_path()}"
        whole, _ = run(["dvc", "repro"], copy, environment)
        stages = stage_costs(copy, tools / TIMES, accounts)
        spent = sum(stage["seconds"] for stage in stages)
        floor = Path(folder) / "floor"
        write_trivial_project(floor, len(stages))
        run(["dvc", "repro"], floor)
        nothing = [[run(["dvc", "repro"], place)[0].seconds for place in (copy, floor)] for _ in range(rounds)]
    return {
        "stages": stages,
        "total_seconds": whole.seconds,
        "dvc_seconds": whole.seconds - spent,
        "nothing_seconds": [ours for ours, _ in nothing],
        "floor_seconds": [trivial for _, trivial in nothing],
    }


def copy_project(project: Path, copy: Path, params: Params) -> None:
    """Copy what a repro needs, as a DVC project of its own without results."""
    for name in COPIED:
        source, target = project / name, copy / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    (copy / "params.yaml").write_bytes(TypeAdapter(Params).dump_json(params))  # JSON is YAML
    run(["dvc", "init", "--no-scm", "--quiet"], copy)


def write_python(folder: Path) -> None:
    """Write a `python` that starts this one and notes how long it ran."""
    python = folder / "python"
    python.write_text(PYTHON.format(python=sys.executable, times=str(folder / TIMES)), encoding="utf-8")
    python.chmod(0o755)


def write_trivial_project(folder: Path, stages: int) -> None:
    """Write a DVC project of stages that copy a file each: the least that DVC costs."""
    folder.mkdir()
    for stage in range(stages):
        (folder / f"input_{stage}").write_text(str(stage), encoding="utf-8")
    content = {
        f"stage_{stage}": {"cmd": f"cp {read} {written}", "deps": [read], "outs": [written]}
        for stage in range(stages)
        for read, written in [(f"input_{stage}", f"output_{stage}")]
    }
    with (folder / "dvc.yaml").open("w", encoding="utf-8") as file:
        YAML(typ="safe", pure=True).dump({"stages": content}, file)
    run(["dvc", "init", "--no-scm", "--quiet"], folder)


def stage_costs(project: Path, times: Path, accounts: Path) -> list[dict[str, Any]]:
    """Of each stage in the order they ran: its seconds, and which of them went where.

    work: training and evaluating, by the timings of the trainings (the longest, as they run side by side), in other
    stages what is neither an import, MLflow nor waiting; imports and mlflow: of the process of the stage that spent
    most on it. Processes of a stage overlap, so these need not add up.
    """
    known = list(sampling.accounts(accounts))
    costs = []
    for stage, seconds in map(json.loads, times.read_text(encoding="utf-8").splitlines()):
        processes = [one.seconds for one in known if one.stage == stage] or [dict.fromkeys(sampling.KINDS, 0.0)]
        spent = {kind: max(one[kind] for one in processes) for kind in sampling.KINDS}
        models = project / MODELS
        runs = [int(path.parent.name) for path in (models / stage).glob(f"*/{METADATA}")]
        work = max((load_seconds(stage, seed, models) for seed in runs), default=spent[sampling.WORK])
        costs.append({"stage": stage, "seconds": seconds, **spent, "work": work})
    return costs
