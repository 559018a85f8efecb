"""A model over HTTP: the ASGI application that says what a request must be and answers it.

It speaks the protocol of MLflow's own server, JSON or CSV sent to /invocations, and is stricter: invalid requests,
including unknown fields and parameter names, get a 4xx with a reason. Size and time of a body, concurrent requests and
concurrent decodings are limited, and with them memory. A browser gets a page, and may send corrections.
"""

import asyncio
import csv
import io
import textwrap
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

from pydantic import TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from pipeline.config.params import STRICT
from pipeline.errors import UserError
from pipeline.listener import HOST, listener_at, serve_until_ended
from pipeline.prediction.inputs import check_columns, sources_in
from pipeline.prediction.known import Known
from pipeline.prediction.requests import PredictionRequest, Service
from pipeline.serving.corrections import CorrectionFile
from pipeline.serving.page import page
from pipeline.text import shown
from pipeline.tracking.models import load_model

LARGEST_BODY = 8 * 2**20  # bytes
BODY_SECONDS = 30  # for a body to arrive
MOST_CONCURRENT = 64  # requests; above, the server answers 503
LONG = 2_000  # hypotheses, about a quarter of a second's work: requests for more wait in a queue of their own
LONGEST_REASON = 500  # characters
OWN_NAMES = (HOST, "localhost")  # of this machine, by which its own pages call the server
SHAPE = 'a request is {"inputs": [strings], "params": {"n_best": 1, ...}}, params may be left out'
CORRECTIONS_SHAPE = 'a request is {"corrections": [{"source": string, "target": string}, ...]}'
JSON, CSV = "application/json", "text/csv"

T = TypeVar("T")


class Body(NamedTuple):
    """The content of a request: its sources and its parameters."""

    inputs: list[str]
    params: dict[str, Any] | None = None


@dataclass(frozen=True, config=STRICT)
class Split:
    """A DataFrame in the orientation `split` of pandas, as MLflow's clients send it."""

    data: list[Any]
    columns: list[Any] | None = None
    index: list[Any] | None = None


@dataclass(frozen=True, config=STRICT)
class Formats:
    """A request as JSON, with its sources in one of MLflow's four formats."""

    inputs: Any = None
    instances: Any = None
    dataframe_split: Split | None = None
    dataframe_records: list[Any] | None = None
    params: dict[str, Any] | None = None


@dataclass(frozen=True, config=STRICT)
class Correction:
    """A source with its right target."""

    source: str
    target: str


@dataclass(frozen=True, config=STRICT)
class Corrections:
    """A request with corrections."""

    corrections: list[Correction]


def application(service: Service, corrections: CorrectionFile | None = None) -> Starlette:
    """An application that answers with a model. corrections: what takes those of the page, if anything."""
    requests, file = Requests(service), corrections.path if corrections else None
    routes = [Route("/", page(service, file), methods=["GET"])]
    routes += [Route("/invocations", requests.predict, methods=["POST"])]
    if corrections:
        routes += [Route("/corrections", partial(requests.correct, corrections), methods=["POST"])]
    texts = {"/ping": "\n", "/health": "\n", "/version": version("mlflow")}
    routes += [Route(path, Response(text, media_type=JSON), methods=["GET"]) for path, text in texts.items()]
    return Starlette(routes=routes, exception_handlers=dict.fromkeys((HTTPException, UserError, Exception), _error))


