"""Servers on loopback, each a process of its own."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import PATIENCE, PROJECT


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def running(
    command: Sequence[str],
    folder: Path,
    ping: str,
    environment: Mapping[str, str] | None = None,
    log: Path | None = None,
) -> Iterator[None]:
    """A server that is there when `ping` answers, and is gone afterwards with all that it started.

    log: the file of what it prints, server.log in `folder` where none is given.
    """
    log = log or folder / "server.log"
    with log.open("wb") as file:
        own = {**os.environ, **(environment or {})}
        server = subprocess.Popen(command, cwd=folder, env=own, stdout=file, stderr=file, start_new_session=True)
    try:
        deadline = time.monotonic() + PATIENCE
        while not answers(ping):
            if server.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(log.read_text(encoding="utf-8"))
            time.sleep(0.2)
        yield
    finally:
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGTERM)  # the session that was started for it
            server.wait(timeout=PATIENCE)


@contextmanager
def tandem_ui(folder: Path, log: Path) -> Iterator[str]:
    """The address of the UI of a project, as `tandem ui` opens it; what that prints goes to a file."""
    address = f"http://127.0.0.1:{(port := free_port())}"
    command = [sys.executable, "-m", "pipeline.cli", "ui", "--port", str(port)]
    with running(command, folder, f"{address}/health", {"PYTHONPATH": str(PROJECT)}, log):
        yield address


def mlflow_server(port: int, store: str, artifacts: Path) -> list[str]:
    """The command that starts MLflow's own server."""
    where = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    kept = ["--backend-store-uri", store, "--artifacts-destination", str(artifacts)]
    return [sys.executable, "-m", "mlflow", "server", *where, *kept]


def answers(address: str) -> bool:
    try:
        urllib.request.urlopen(address, timeout=60).close()
    except OSError:
        return False
    return True
