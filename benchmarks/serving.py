"""A served model under load on loopback: right answers, reasons for wrong requests, memory, and how long clients wait.

    python -m benchmarks.serving --out serving.json         # in a project, after `dvc repro`

starts `tandem serve`, and for a minute 16 clients send requests, each over a connection of its own, one after the
other, a third of them invalid in one of many ways. Every answer is compared with the model's predictions in this
process.
"""

import json
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from itertools import chain
from math import isclose
from pathlib import Path
from typing import Any

import pandas as pd
import psutil

from benchmarks.commands import served
from benchmarks.timing import count, parser_of
from pipeline.data.prepared import Prepared
from pipeline.errors import explain_user_errors
from pipeline.listener import HOST
from pipeline.prediction.requests import Prediction, Service
from pipeline.report.tables import markdown_table
from pipeline.serving.application import CSV, JSON, LARGEST_BODY
from pipeline.tracking.models import load_model

SOURCES = 500  # different ones that are asked for
ANSWER_SECONDS = 600  # that a client waits at most
LEAST = 8  # requests of each client, however short the time
MEBIBYTE = 2**20
OPTIONS: tuple[Mapping[str, Any], ...] = ({}, {"n_best": 3}, {"order": "greedy"}, {"order": "beam", "beam_width": 4})
COUNTS = (1, 1, 1, 2, 10, 100)  # strings of a request
INVALID = 0.3  # share of requests
MANY = 100_000  # strings of one request
ROUNDING = 1e-3  # of log probabilities, relative; what is decoded beside a string changes its last digits

CANNOT, TOO_LARGE, OTHER_TYPE = 400, 413, 415


@dataclass(frozen=True)
class Request:
    """kind: what is right or wrong with it. rows: of the answer, None if `status` is all that is to come."""

    kind: str
    body: bytes
    content_type: str = JSON
    status: int = 200
    rows: Sequence[Prediction] | None = None

    @property
    def strings(self) -> int:
        """How many it gets predictions for."""
        return sum(row.rank == 1 for row in self.rows or ())

    def is_answered_by(self, status: int, body: bytes) -> bool:
        """Whether this is the answer: the rows of the model itself, or the status and a reason."""
        try:
            found = json.loads(body)
            if status != self.status:
                return False
            if self.rows is None:
                return bool(found["message"])
            return len(found["predictions"]) == len(self.rows) and all(map(_agree, found["predictions"], self.rows))
        except (ValueError, KeyError, TypeError):
            return False


def _agree(found: Mapping[str, Any], row: Prediction) -> bool:
    numbers = ("log_probability", "confidence")
    return set(found) == set(row._fields) and all(
        isclose(found[name], value, rel_tol=ROUNDING, abs_tol=ROUNDING) if name in numbers else found[name] == value
        for name, value in row._asdict().items()
    )


class Mix:
    """Requests in a mix, for sources that a model has answered in this process."""

    def __init__(self, service: Service, sources: Sequence[str]) -> None:
        self._sources = sources
        self._rows = [_answers(service, sources, options) for options in OPTIONS]
        self._invalid = tuple(invalid_requests(sources[0], service.predictor.max_symbols))

    def of_clients(self, clients: int) -> list[Iterator[Request]]:
        """Requests without end for each client, the same every time; together they begin with one of every kind."""
        greedy = next(place for place, options in enumerate(OPTIONS) if options.get("order") == "greedy")
        many = [self._sources[number % len(self._sources)] for number in range(MANY)]
        first = [self._request(f"{MANY:,} strings, greedy", many, greedy), *self._invalid]
        return [chain(first[number::clients], self._requests(number)) for number in range(clients)]

    def _requests(self, seed: int) -> Iterator[Request]:
        rng = random.Random(seed)  # noqa: S311 - nothing is kept secret by it
        while True:
            yield rng.choice(self._invalid) if rng.random() < INVALID else self._valid(rng)

    def _valid(self, rng: random.Random) -> Request:
        sources = rng.choices(self._sources, k=rng.choice(COUNTS))
        return self._request(f"{len(sources)} strings", sources, rng.randrange(len(OPTIONS)))

    def _request(self, kind: str, sources: Sequence[str], place: int) -> Request:
        rows = [row for source in sources for row in self._rows[place][source]]
        body = json.dumps({"inputs": sources, "params": OPTIONS[place]})
        return Request(kind, body.encode(), rows=rows)