class Requests:
    """Concurrent requests. Short ones are decoded one at a time, and beside them long ones one at a time."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._room = asyncio.Semaphore(MOST_CONCURRENT)
        self._parsing, self._short, self._long = (asyncio.Semaphore(1) for _ in range(3))

    async def predict(self, request: Request) -> Response:
        """Predictions for a request; raises HTTPException or `UserError` for one that is not answered."""
        async with self._place():
            read = _reader(request)
            body = await _receive(request)
            async with self._parsing:  # thousands of strings take their time, and a hundredfold of their bytes
                content = await asyncio.to_thread(read, body)
                parsed = await asyncio.to_thread(self._service.parse, content.inputs, content.params or {})
            del body, content
            async with self._long if parsed.hypotheses > LONG else self._short:
                return await asyncio.to_thread(self._predict, parsed)

    async def correct(self, file: CorrectionFile, request: Request) -> Response:
        """Keep corrections; raises HTTPException or `UserError` for those that are not kept."""
        async with self._place():
            _check_origin(request)
            if _reader(request) is not read_json:
                raise HTTPException(415, f"corrections must be {JSON}")
            rows = _validated(Corrections, await _receive(request), CORRECTIONS_SHAPE).corrections
            pairs = [(row.source, row.target) for row in rows]
            try:
                await asyncio.to_thread(file.append, pairs, self._service.predictor)
            except OSError as error:
                raise HTTPException(507, f"{file.path.name} cannot be written to: {error.strerror or error}") from error
        return JSONResponse({"corrections": len(pairs)}, 201)

    @asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        if self._room.locked():
            reason = f"{MOST_CONCURRENT} requests are being answered: try again in a second"
            raise HTTPException(503, reason, {"Retry-After": "1"})
        async with self._room:
            yield

    def _predict(self, parsed: PredictionRequest) -> Response:
        return JSONResponse({"predictions": self._service.answer(parsed)})


def read_json(body: bytes) -> Body:
    """The request in a JSON body; raises `UserError` for anything else."""
    request = vars(_validated(Formats, body, SHAPE))
    params = request.pop("params")
    given = [name for name, value in request.items() if value is not None]
    if len(given) != 1:
        reason = f"{' and '.join(given)} cannot be together" if given else "there are no sources"
        raise UserError(f"{reason}, give one of {', '.join(request)}: {SHAPE}")
    try:
        data = request[given[0]]
        return Body(sources_in(_rows(data) if isinstance(data, Split) else data), params)
    except UserError as error:
        raise UserError(f"{given[0]}: {error}") from None


def _validated(kind: type[T], body: bytes, shape: str) -> T:
    try:
        return TypeAdapter(kind).validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        match first["type"]:
            case "json_invalid":
                raise UserError(f"{first['msg']}: {shape}") from None
            case "unexpected_keyword_argument":
                raise UserError(f"there is no {place!r} in a request: {shape}") from None
            case _:
                raise UserError(f"{place or 'the body'}: {first['msg'].lower()}: {shape}") from None


def _rows(split: Split) -> list[Any]:
    if split.columns or (split.data and split.columns is not None):
        check_columns(split.columns)
    if split.index is not None and len(split.index) != len(split.data):
        raise UserError(f"index has {len(split.index):,} entries, but data has {len(split.data):,} rows")
    return split.data


def read_csv(body: bytes, header: bool | None = None) -> Body:
    """The request in a CSV body of one column; raises `UserError` for anything else.

    header: whether the first row is one. By default it is, as for MLflow, but then there must be a row below it.
    """
    try:
        rows = list(csv.reader(io.StringIO(body.decode("utf-8-sig"), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"the body is not CSV in UTF-8 ({error})") from None
    has_header = header is not False
    if has_header and not rows:
        raise UserError("the body is empty: CSV has a header and a source in each row below it")
    if has_header:
        check_columns(rows[0])
    if header is None and len(rows) == 1:
        only = f"the only row, {shown(rows[0][0])}, is taken for a header"
        raise UserError(f"{only}: if it is a source, send the content type {CSV}; header=absent")
    for number, row in enumerate(rows, start=1):
        if len(row) > 1:
            raise UserError(f"row {number} has {len(row)} columns, but there must be one, the sources")
    return Body([row[0] if row else "" for row in rows[has_header:]])


def _reader(request: Request) -> Callable[[bytes], Body]:
    """The reader for the content type of a request; raises HTTPException for other types."""
    kind, *parameters = (part.strip().lower() for part in request.headers.get("content-type", "").split(";"))
    if kind not in (JSON, CSV):
        raise HTTPException(415, f"the content type is {shown(kind)}, but must be {JSON} or {CSV}")
    header = None
    for name, _, value in (parameter.partition("=") for parameter in filter(None, parameters)):
        match name.strip(), value.strip(" '\""):
            case "charset", charset:
                if charset.replace("_", "-") not in ("utf-8", "utf8"):
                    raise HTTPException(415, f"the charset is {shown(charset)}, but must be utf-8")
            case "header", ("present" | "absent") as value if kind == CSV:
                header = value == "present"
            case "header", value if kind == CSV:
                raise HTTPException(415, f"the parameter header is {shown(value)}, but must be present or absent")
            case name, _:
                known = "charset and header" if kind == CSV else "charset"
                raise HTTPException(415, f"{kind} has no parameter {shown(name)}, only {known}")
    if request.headers.get("content-encoding", "identity") != "identity":
        raise HTTPException(415, "the body is compressed: send it uncompressed")
    return partial(read_csv, header=header) if kind == CSV else read_json


def _check_origin(request: Request) -> None:
    """Raise HTTPException for what a page of another site sends, by whatever name it calls this machine."""
    host, origin = request.headers.get("host", ""), request.headers.get("origin")
    if urlsplit(f"//{host}").hostname not in OWN_NAMES or origin not in (None, f"http://{host}"):
        raise HTTPException(
            403, f"corrections are taken from the page at http://{HOST} alone, not from {origin or host}"
        )


async def _receive(request: Request) -> bytes:
    """The body. One that is too large is received to its end, because a sending client does not listen."""
    body, size = bytearray(), 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for part in request.stream():
                size += len(part)
                body += part if size <= LARGEST_BODY else b""
    except TimeoutError:
        raise HTTPException(408, f"the body took more than {BODY_SECONDS} seconds", {"Connection": "close"}) from None
    except ClientDisconnect:
        raise HTTPException(400, "the body broke off") from None
    if size > LARGEST_BODY:
        raise HTTPException(413, f"the body has more than {LARGEST_BODY:,} bytes: send the strings in several requests")
    return bytes(body)


async def _error(request: Request, error: Exception) -> Response:
    """The reason for an error in the format of MLflow's server."""
    status, reason, headers = 500, "internal error, see the log of the server", None
    if isinstance(error, UserError):
        status, reason = 400, str(error)
    elif isinstance(error, HTTPException):
        status, reason, headers = error.status_code, error.detail, error.headers
    content = {"error_code": HTTPStatus(status).name, "message": textwrap.shorten(reason, LONGEST_REASON)}
    return JSONResponse(content, status, headers)


def serve(address: str, port: int, known: Known = MappingProxyType({}), corrections: Path | None = None) -> None:
    """Answer with a model until shut down; raises `UserError` if there is no model, or the port is in use.

    address: a folder, or a model URI of MLflow. known: answers that come before those of the model. corrections: the
    file to append those of the page to; raises `UserError` if it cannot be written.
    """
    kept = CorrectionFile(corrections) if corrections else None
    service = Service(replace(load_model(address).predictor, known=known))
    symbols = [symbol for symbol in service.predictor.model.source_alphabet.symbols if symbol.strip()]
    service.answer(service.parse(symbols[:1], {}))  # compiles now, so that the first request does not wait for it
    with listener_at(port) as listener:
        print(f"{address} answers at http://{HOST}:{port}/invocations, its page is http://{HOST}:{port}/", flush=True)
        serve_until_ended(application(service, kept), listener)
