"""Models in MLflow: one for each run of a comparison, the best of them registered; and how they are loaded again.

The content of a model's folder is left to `flavor`.
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from pipeline.config.params import Order, Params
from pipeline.data.prepared import Prepared
from pipeline.errors import UserError
from pipeline.prediction.bundle import Bundle, write_bundle
from pipeline.prediction.portable import Recipe, _recipe
from pipeline.prediction.requests import Service
from pipeline.runs.groups import RerankMetadata, RunGroup
from pipeline.tracking.client import reason_of, use_project_store
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
    models = {group: _model_of(child) for group, child in children.items()}
    if missing := [group for group, model in models.items() if model is None and children[group].run_id]:
        prepared = Prepared.open()
        log = partial(_log, params=params, example=prepared.train[0].source)
        for group in missing:
            connection, run_id = children[group].connection, children[group].run_id
            if not connection.is_open:
                return
            with TemporaryDirectory() as place:
                bundle = Path(place) / "bundle"
                write_bundle(bundle, group, prepared)
                models[group] = connection.attempt("log the model", partial(log, run_id, bundle))
    best = max(children, key=lambda group: accuracies[group])
    if (model := models[best]) is not None:
        register = partial(_register, params.tracking.model, model, accuracies[best])
        children[best].connection.attempt(f"register the model '{params.tracking.model}'", register)


def load_model(uri: str) -> Service:
    """Load the model in a folder, or at any address that MLflow knows; raises `UserError` if that is no model.

    The modules of this package read its data; no code of its folder is run.
    """
    with model_bundle(uri) as (bundle, max_symbols):
        return Service(Bundle.load(bundle), max_symbols)


@contextmanager
def model_bundle(uri: str) -> Iterator[tuple[Path, int]]:
    """Find the bundle of a model, and how many symbols a source may have; raises as `load_model` does."""
    with TemporaryDirectory() as place:
        try:
            use_project_store()
            import mlflow

            from pipeline.tracking.flavor import BUNDLE, MAX_SYMBOLS

            folder = Path(uri) if Path(uri).is_dir() else Path(mlflow.artifacts.download_artifacts(uri, dst_path=place))
            flavor = mlflow.models.Model.load(folder).flavors["python_function"]
            bundle = folder / flavor["artifacts"][BUNDLE]["path"]
            if not bundle.resolve().is_relative_to(folder.resolve()):
                raise ValueError(f"its {BUNDLE} lies outside of it")
            max_symbols = int(flavor["config"][MAX_SYMBOLS])
        except Exception as error:
            raise UserError(f"no model of this project can be loaded from {uri} ({reason_of(error)})") from error
        yield bundle, max_symbols


def pack_model(folder: Path, uri: str, order: Order | None, beam: int | None, n_best: int) -> Recipe:
    """Copy a logged model into a new folder; raises `UserError` where there is none."""

    with model_bundle(uri) as (bundle, max_symbols):
        shutil.copytree(bundle, folder)
    decoding = RerankMetadata.load(folder).decoding
    if order is Order.RERANK and decoding.order is not Order.RERANK:
        raise UserError(f"{uri} has no reranker, its order is {decoding.order}: ask for greedy or beam")
    return _recipe(order or decoding.order, beam or decoding.beam_width, n_best, max_symbols)


def _model_of(child: Run) -> "LoggedModel | None":
    """The existing model of a run; None if it has none, or without MLflow."""

    def find(client: "MlflowClient") -> "LoggedModel | None":
        outputs = client.get_run(child.run_id).outputs
        existing = outputs.model_outputs if outputs else []
        return client.get_logged_model(existing[0].model_id) if existing else None

    return child.connection.attempt("find the model", find) if child.run_id else None


def _log(run_id: str, bundle: Path, client: "MlflowClient", params: Params, example: str) -> "LoggedModel":
    """Make a model of a bundle, with the tags, parameters and metrics of its run."""
    from mlflow.entities import LoggedModelOutput, Metric
    from mlflow.models import Model

    from pipeline.tracking.flavor import save_model

    run = client.get_run(run_id)
    tags = _project_tags(run.data.tags)
    model = client.create_logged_model(run.info.experiment_id, MODEL, run_id, tags, run.data.params)
    card = Model(artifact_path=model.artifact_location, run_id=run_id, model_id=model.model_id)
    with TemporaryDirectory() as place:
        save_model(Path(place), bundle, params.prepare.max_symbols, example, card)
        client.log_model_artifacts(model.model_id, place)
    for name in run.data.metrics:
        if name.startswith(REACHED):
            last = client.get_metric_history(run_id, name)[-1]
            of_model = Metric(name, last.value, last.timestamp, last.step, model_id=model.model_id, run_id=run_id)
            client.log_batch(run_id, metrics=[of_model], synchronous=True)
    model = client.finalize_logged_model(model.model_id, "READY")
    client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])  # last, so that a run has a whole model
    return model


def _register(name: str, model: "LoggedModel", accuracy: float, client: "MlflowClient") -> None:
    """Make a model the champion; if it is registered already, aliases stay where they were put."""
    from mlflow.exceptions import MlflowException
    from mlflow.utils.mlflow_tags import MLFLOW_MODEL_VERSIONS

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
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
