"""Models in MLflow: one for each run of a comparison; and how they are loaded again.

The content of a model's folder is left to `flavor`, which of them is the champion to `registry`.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from ruamel.yaml import YAML

from pipeline.config.params import Params
from pipeline.data.prepared import Prepared
from pipeline.errors import UserError
from pipeline.model.inference import TrainedModel
from pipeline.prediction.bundle import BUNDLE, write_bundle
from pipeline.prediction.predictor import Predictor
from pipeline.prediction.requests import Service
from pipeline.reranking.reranker import Reranker
from pipeline.runs.groups import RunGroup
from pipeline.tracking.client import reason_of, use_project_store
from pipeline.tracking.registry import project_tags, register
from pipeline.tracking.runs import Run

if TYPE_CHECKING:  # importing MLflow takes a second, and may fail like any other use of it
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel

MLMODEL = "MLmodel"  # the file that MLflow knows a model by
MODEL = "model"  # the name of each: runs:/RUN_ID/model
REACHED = ("dev_", "test_")  # metrics of a run that its model shows as well


def publish_models(params: Params, children: Mapping[RunGroup, Run], accuracies: Mapping[RunGroup, float]) -> None:
    """Log a model for every run that has none, and register the best; existing models are not made again.

    accuracies: of the same runs on dev. Call it when the runs have their metrics. Raises `UserError` if files that a
    model needs are missing.
    """
    models = {group: child.model() for group, child in children.items()}
    example = Prepared.open().train[0].source if None in models.values() else ""
    for group, child in children.items():
        if models[group] is None and child.connection.is_open:
            with TemporaryDirectory() as place:
                bundle = Path(place) / "bundle"
                write_bundle(bundle, group)
                models[group] = child.attempt("log the model", partial(_log, child.run_id, bundle, example))
    best = max(children, key=lambda group: accuracies[group])
    if (model := models[best]) is not None:
        register(children[best], params, model, Reranker.load(best.reranker), accuracies[best])


def load_model(uri: str, kind: type[TrainedModel] = TrainedModel) -> Service:
    """Load the model in a folder, or at any address that MLflow knows; raises `UserError` if that is no model.

    The modules of this package read its data; no code of its folder is run.
    """
    with model_bundle(uri) as bundle:
        return Service(Predictor.load(bundle, kind=kind))


@contextmanager
def model_bundle(uri: str) -> Iterator[Path]:
    """Find the bundle of a model; raises as `load_model` does."""
    with TemporaryDirectory() as place:
        try:
            folder = Path(uri)
            if not folder.is_dir():
                if ":" not in uri:
                    raise ValueError("it is neither a folder nor an address such as models:/NAME@ALIAS")
                use_project_store()
                import mlflow

                folder = Path(mlflow.artifacts.download_artifacts(uri, dst_path=place))
            # Not read by MLflow, whose import takes three times as long as a prediction.
            card = YAML(typ="safe", pure=True).load(folder / MLMODEL)
            bundle = folder / card["flavors"]["python_function"]["artifacts"][BUNDLE]["path"]
            if not bundle.resolve().is_relative_to(folder.resolve()):
                raise ValueError(f"its {BUNDLE} lies outside of it")
        except Exception as error:
            raise UserError(f"no model of this project can be loaded from {uri} ({reason_of(error)})") from error
        yield bundle


def _log(run_id: str, bundle: Path, example: str, client: "MlflowClient") -> "LoggedModel":
    """Make a model of a bundle, with the tags, parameters and metrics of its run."""
    from mlflow.entities import LoggedModelOutput
    from mlflow.models import Model

    from pipeline.tracking.flavor import save_model

    run = client.get_run(run_id)
    tags = project_tags(run.data.tags)
    model = client.create_logged_model(run.info.experiment_id, MODEL, run_id, tags, run.data.params)
    card = Model(artifact_path=model.artifact_location, run_id=run_id, model_id=model.model_id)
    with TemporaryDirectory() as place:
        save_model(Path(place), bundle, example, card)
        client.log_model_artifacts(model.model_id, place)
    for name in run.data.metrics:
        if name.startswith(REACHED):
            last = client.get_metric_history(run_id, name)[-1]
            client.log_metric(run_id, name, last.value, last.timestamp, last.step, True, model_id=model.model_id)
    model = client.finalize_logged_model(model.model_id, "READY")
    client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])  # last, so that a run has a whole model
    return model
