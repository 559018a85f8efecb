"""The process that answers requests: how MLflow is called to serve a model."""

import os
import sys
from pathlib import Path
from typing import NoReturn

from pipeline.connection import ENVIRONMENT, project_root, reason_of, tracking_uri, use_project_store
from pipeline.errors import UserError

HOST = "127.0.0.1"


def check_model(address: str) -> None:
    """Raise `UserError` if there is no model at an address that MLflow knows, or in a folder."""
    try:
        use_project_store()
        from mlflow.models import Model

        Model.load(address)
    except Exception as error:
        raise UserError(f"there is no model at {address} to serve ({reason_of(error)})") from error


def serve(address: str, port: int) -> NoReturn:
    """Become the server of a model, in this environment and with the code that the model was logged with."""
    # MLflow calls uvicorn by its name, which an environment that is not activated does not find.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    environment = {**ENVIRONMENT, **os.environ, "MLFLOW_TRACKING_URI": tracking_uri(project_root()), "PATH": path}
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", address, "--env-manager", "local"]
    command += ["--host", HOST, "--port", str(port), "--workers", "1"]
    os.execve(sys.executable, command, environment)  # noqa: S606
