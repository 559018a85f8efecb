"""Commands run as a user runs them, each in a process of its own: their seconds and memory, and servers."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch
from urllib.request import Request, urlopen

import psutil
from pydantic import TypeAdapter

from benchmarks.throughput import words
from pipeline.config.params import Params, changed
from pipeline.errors import UserError

BYTES = 1 if sys.platform == "darwin" else 1024  # the unit of `ru_maxrss`
PAIRS = 5000  # of stage `prepare` on many targets
RAW = Path("data/raw")
COPIED = ("dvc.yaml", ".dvcignore", RAW, Path("data/sizes"), "pipeline")
SOURCE = "F AO R K"
STARTS: dict[str, tuple[int, list[str]]] = {  # exit code and arguments of Python
    "import": (0, ["-c", "import pipeline.model.backend"]),
    "predict": (0, ["-m", "pipeline.cli", "predict", SOURCE]),
    "help": (0, ["-m", "pipeline.cli", "--help"]),
    "usage_error": (2, ["-m", "pipeline.cli", "predict", "--order", "none"]),
}
START_SECONDS = 600  # until a server answers


@dataclass(frozen=True)
class Cost:
    """What a command took: seconds by the clock, processor seconds, peak memory of its largest process in bytes."""

    seconds: float
    cpu_seconds: float
    peak_bytes: int


def run(command: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None, code: int = 0) -> Cost:
    """Run a command in a folder; returns its cost, raises `UserError` with its output for another exit code.

    Variables that name a tracking server or another project are left out of its environment.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "DVC_"))}
    kept["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    with TemporaryDirectory() as place, (Path(place) / "log").open("w+b") as log:
        started = time.perf_counter()
        process = subprocess.Popen(  # noqa: S603 - our own commands
            command, cwd=folder, env={**kept, **(environment or {})}, stdout=log, stderr=log
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != code:
            text = Path(log.name).read_text(encoding="utf-8", errors="replace")
            raise UserError(f"{' '.join(command)} failed with exit code {process.returncode}:\n{text[-2000:]}")
    return Cost(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * BYTES)


@contextmanager
def served(*command: str, ping: str, folder: Path | None = None) -> Iterator[tuple[int, int]]:
    """Start a server of `tandem` in a process of its own and wait until `ping` answers; gives its port and process."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    whole = [sys.executable, "-m", "pipeline.cli", *command, "--port", str(port)]
    with subprocess.Popen(whole, cwd=folder, stdout=subprocess.DEVNULL) as process:  # noqa: S603 - our own
        try:
            deadline = time.monotonic() + START_SECONDS
            while not _answers(f"http://127.0.0.1:{port}{ping}"):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise UserError(f"`tandem {' '.join(command)}` did not start")
                time.sleep(0.2)
            yield port, process.pid
        finally:
            process.terminate()


def _answers(address: str) -> bool:
    try:
        urlopen(address, timeout=60).close()  # noqa: S310 - on this machine
    except OSError:
        return False
    return True


def start_costs(project: Path, rounds: int, against: Path | None) -> dict[str, list[float]]:
    """Processor seconds of `STARTS` in a finished project, in turn after a first round that does not count.

    `serve` is until the server answers, its second and tenth request are in seconds by the clock. against: a finished
    project with code of another version, whose `predict` and `serve` take part as `other_predict`, `other_serve`.
    """
    places = {"": (project, Path(__file__).parents[1])} | ({"other_": (against, against)} if against else {})
    measured: list[dict[str, float]] = []
    for _ in range(rounds + 1):
        costs: dict[str, float] = {}
        for other, (folder, modules) in places.items():
            with patch.dict(os.environ, {"PYTHONPATH": str(modules.absolute())}):
                for name, (code, command) in STARTS.items():
                    if not other or name == "predict":
                        costs[other + name] = run([sys.executable, *command], folder, code=code).cpu_seconds
                costs |= {other + name: seconds for name, seconds in _serve_costs(folder).items()}
        measured.append(costs)
    return {name: [costs[name] for costs in measured[1:]] for name in measured[0]}


def _serve_costs(project: Path) -> dict[str, float]:
    with served("serve", ping="/ping", folder=project) as (port, process):
        costs = {"serve": sum(psutil.Process(process).cpu_times()[:2])}
        body = json.dumps({"inputs": [SOURCE]}).encode()
        address = f"http://127.0.0.1:{port}/invocations"
        for number in range(1, 11):
            started = time.perf_counter()
            urlopen(Request(address, body, {"Content-Type": "application/json"})).close()
            costs[f"request_{number}"] = time.perf_counter() - started
    return {name: costs[name] for name in ("serve", "request_2", "request_10")}


def prepare_costs(params: Params, sizes: Sequence[int]) -> list[dict[str, Any]]:
    """Run stage `prepare` on so many synthetic targets each, dev and test targets held out; returns what each cost."""
    costs = []
    for size in sizes:
        with TemporaryDirectory() as folder:
            costs.append({"targets": size, **asdict(prepare(Path(folder), params, words(size, seed=0)))})
    return costs


def prepare(project: Path, params: Params, targets: Iterable[bytes]) -> Cost:
    """Write a project as `write_project` does, and run its stage `prepare`."""
    write_project(project, params, targets)
    return run([sys.executable, "-m", "pipeline.stages.prepare"], project)


def write_project(project: Path, params: Params, targets: Iterable[bytes]) -> None:
    """Write a project folder with pairs and targets in files; the list of targets has those of all pairs.

    targets: pieces of text, in which each target is closed by a line feed.
    """
    (project / RAW).mkdir(parents=True)
    with (project / RAW / "targets.txt").open("w+b") as file:
        file.writelines(targets)
        file.seek(0)
        rows = [word.rstrip(b"\n") for word in islice(file, PAIRS)]
    old_spelling = [row.replace(b"sh", b"sch").replace(b"y", b"ie").replace(b"k", b"ck") for row in rows]
    pairs = [b"%s\t%s\n" % pair for pair in zip(old_spelling, rows, strict=True)]
    (project / RAW / "pairs.tsv").write_bytes(b"".join(pairs))
    changes = {
        "data.source": "files",
        "data.rows": "running_text",
        "data.pairs": str(RAW / "pairs.tsv"),
        "data.targets": str(RAW / "targets.txt"),
        "data.source_symbols": "characters",
        "prepare.pairs": None,
        "prepare.dev": len(rows) // 5,
        "prepare.test": len(rows) // 5,
        "prepare.targets": None,
        "prepare.hold_out_targets": True,
    }
    _write_params(project, changed(params, changes))


def repro_costs(project: Path, params: Params) -> dict[str, float]:
    """Cost of `dvc repro` in a copy of `project` without results, and seconds of another one with nothing to do."""
    with TemporaryDirectory() as folder:
        copy = Path(folder)
        for name in COPIED:
            source, target = project / name, copy / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, target)
        _write_params(copy, params)
        run(["dvc", "init", "--no-scm", "--quiet"], copy)
        total, nothing = (run(["dvc", "repro"], copy, {"PYTHONPATH": folder}) for _ in range(2))
    return {"total_seconds": total.seconds, "cpu_seconds": total.cpu_seconds, "nothing_seconds": nothing.seconds}


def _write_params(project: Path, params: Params) -> None:
    (project / "params.yaml").write_bytes(TypeAdapter(Params).dump_json(params))  # JSON is YAML
