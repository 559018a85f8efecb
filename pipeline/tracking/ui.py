"""MLflow's user interface for the store in use, in this process: it ends with it, however that ends."""

import os
import warnings
from pathlib import Path

from pipeline.config.params import Order, Params
from pipeline.errors import UserError
from pipeline.evaluation.results import RERANKED
from pipeline.listener import HOST, listener_at, serve_until_ended
from pipeline.tracking.client import SEED, STRATEGY, import_mlflow, reason_of, runs_page, tracking_uri


def serve_ui(root: Path, params: Params, port: int) -> None:
    """Show the project's runs until shut down; raises `UserError` if the port is in use, or MLflow fails."""
    on_dev = RERANKED if params.decoding.order is Order.RERANK else "dev_best_word_accuracy"
    columns = {f"tags.`{STRATEGY}`": 150, f"tags.`{SEED}`": 110}
    columns |= {f"metrics.`{name}`": 180 for name in (on_dev, "test_word_accuracy")}
    with listener_at(port) as listener:
        try:
            page = runs_page(root, params.tracking.experiment, columns)
            import_mlflow()
            from mlflow.store.tracking import DEFAULT_ARTIFACTS_URI

            # What `mlflow ui` passes to the server that it starts.
            store = dict.fromkeys(("_MLFLOW_SERVER_FILE_STORE", "_MLFLOW_SERVER_REGISTRY_STORE"), tracking_uri(root))
            os.environ |= store | {"_MLFLOW_SERVER_ARTIFACT_ROOT": DEFAULT_ARTIFACTS_URI, "_MLFLOW_SGI_NAME": "uvicorn"}
            os.environ |= {"_MLFLOW_SERVER_SERVE_ARTIFACTS": "true"}
            with warnings.catch_warnings(action="ignore"):  # MLflow's own use of deprecated functions
                from mlflow.server.fastapi_app import app
        except Exception as error:
            raise UserError(f"MLflow's user interface cannot start ({reason_of(error)})") from error
        print(f"open http://{HOST}:{port}{page}", flush=True)
        serve_until_ended(app, listener)
