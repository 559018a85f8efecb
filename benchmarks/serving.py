"""A served model under load on loopback: right answers, reasons for wrong requests, memory, and how long clients wait.

    python -m benchmarks.serving --out serving.json         # in a project, after `dvc repro`

starts `tandem serve`, and for a minute 16 clients send requests, each over a connection of its own, one after the
other, a third of them invalid in one of many ways. Every answer is compared with the model's predictions in this
process.
"""

import argparse
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import pandas as pd
import psutil

from benchmarks.serving_requests import Mix, Request
from benchmarks.timing import count
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
MEBIBYTE = 2**20


@contextmanager
def server(address: str, folder: Path | None = None) -> Iterator[tuple[int, psutil.Process]]:
    """Start `tandem serve` in a process of its own and wait until it answers; gives its port and process."""
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
    """Let clients send requests to a server for some seconds; returns the figures, as in the JSON."""
    ended = threading.Event()
    memory = [process.memory_info().rss]

    def sample() -> None:
        while not ended.wait(SAMPLE_SECONDS):
            memory.append(process.memory_info().rss)

    sampler = threading.Thread(target=sample)
    sampler.start()
    started = time.monotonic()
    try:
        with ThreadPoolExecutor(clients) as pool:
            working = [pool.submit(_client, port, requests, seconds) for requests in mix.of_clients(clients)]
            answers = pd.DataFrame([answer for client in working for answer in client.result()])
    finally:
        elapsed = time.monotonic() - started
        ended.set()
        sampler.join()
    wrong = answers[answers["wrong"] != ""]
    return {
        "clients": clients,
        "seconds": round(elapsed, 1),
        "valid": _summary(answers[answers["valid"]], elapsed),
        "invalid": _summary(answers[~answers["valid"]], elapsed),
        "kinds": {str(kind): _summary(some, elapsed) for kind, some in answers.groupby("kind")},
        "wrong": (wrong["kind"] + ": " + wrong["wrong"]).tolist(),
        "memory_bytes": {"start": memory[0], "peak": max(memory), "end": memory[-1]},
    }


def _client(port: int, requests: Iterator[Request], seconds: float) -> list[dict[str, Any]]:
    """The answers of one client: their kind, strings, seconds (None without an answer), and what is wrong with them."""
    answers = []
    deadline = time.monotonic() + seconds
    with closing(HTTPConnection(HOST, port, timeout=ANSWER_SECONDS)) as connection:
        for number, request in enumerate(requests):
            if number >= LEAST and time.monotonic() > deadline:
                break
            started, waited, wrong = time.perf_counter(), None, ""
            try:
                status, body = _ask(connection, request)
                waited = time.perf_counter() - started
                if not request.is_answered_by(status, body):
                    wrong = f"status {status}, {body[:300].decode(errors='replace')}"
            except (OSError, HTTPException) as error:
                wrong = f"{type(error).__name__}: {error}"
                connection.close()
            strings = request.strings if waited is not None else 0
            answer = {"kind": request.kind, "valid": bool(request.strings), "strings": strings}
            answers.append({**answer, "seconds": waited, "wrong": wrong})
    return answers


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


def _summary(answers: pd.DataFrame, elapsed: float) -> dict[str, Any]:
    waits = (1000 * answers["seconds"].astype(float)).dropna()
    spread: list[Any] = [waits.median(), waits.quantile(0.99), waits.max()] if len(waits) else [0.0] * 3
    milliseconds = {name: round(float(one), 1) for name, one in zip(("p50", "p99", "longest"), spread, strict=True)}
    return {
        "requests": len(waits),
        "wrong": int((answers["wrong"] != "").sum()),
        "requests_per_second": round(len(waits) / elapsed, 2),
        "strings_per_second": round(int(answers["strings"].sum()) / elapsed, 1),
        "milliseconds": milliseconds,
    }


def report(figures: Mapping[str, Any]) -> str:
    """The figures as markdown tables."""
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
    valid = {kind: one for kind, one in figures["kinds"].items() if one["strings_per_second"]}
    rows = []
    for name, one in {**valid, "all valid": figures["valid"], "all invalid": figures["invalid"]}.items():
        numbers = [one["requests"], one["wrong"], one["requests_per_second"], one["strings_per_second"]]
        rows.append([name, *(f"{number:,}" for number in (*numbers, *one["milliseconds"].values()))])
    memory = ", ".join(f"{name} {size / MEBIBYTE:,.0f} MiB" for name, size in figures["memory_bytes"].items())
    title = f"{figures['clients']} clients, {figures['seconds']} s; memory of the server: {memory}"
    return "\n".join([title, "", markdown_table(header, rows), *(f"wrong: {one}" for one in figures["wrong"][:20])])


@explain_user_errors
def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and fail if an answer was wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="models:/tandem@champion", help="models:/..., runs:/... or a folder")
    parser.add_argument("--clients", type=count, default=16)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--out", type=Path, help="JSON with all figures")
    options = parser.parse_args(arguments)
    service, prepared = load_model(options.model), Prepared.open()
    mix = Mix(service, list(dict.fromkeys(example.source for example in prepared.test))[:SOURCES])
    with server(options.model) as (port, process):
        figures = {"model": options.model, **load(port, process, mix, options.clients, options.seconds)}
    if options.out:
        options.out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    print(report(figures))
    if figures["wrong"]:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
