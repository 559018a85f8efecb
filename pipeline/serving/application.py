"""A model over HTTP: the ASGI application that says what a request must be and answers it.

It speaks the protocol of MLflow's own server, JSON or CSV sent to /invocations, and is stricter: invalid requests,
including unknown parameter names, get a 4xx with a reason. Size and time of a body, concurrent requests and concurrent
decodings are limited, and with them memory.
"""

import asyncio
import csv
import io
import textwrap
from collections.abc import Callable
from http import HTTPStatus
from typing import Annotated, Any

import uvicorn
from pydantic import FailFast, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from pipeline.config.params import STRICT
from pipeline.errors import UserError
from pipeline.listener import CONNECTIONS, HOST, listener_at
from pipeline.prediction.requests import PredictionRequest, Service
from pipeline.tracking.models import load_model

LARGEST_BODY = 8 * 2**20  # bytes
BODY_SECONDS = 30  # for a body to arrive
MOST_CONCURRENT = 64  # requests; above, the server answers 503
LONG = 2_000  # hypotheses, about a quarter of a second's work: requests for more wait in a queue of their own
LONGEST_REASON = 500  # characters
SHAPE = 'a request is {"inputs": [strings], "params": {"n_best": 1, ...}}, params may be left out'
JSON, CSV = "application/json", "text/csv"


@dataclass(frozen=True, config=STRICT)
class Body:
    """A request as JSON."""

    inputs: Annotated[list[str], FailFast()]
    params: dict[str, Any] | None = None


def application(service: Service) -> Starlette:
    """An application that answers with a model."""
    routes = [Route("/invocations", Invocations(service).answer, methods=["POST"])]
    routes += [Route(path, Response("\n", media_type=JSON), methods=["GET"]) for path in ("/ping", "/health")]
    return Starlette(routes=routes, exception_handlers=dict.fromkeys((HTTPException, UserError, Exception), _error))


class Invocations:
    """Concurrent requests. Short ones are decoded one at a time, and beside them long ones one at a time."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._room = asyncio.Semaphore(MOST_CONCURRENT)
        self._parsing, self._short, self._long = (asyncio.Semaphore(1) for _ in range(3))

    async def answer(self, request: Request) -> Response:
        """Predictions for a request; raises HTTPException or `UserError` for one that is not answered."""
        if self._room.locked():
            reason = f"{MOST_CONCURRENT} requests are being answered: try again in a second"
            raise HTTPException(503, reason, {"Retry-After": "1"})
        async with self._room:
            read = _reader(request)
            body = await _receive(request)
            async with self._parsing:  # thousands of strings take their time, and a hundredfold of their bytes
                content = await asyncio.to_thread(read, body)
                parsed = await asyncio.to_thread(self._service.parse, content.inputs, content.params or {})
            del body, content
            async with self._long if parsed.hypotheses > LONG else self._short:
                return await asyncio.to_thread(self._predict, parsed)

    def _predict(self, parsed: PredictionRequest) -> Response:
        return JSONResponse({"predictions": [row._asdict() for row in self._service.answer(parsed)]})


def read_json(body: bytes) -> Body:
    """The request in a JSON body; raises `UserError` for anything else."""
    try:
        return TypeAdapter(Body).validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    match first["type"], first["loc"]:
        case "json_invalid", _:
            raise UserError(f"{first['msg']}: {SHAPE}")
        case "unexpected_keyword_argument", (name, *_):
            raise UserError(f"there is no {name!r} in a request: {SHAPE}")
        case _, ("inputs", int(number), *_):
            raise UserError(f"source {number + 1} is not a string: {SHAPE}")
        case _, place:
            what = ".".join(map(str, place)) or "the body"
            raise UserError(f"{what}: {first['msg'].lower()}: {SHAPE}")


def read_csv(body: bytes) -> Body:
    """The request in a CSV body, one column under any header; raises `UserError` for anything else."""
    try:
        rows = list(csv.reader(io.StringIO(body.decode("utf-8-sig"), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"the body is not CSV in UTF-8 ({error})") from None
    if not rows:
        raise UserError("the body is empty: CSV has a header and a source in each row below it")
    for number, row in enumerate(rows, start=1):
        if len(row) > 1:
            raise UserError(f"row {number} has {len(row)} columns, but there must be one, the sources")
    return Body([row[0] if row else "" for row in rows[1:]])


READERS = {JSON: read_json, CSV: read_csv}


def _reader(request: Request) -> Callable[[bytes], Body]:
    """The reader for the content type of a request; raises HTTPException for other types."""
    kind, *parameters = (part.strip().lower() for part in request.headers.get("content-type", "").split(";"))
    if kind not in READERS or not set(parameters) <= {"", "charset=utf-8", 'charset="utf-8"'}:
        raise HTTPException(415, f"the content type is {kind!r}, but must be {JSON} or {CSV}, in UTF-8")
    if request.headers.get("content-encoding", "identity") != "identity":
        raise HTTPException(415, "the body is compressed: send it uncompressed")
    return READERS[kind]


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


def serve(address: str, port: int) -> None:
    """Answer with a model until shut down; raises `UserError` if there is no model, or the port is in use.

    address: a folder, or a model URI of MLflow.
    """
    service = load_model(address)
    symbols = [symbol for symbol in service.predictor.model.source_alphabet.symbols if symbol.strip()]
    service.answer(service.parse(symbols[:1], {}))  # compiles now, so that the first request does not wait for it
    config = uvicorn.Config(
        application(service),
        log_level="warning",
        lifespan="off",
        limit_concurrency=CONNECTIONS,
        timeout_graceful_shutdown=10,  # seconds for running requests
    )
    with listener_at(port) as listener:
        print(f"{address} answers at http://{HOST}:{port}/invocations", flush=True)
        uvicorn.Server(config).run([listener])
