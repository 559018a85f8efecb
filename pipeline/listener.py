"""Servers of the command line: the port on this machine at which they listen, and their limits."""

import socket
from typing import Any

import uvicorn

from pipeline.errors import UserError

HOST = "127.0.0.1"
CONNECTIONS = 1_000  # at a time


def listener_at(port: int) -> socket.socket:
    """A socket that only this machine reaches; raises `UserError` if the port is in use."""
    # Where the protocol is not named asyncio does not set TCP_NODELAY, and small answers wait for 40 ms.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
        listener.listen(CONNECTIONS)
    except OSError as error:
        listener.close()
        raise UserError(f"port {port} cannot be used ({error.strerror}): give another --port") from error
    return listener


def serve_until_ended(application: Any, listener: socket.socket) -> None:
    """Answer requests to an ASGI application until SIGTERM or Ctrl-C."""
    config = uvicorn.Config(
        application,
        log_level="warning",
        lifespan="off",
        limit_concurrency=CONNECTIONS,
        timeout_graceful_shutdown=10,  # seconds for running requests
    )
    uvicorn.Server(config).run([listener])
