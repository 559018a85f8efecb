"""A model over HTTP: the ASGI application that says what a request must be and answers it.

It speaks the protocol of MLflow's own server, JSON or CSV sent to /invocations, and is stricter: whatever cannot be
used, a misspelt name too, is a status from 400 to 499 with a sentence, and never a guess. Bodies, the time that they
take to come, requests in hand and decodings at a time are bounded, and so is memory.
"""

import asyncio
import csv
import io
import json
import socket
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
from starlette.responses import Response
from starlette.routing import Route

from pipeline.config.params import STRICT
from pipeline.errors import UserError
from pipeline.prediction.requests import Question, Service
from pipeline.tracking.models import load_model

LARGEST_BODY = 8 * 2**20  # bytes
BODY_SECONDS = 30  # that a body may take to come
MOST_IN_HAND = 64  # requests; who comes on top is told to come again
LONG = 2_000  # beginnings: what asks for more waits in a line of its own, about a quarter of a second's work
LONGEST_REASON = 500  # characters

SHAPE = 'a request is {"inputs": [strings], "params": {"n_best": 1, ...}}, params may be left out'
JSON, CSV = "application/json", "text/csv"


@dataclass(frozen=True, config=STRICT)
class Body:
    """A request as JSON."""

    inputs: Annotated[list[str], FailFast()]
    params: dict[str, Any] | None = None


_BODY = TypeAdapter(Body)


def application(service: Service) -> Starlette:
    """An application that answers with a model."""
    invocations = Invocations(service)
    routes = [Route("/invocations", invocations.answer, methods=["POST"])]
    routes += [Route(path, _ping) for path in ("/ping", "/health")]
    return Starlette(routes=routes, exception_handlers={HTTPException: _refused, Exception: _failed})


