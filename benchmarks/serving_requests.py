"""What clients ask a server of a model: requests that can be answered, with the answers, and all sorts that cannot."""

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from math import isclose
from typing import Any

from pipeline.prediction.requests import Prediction, Service
from pipeline.serving.application import CSV, JSON, LARGEST_BODY

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
        first = [self._many(MANY), *self._invalid]
        return [chain(first[number::clients], self._requests(number)) for number in range(clients)]

    def _requests(self, seed: int) -> Iterator[Request]:
        rng = random.Random(seed)  # noqa: S311 - nothing is kept secret by it
        while True:
            yield rng.choice(self._invalid) if rng.random() < INVALID else self._valid(rng)

    def _many(self, count: int) -> Request:
        place = next(place for place, options in enumerate(OPTIONS) if options.get("order") == "greedy")
        sources = [self._sources[number % len(self._sources)] for number in range(count)]
        return self._request(f"{count:,} strings, greedy", sources, place)

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
        found[row.source].append(row)
    return found


def invalid_requests(source: str, max_symbols: int) -> Iterator[Request]:
    """One of each kind of request that cannot be answered; `source` alone could be."""

    def asked(kind: str, inputs: Any, **params: Any) -> Request:
        return Request(kind, json.dumps({"inputs": inputs, "params": params}).encode(), status=CANNOT)

    yield asked("a number among strings", [source, 3])
    yield asked("null among strings", [source, None])
    yield asked("a list among strings", [[source]])
    yield asked("a string for a list", source)
    yield asked("an empty string", [source, ""])
    yield asked("a line break", [f"{source}\n"])
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
