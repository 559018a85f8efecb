"""A served model under load on loopback: right answers, reasons for wrong requests, memory, and how long clients wait.

    python -m benchmarks.serving --out serving.json         # in a project, after `dvc repro`

starts `tandem serve`, and for a minute 16 clients ask it, each over a connection of its own, one request after the
other, a third of them wrong in one of many ways. Every answer is compared with what the model predicts in this process.
"""

import argparse
import json
import socket
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.serving_requests import Mix, Request
from pipeline.data.prepared import Prepared
from pipeline.errors import UserError, explain_user_errors
from pipeline.report.tables import markdown_table
from pipeline.serving.application import HOST
from pipeline.tracking.models import load_model

SOURCES = 500  # different ones that are asked for
START_SECONDS = 120  # until a server answers
ANSWER_SECONDS = 120  # that a client waits at most
SAMPLE_SECONDS = 0.2
LEAST = 8  # requests of each client, however short the time


@dataclass
class Told:
    """What one kind of request got: seconds to the answer of each, strings of it, and answers that were not right."""

    seconds: list[float] = field(default_factory=list)
    strings: int = 0
    wrong: list[str] = field(default_factory=list)


Tally = dict[str, Told]


@contextmanager
def server(address: str, folder: Path | None = None) -> Iterator[tuple[int, psutil.Process]]:
    """`tandem serve` in a process of its own, as soon as it answers: its port and process."""
    with socket.create_server((HOST, 0)) as probe:
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "pipeline.cli", "serve", "--model", address, "--port", str(port)]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL) as process:  # noqa: S603 - our own
        try:
            deadline = time.monotonic() + START_SECONDS
            while not _is_open(port):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise UserError(f"the server of {address} did not start")
                time.sleep(0.2)
            yield port, psutil.Process(process.pid)
        finally:
            process.terminate()


def load(port: int, process: psutil.Process, mix: Mix, clients: int, seconds: float) -> dict[str, Any]:
    """Let clients ask a server for some seconds: what they got, as JSON."""
    ended = threading.Event()
    tallies: list[Tally] = [defaultdict(Told) for _ in range(clients)]
    memory = [process.memory_info().rss]

    def sample() -> None:
        while not ended.wait(SAMPLE_SECONDS):
            memory.append(process.memory_info().rss)

    sampler = threading.Thread(target=sample)
    sampler.start()
    started = time.monotonic()
    try:
        with ThreadPoolExecutor(clients) as pool:
            asking = [
                pool.submit(_client, port, requests, tally, seconds)
                for requests, tally in zip(mix.of_clients(clients), tallies, strict=True)
            ]
            for client in asking:
                client.result()
    finally:
        elapsed = time.monotonic() - started
        ended.set()
        sampler.join()
    kinds: Tally = defaultdict(Told)
    for tally in tallies:
        for kind, told in tally.items():
            kinds[kind].seconds += told.seconds
            kinds[kind].strings += told.strings
            kinds[kind].wrong += told.wrong
    return {
        "clients": clients,
        "seconds": round(elapsed, 1),
        "valid": _summary([told for told in kinds.values() if told.strings], elapsed),
        "invalid": _summary([told for told in kinds.values() if not told.strings], elapsed),
        "kinds": {kind: _summary([told], elapsed) for kind, told in sorted(kinds.items())},
        "wrong": [f"{kind}: {wrong}" for kind, told in kinds.items() for wrong in told.wrong],
        "memory_bytes": {"start": memory[0], "peak": max(memory), "end": memory[-1]},
    }


def _client(port: int, requests: Iterator[Request], tally: Tally, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    with closing(HTTPConnection(HOST, port, timeout=ANSWER_SECONDS)) as connection:
        for number, request in enumerate(requests):
            if number >= LEAST and time.monotonic() > deadline:
                break
            told = tally[request.kind]
            started = time.perf_counter()
            try:
                status, answer = _ask(connection, request)
            except (OSError, HTTPException) as error:
                told.wrong.append(f"{type(error).__name__}: {error}")
                connection.close()
                continue
            told.seconds.append(time.perf_counter() - started)
            told.strings += request.strings
            if not request.is_answered_by(status, answer):
                told.wrong.append(f"status {status}, {answer[:300].decode(errors='replace')}")


def _ask(connection: HTTPConnection, request: Request) -> tuple[int, bytes]:
    headers = {"Content-Type": request.content_type} if request.content_type else {}
    connection.request("POST", "/invocations", request.body, headers)
    with connection.getresponse() as response:
        return response.status, response.read()


def _is_open(port: int) -> bool:
    with closing(HTTPConnection(HOST, port, timeout=5)) as connection:
        try:
            connection.request("GET", "/ping")
            return connection.getresponse().status == 200
        except (OSError, HTTPException):
            return False


def _summary(some: Sequence[Told], elapsed: float) -> dict[str, Any]:
    waits = [1000 * seconds for told in some for seconds in told.seconds]
    p50, p99 = np.percentile(waits, [50, 99]) if waits else (0.0, 0.0)
    return {
        "requests": len(waits),
        "wrong": sum(len(told.wrong) for told in some),
        "requests_per_second": round(len(waits) / elapsed, 2),
        "strings_per_second": round(sum(told.strings for told in some) / elapsed, 1),
        "milliseconds": {
            "p50": round(float(p50), 1),
            "p99": round(float(p99), 1),
            "longest": round(max(waits, default=0), 1),
        },
    }


def report(found: Mapping[str, Any]) -> str:
    """What was found, as markdown tables."""
    header = [
        "requests",
        "number",
        "wrong answers",
        "a second",
        "strings a second",
        "p50, ms",
        "p99, ms",
        "longest, ms",
    ]
    rows = []
    valid = {kind: one for kind, one in found["kinds"].items() if one["strings_per_second"]}
    for name, one in (*valid.items(), ("all valid", found["valid"]), ("all invalid", found["invalid"])):
        waits = one["milliseconds"]
        cells = [one["requests"], one["wrong"], one["requests_per_second"], one["strings_per_second"], *waits.values()]
        rows.append([name, *(f"{cell:,}" for cell in cells)])
    memory = ", ".join(f"{name} {size / 2**20:,.0f} MiB" for name, size in found["memory_bytes"].items())
    lines = [
        f"{found['clients']} clients, {found['seconds']} s; memory of the server: {memory}",
        "",
        markdown_table(header, rows),
    ]
    return "\n".join([*lines, *(f"wrong: {wrong}" for wrong in found["wrong"][:20])])


@explain_user_errors
def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and fail if an answer was wrong."""
    options = _parser().parse_args(arguments)
    service, prepared = load_model(options.model), Prepared.open()
    sources = list(dict.fromkeys(example.source for example in prepared.test))[:SOURCES]
    mix = Mix(service, sources)
    with server(options.model) as (port, process):
        found = {"model": options.model, **load(port, process, mix, options.clients, options.seconds)}
    if options.out:
        options.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(report(found))
    if found["wrong"]:
        raise SystemExit(1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="models:/tandem@champion", help="models:/..., runs:/... or a folder")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--out", type=Path, help="JSON with all figures")
    return parser


if __name__ == "__main__":
    main()