class Invocations:
    """The requests in hand. Short ones are decoded one at a time, and beside them long ones one at a time."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._in_hand = 0
        self._reading, self._short, self._long = (asyncio.Semaphore(1) for _ in range(3))

    async def answer(self, request: Request) -> Response:
        """Predictions for a request; raises HTTPException for one that is not answered."""
        if self._in_hand >= MOST_IN_HAND:
            reason = f"{MOST_IN_HAND} requests are in hand already: come again in a second"
            raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, reason, {"Retry-After": "1"})
        self._in_hand += 1
        try:
            read = _reader(request)
            body = await _received(request)
            async with self._reading:  # thousands of strings take their time, and a hundredfold of their bytes
                question = await asyncio.to_thread(self._question, read, body)
            del body
            async with self._long if question.beginnings > LONG else self._short:
                content = await asyncio.to_thread(self._content, question)
            return Response(content, media_type=JSON)
        except UserError as error:
            raise HTTPException(HTTPStatus.BAD_REQUEST, str(error)) from None
        finally:
            self._in_hand -= 1

    def _question(self, read: Callable[[bytes], Body], body: bytes) -> Question:
        given = read(body)
        return self._service.question(given.inputs, given.params or {})

    def _content(self, question: Question) -> bytes:
        rows = [row._asdict() for row in self._service.answer(question)]
        return json.dumps({"predictions": rows}, allow_nan=False).encode()


def read_json(body: bytes) -> Body:
    """The request in a JSON body; raises `UserError` for anything else."""
    try:
        return _BODY.validate_json(body)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)[0]
    match found["type"], found["loc"]:
        case "json_invalid", _:
            raise UserError(f"{found['msg']}: {SHAPE}")
        case "unexpected_keyword_argument", (name, *_):
            raise UserError(f"there is no {name!r} in a request: {SHAPE}")
        case _, ("inputs", int(number), *_):
            raise UserError(f"source {number + 1} is no string: {SHAPE}")
        case _, place:
            what = ".".join(map(str, place)) or "the body"
            raise UserError(f"{what}: {found['msg'].lower()}: {SHAPE}")


def read_csv(body: bytes) -> Body:
    """The request in a CSV body, one column under whatever header; raises `UserError` for anything else."""
    try:
        rows = list(csv.reader(io.StringIO(body.decode("utf-8-sig"), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"the body is not CSV in UTF-8 ({error})") from None
    if not rows:
        raise UserError("the body is empty: CSV has a header and a source in each row below it")
    for number, row in enumerate(rows, start=1):
        if len(row) > 1:
            raise UserError(f"row {number} has {len(row)} columns, but sources are the only one")
    return Body([row[0] if row else "" for row in rows[1:]])


READERS = {JSON: read_json, CSV: read_csv}


def _reader(request: Request) -> Callable[[bytes], Body]:
    """What reads a body of this type."""
    kind, *parameters = (part.strip().lower() for part in request.headers.get("content-type", "").split(";"))
    if kind not in READERS or not set(parameters) <= {"", "charset=utf-8", 'charset="utf-8"'}:
        reason = f"the content type is {kind!r}, but must be {JSON} or {CSV}, in UTF-8"
        raise HTTPException(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, reason)
    if request.headers.get("content-encoding", "identity") != "identity":
        raise HTTPException(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "the body is compressed: send it as it is")
    return READERS[kind]


async def _received(request: Request) -> bytes:
    """The body. What is too large is received to its end, since who still sends does not listen, and not kept."""
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for part in request.stream():
                size += len(part)
                if size <= LARGEST_BODY:
                    parts.append(part)
                else:
                    parts.clear()
    except TimeoutError:
        reason = f"the body took more than {BODY_SECONDS} seconds to come"
        raise HTTPException(HTTPStatus.REQUEST_TIMEOUT, reason, {"Connection": "close"}) from None
    except ClientDisconnect:
        raise HTTPException(HTTPStatus.BAD_REQUEST, "the body broke off") from None
    if size > LARGEST_BODY:
        reason = f"the body has more than {LARGEST_BODY:,} bytes: send the strings in several requests"
        raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, reason)
    return b"".join(parts)


async def _ping(request: Request) -> Response:
    return Response("\n", media_type=JSON)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 -- of no other it is told
    return _told(error.status_code, str(error.detail), error.headers)


async def _failed(request: Request, error: Exception) -> Response:
    return _told(HTTPStatus.INTERNAL_SERVER_ERROR, "the server failed: its log says why")


def _told(status: int, reason: str, headers: Any = None) -> Response:
    """A reason in the form of MLflow's server."""
    content = {"error_code": HTTPStatus(status).name, "message": textwrap.shorten(reason, LONGEST_REASON)}
    return Response(json.dumps(content), status, headers, JSON)


HOST = "127.0.0.1"
CONNECTIONS = 1_000  # at a time
GRACE = 10  # seconds that requests in hand have when the server is told to end


def serve(address: str, port: int) -> None:
    """Answer with a model until told to end; raises `UserError` if there is none there, or the port is in use.

    address: as MLflow knows it, or a folder.
    """
    service = load_model(address)
    warm_up(service)
    listener = listener_at(port)
    print(f"{address} answers at http://{HOST}:{port}/invocations", flush=True)
    config = uvicorn.Config(
        application(service),
        log_level="warning",
        lifespan="off",
        limit_concurrency=CONNECTIONS,
        timeout_graceful_shutdown=GRACE,
    )
    with listener:
        uvicorn.Server(config).run([listener])


def listener_at(port: int) -> socket.socket:
    """A socket of this machine alone; raises `UserError` if the port is in use."""
    # Where the protocol is not named asyncio does not set TCP_NODELAY, and small answers wait for 40 ms.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
        listener.listen(CONNECTIONS)
    except OSError as error:
        listener.close()
        raise UserError(f"nothing can be served on port {port} ({error.strerror}): give another --port") from error
    return listener


def warm_up(service: Service) -> None:
    """Let the first request not wait for what is compiled once."""
    symbols = [symbol for symbol in service.bundle.model.source_alphabet.symbols if symbol.strip()]
    service.answer(service.question(symbols[:1], {}))
