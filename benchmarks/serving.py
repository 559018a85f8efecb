"""A served model under load on loopback: right answers, reasons for wrong requests, memory, and how long clients wait.

    python -m benchmarks.serving --out serving.json         # in a project, after `dvc repro`

starts `tandem serve`, and for a minute 16 clients send requests, each over a connection of its own, one after the
other, a third of them invalid in one of many ways. Every answer is compared with the model's predictions in this
process.
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import pandas as pd
import psutil

from benchmarks.commands import served
from benchmarks.serving_requests import Mix, Request
from benchmarks.timing import count, parser_of
from pipeline.data.prepared import Prepared
from pipeline.errors import explain_user_errors
from pipeline.report.tables import markdown_table
from pipeline.serving.application import HOST
from pipeline.tracking.models import load_model

SOURCES = 500  # different ones that are asked for
ANSWER_SECONDS = 120  # that a client waits at most
LEAST = 8  # requests of each client, however short the time
MEBIBYTE = 2**20


@contextmanager
def server(address: str, folder: Path | None = None) -> Iterator[tuple[int, psutil.Process]]:
    """Start `tandem serve` in a process of its own and wait until it answers; gives its port and process."""
    with served("serve", "--model", address, ping="/ping", folder=folder) as (port, process):
        yield port, psutil.Process(process)


def load(port: int, process: psutil.Process, mix: Mix, clients: int, seconds: float) -> dict[str, Any]:
    """Let clients send requests to a server for some seconds; returns the figures, as in the JSON."""
    start, started = process.memory_info().rss, time.monotonic()
    with ThreadPoolExecutor(clients) as pool:
        working = [pool.submit(_client, port, process, requests, seconds) for requests in mix.of_clients(clients)]
        answers = pd.DataFrame([answer for client in working for answer in client.result()])
    elapsed = time.monotonic() - started
    memory = {"start": start, "peak": int(answers["memory"].max()), "end": process.memory_info().rss}
    wrong = answers[answers["wrong"] != ""]
    return {
        "clients": clients,
        "seconds": round(elapsed, 1),
        "valid": _summary(answers[answers["valid"]], elapsed),
        "invalid": _summary(answers[~answers["valid"]], elapsed),
        "kinds": {str(kind): _summary(some, elapsed) for kind, some in answers.groupby("kind")},
        "wrong": (wrong["kind"] + ": " + wrong["wrong"]).tolist(),
        "memory_bytes": memory,
    }


def _client(port: int, process: psutil.Process, requests: Iterator[Request], seconds: float) -> list[dict[str, Any]]:
    """The answers of one client: seconds (None without an answer), what is wrong, the server's memory afterwards."""
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
            answers.append({**answer, "seconds": waited, "wrong": wrong, "memory": process.memory_info().rss})
    return answers


def _ask(connection: HTTPConnection, request: Request) -> tuple[int, bytes]:
    headers = {"Content-Type": request.content_type} if request.content_type else {}
    connection.request("POST", "/invocations", request.body, headers)
    with connection.getresponse() as response:
        return response.status, response.read()


def _summary(answers: pd.DataFrame, elapsed: float) -> dict[str, Any]:
    waits = 1000 * answers["seconds"].astype(float).dropna()
    return {
        "requests": len(waits),
        "wrong": int((answers["wrong"] != "").sum()),
        "requests_per_second": round(len(waits) / elapsed, 2),
        "strings_per_second": round(int(answers["strings"].sum()) / elapsed, 1),
        "milliseconds": waits.quantile([0.5, 0.99, 1]).fillna(0).round(1).tolist(),
    }


def report(figures: Mapping[str, Any]) -> str:
    """The figures as markdown tables."""
    header = ["requests", "number", "wrong", "a second", "strings a second", "p50, ms", "p99, ms", "longest, ms"]
    valid = {kind: one for kind, one in figures["kinds"].items() if one["strings_per_second"]}
    rows = []
    for name, one in {**valid, "all valid": figures["valid"], "all invalid": figures["invalid"]}.items():
        numbers = [one["requests"], one["wrong"], one["requests_per_second"], one["strings_per_second"]]
        rows.append([name, *(f"{number:,}" for number in (*numbers, *one["milliseconds"]))])
    memory = ", ".join(f"{name} {size / MEBIBYTE:,.0f} MiB" for name, size in figures["memory_bytes"].items())
    title = f"{figures['clients']} clients, {figures['seconds']} s; memory of the server: {memory}"
    return "\n".join([title, "", markdown_table(header, rows), *(f"wrong: {one}" for one in figures["wrong"][:20])])


@explain_user_errors
def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and fail if an answer was wrong."""
    parser = parser_of(__doc__)
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
