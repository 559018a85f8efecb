"""Models in MLflow: one for each run of a comparison, the best of them registered; and how they are loaded again.

The content of a model's folder is left to `flavor`.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from pipeline.config.params import Params
from pipeline.data.prepared import Prepared
from pipeline.errors import UserError
from pipeline.prediction.bundle import write_bundle
from pipeline.prediction.requests import Service
from pipeline.runs.groups import RunGroup
from pipeline.tracking.client import import_mlflow, reason_of, use_project_store
from pipeline.tracking.runs import Run

if TYPE_CHECKING:  # importing MLflow takes a second, and may fail like any other use of it
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel

MODEL = "model"  # the name of each: runs:/RUN_ID/model
CHAMPION, PREVIOUS = "champion", "previous"  # aliases: the best of the newest comparison, and the champion before it
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
        register = partial(_register, params.tracking.model, model, accuracies[best])
        children[best].attempt(f"register the model '{params.tracking.model}'", register)


def load_model(uri: str) -> Service:
    """Load the model in a folder, or at any address that MLflow knows; raises `UserError` if that is no model.

    The modules of this package read its data; no code of its folder is run.
    """
    from pipeline.prediction.predictor import Predictor  # tensorflow, which logging models does without

    with model_bundle(uri) as bundle:
        return Service(Predictor.load(bundle))


@contextmanager
def model_bundle(uri: str) -> Iterator[Path]:
    """Find the bundle of a model; raises as `load_model` does."""
    with TemporaryDirectory() as place:
        try:
            import_mlflow()
            import mlflow

            from pipeline.tracking.flavor import BUNDLE

            folder = Path(uri)
            if not folder.is_dir():
                use_project_store()
                folder = Path(mlflow.artifacts.download_artifacts(uri, dst_path=place))
            flavor = mlflow.models.Model.load(folder).flavors["python_function"]
            bundle = folder / flavor["artifacts"][BUNDLE]["path"]
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
    tags = _project_tags(run.data.tags)
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


def _register(name: str, model: "LoggedModel", accuracy: float, client: "MlflowClient") -> None:
    """Make a model the champion; if it is registered already, aliases stay where they were put."""
    from mlflow.utils.mlflow_tags import MLFLOW_MODEL_VERSIONS

    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name)
    champion = client.get_registered_model(name).aliases.get(CHAMPION)
    run_id = model.source_run_id
    if versions := client.search_model_versions(f"name = '{name}' and run_id = '{run_id}'"):
        if champion is None:
            client.set_registered_model_alias(name, CHAMPION, versions[0].version)
        return
    tags = {**_project_tags(model.tags), "tandem.dev_accuracy": f"{accuracy:.4f}"}
    new = client.create_model_version(
        name, model.artifact_location, run_id, tags, await_creation_for=0, model_id=model.model_id
    )
    if MLFLOW_MODEL_VERSIONS not in client.get_logged_model(model.model_id).tags:  # a server sets it, a store does not
        link = json.dumps([{"name": name, "version": new.version}])
        client.set_logged_model_tags(model.model_id, {MLFLOW_MODEL_VERSIONS: link})
    if champion is not None:
        client.set_registered_model_alias(name, PREVIOUS, champion)
    client.set_registered_model_alias(name, CHAMPION, new.version)


def _project_tags(tags: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in tags.items() if name.startswith("tandem.")}
