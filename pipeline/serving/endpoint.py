"""The process that answers requests with a model, on this machine only."""

import socket

import uvicorn

from pipeline.errors import UserError
from pipeline.serving.application import application
from pipeline.serving.service import Service
from pipeline.tracking.loading import load_model

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