def _answers(service: Service, sources: Sequence[str], options: Mapping[str, Any]) -> dict[str, list[Prediction]]:
    found: dict[str, list[Prediction]] = {source: [] for source in sources}
    for row in service.answer(service.parse(list(found), options)):
        found[row["source"]].append(Prediction(**row))
    return found


def invalid_requests(source: str, max_symbols: int) -> Iterator[Request]:
    """One of each kind of request that cannot be answered; `source` alone could be."""

    def asked(kind: str, inputs: Any, **params: Any) -> Request:
        return Request(kind, json.dumps({"inputs": inputs, "params": params}).encode(), status=CANNOT)

    yield asked("a number among strings", [source, 3])
    yield asked("null among strings", [source, None])
    yield asked("a list among strings", [source, [source]])
    yield asked("two columns", [{"source": source, "other": source}])
    yield asked("a string for a list", source)
    yield asked("an empty string", [source, ""])
    yield asked("a line break", [f"{source}\n{source}"])
    yield asked("a NUL", [f"{source}\0"])
    yield asked("a lone surrogate", ["\ud800"])
    yield asked("10,000 symbols", [" ".join("a" * 10_000)])
    yield asked("a symbol too many", [" ".join("a" * (max_symbols + 1))])
    yield asked("100,000 strings", [source] * 100_000)
    yield asked("n_best of a billion", [source], n_best=10**9)
    yield asked("n_best of 0", [source], n_best=0)
    yield asked("n_best as text", [source], n_best="3")
    yield asked("n_best of NaN", [source], n_best=float("nan"))
    yield asked("n_best of true", [source], n_best=True)
    yield asked("a beam width of -1", [source], beam_width=-1)
    yield asked("n_best of greedy decoding", [source], order="greedy", n_best=2)
    yield asked("an unknown order", [source], order="best")
    yield asked("a misspelt parameter", [source], n_bset=3)
    yield Request("a misspelt key", json.dumps({"input": [source]}).encode(), status=CANNOT)
    yield Request("a key too many", json.dumps({"inputs": [source], "parms": {}}).encode(), status=CANNOT)
    yield Request("two formats", json.dumps({"inputs": [source], "instances": [source]}).encode(), status=CANNOT)
    yield Request("params as a list", json.dumps({"inputs": [source], "params": [3]}).encode(), status=CANNOT)
    yield Request("no object", json.dumps([source]).encode(), status=CANNOT)
    yield Request("nothing", b"", status=CANNOT)
    yield Request("no JSON", b"n_best=3", status=CANNOT)
    yield Request("half of JSON", b'{"inputs": ["', status=CANNOT)
    yield Request("JSON of a great depth", b"[" * 100_000, status=CANNOT)
    yield Request("a number of 10,000 digits", b'{"inputs": [%s]}' % (b"9" * 10_000), status=CANNOT)
    yield Request("bytes that are no text", b'{"inputs": ["\xff"]}', status=CANNOT)
    yield Request("a body too large", b" " * (LARGEST_BODY + 1), status=TOO_LARGE)
    yield Request("CSV of two columns", f"source,other\n{source},x\n".encode(), CSV, CANNOT)
    yield Request("empty CSV", b"", CSV, CANNOT)
    yield Request("a form", b"inputs=a", "application/x-www-form-urlencoded", OTHER_TYPE)
    yield Request("no content type", b"{}", "", OTHER_TYPE)
    yield Request("another character set", b"{}", f"{JSON}; charset=latin-1", OTHER_TYPE)
    yield Request("Parquet", b"PAR1", "application/vnd.apache.parquet", OTHER_TYPE)


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
