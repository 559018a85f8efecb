"""Ray, for as long as a sweep or a prediction takes: a cluster that is there, or this machine's cores alone."""

import logging
import os
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
from joblib import cpu_count

from pipeline.errors import UserError

# By default Ray sends usage statistics, handles Ctrl-C itself, shows its own progress even if that is turned off, and
# writes its own files for each result.
RAY_ENVIRONMENT = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
}


@contextmanager
def connected(address: str | None, objects: int | None = None) -> Iterator[Any]:
    """Start or join Ray for the body of a `with`, quietly; raises `UserError` if that fails.

    address: of a cluster. objects: bytes that Ray on this machine sets aside for passing values around.
    """
    if address and address != "auto":
        _check(address)
    for name, value in RAY_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    own: dict[str, Any] = {"address": "local", "num_cpus": cpu_count(), "object_store_memory": objects}
    own |= {"include_dashboard": False, "_node_ip_address": "127.0.0.1"}
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning, module="ray")
        try:
            ray.init(**({"address": address} if address else own), **quiet)
        except (ConnectionError, ValueError, RuntimeError) as error:
            where = f"there is no Ray cluster at {address}" if address else "Ray cannot be started"
            raise UserError(f"{where}: {error}") from error
        logging.getLogger("ray").setLevel(logging.CRITICAL)
        try:
            yield ray
        finally:
            ray.shutdown()


def _check(address: str) -> None:
    """Fail at once if there is no cluster: Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except (OSError, ValueError, OverflowError) as error:
        remedy = "give HOST:PORT of its head, or auto on one of its nodes"
        raise UserError(f"there is no Ray cluster at {address} ({error}): {remedy}") from error
