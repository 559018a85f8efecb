"""`tandem ui` as a process: how it begins, and that nothing is left of it in the end."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psutil
import pytest

from tests.conftest import PROJECT
from tests.support.servers import answers, free_port

pytestmark = pytest.mark.slow

PATIENCE = 120  # seconds until a process has ended


@contextmanager
def opened(port: int) -> Iterator["subprocess.Popen[str]"]:
    """The command in the current folder, in a process group of its own."""
    with subprocess.Popen(
        [sys.executable, "-m", "pipeline.cli", "ui", "--port", str(port)],
        env=os.environ | {"PYTHONPATH": str(PROJECT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        yield process
        process.kill()


@pytest.fixture
def project(project: Path) -> Path:
    shutil.copy(PROJECT / "params.yaml", project)
    return project


@pytest.mark.parametrize("way", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_signal_ends_all_of_it(way: signal.Signals, project: Path) -> None:
    port = free_port()
    with opened(port) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith(f"open http://127.0.0.1:{port}/#/experiments")
        assert answers(f"http://127.0.0.1:{port}/")  # at once
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        process.send_signal(way)
        _, error = process.communicate(timeout=PATIENCE)
        assert process.returncode in (-way, 128 + way)
        assert "Traceback" not in error
        assert psutil.wait_procs(family, PATIENCE)[1] == []
    with closing(socket.socket()) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))  # it is free again


def test_a_port_in_use_is_an_error_that_names_no_page(project: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other, opened(port := other.getsockname()[1]) as process:
        output, error = process.communicate(timeout=PATIENCE)
        assert (process.returncode, output) == (2, "")
        assert error == f"error: port {port} cannot be used (Address already in use): give another --port\n"


def test_a_store_that_cannot_be_opened_is_an_error_that_names_no_page(project: Path) -> None:
    (project / "mlflow.db").unlink()
    (project / "mlflow.db").mkdir()
    with opened(free_port()) as process:
        output, error = process.communicate(timeout=PATIENCE)
        assert (process.returncode, output) == (2, "")
        assert error.startswith("error: MLflow's user interface cannot start (OperationalError: unable to open")
