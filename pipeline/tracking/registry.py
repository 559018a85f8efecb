"""Models in MLflow: one for each run of a comparison, and the best of them registered.

What a model's folder holds is left to `flavor`, how it is loaded again to `loading`.
"""

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from pipeline.config.params import Params
from pipeline.data.prepared import Prepared
from pipeline.prediction.bundle import write_bundle
from pipeline.runs.groups import RunGroup
from pipeline.tracking.runs import Run

if TYPE_CHECKING:  # importing MLflow takes a second, and may fail like any other use of it
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel

MODEL = "model"  # the name of each: runs:/RUN_ID/model
CHAMPION, PREVIOUS = "champion", "previous"  # aliases: the best of the newest comparison, and the champion before it
REACHED = ("dev_", "test_")  # metrics of a run that its model shows as well


def publish_models(params: Params, children: Mapping[RunGroup, Run], accuracies: Mapping[RunGroup, float]) -> None:
    """Log a model for every run that has none, and register the best; what is there already is not made again.

    accuracies: of the same runs on dev. It comes last, when the runs have their metrics. Raises `UserError` where files
    that a model needs are missing.
    """
    models = {group: _model_of(child) for group, child in children.items()}
    if missing := [group for group, model in models.items() if model is None and children[group].run_id]:
        log = partial(_log, example=Prepared.open().train[0].source)
        for group in missing:
            connection, run_id = children[group].connection, children[group].run_id
            if not connection.is_open:
                return
            with TemporaryDirectory() as place:
                bundle = Path(place) / "bundle"
                write_bundle(bundle, group)
                models[group] = connection.attempt("log the model", partial(log, run_id, bundle))
    best = max(children, key=lambda group: accuracies[group])
    if (model := models[best]) is not None:
        register = partial(_register, params.tracking.model, model, accuracies[best])
        children[best].connection.attempt(f"register the model '{params.tracking.model}'", register)


def _model_of(child: Run) -> "LoggedModel | None":
    """The model that a run has already; None if it has none, or MLflow is away."""

    def find(client: "MlflowClient") -> "LoggedModel | None":
        outputs = client.get_run(child.run_id).outputs
        found = outputs.model_outputs if outputs else []
        return client.get_logged_model(found[0].model_id) if found else None

    return child.connection.attempt("find the model", find) if child.run_id else None


def _log(run_id: str, bundle: Path, client: "MlflowClient", example: str) -> "LoggedModel":
    """Make a model of a bundle, with the tags, parameters and metrics of its run."""
    from mlflow.entities import LoggedModelOutput, Metric
    from mlflow.models import Model

    from pipeline.tracking.flavor import save_model

    run = client.get_run(run_id)
    model = client.create_logged_model(run.info.experiment_id, MODEL, run_id, _own(run.data.tags), run.data.params)
    card = Model(artifact_path=model.artifact_location, run_id=run_id, model_id=model.model_id)
    with TemporaryDirectory() as place:
        save_model(Path(place), bundle, example, card)
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
    tags = {**_own(model.tags), "tandem.dev_accuracy": f"{accuracy:.4f}"}
    new = client.create_model_version(
        name, model.artifact_location, run_id, tags, await_creation_for=0, model_id=model.model_id
    )
    if MLFLOW_MODEL_VERSIONS not in client.get_logged_model(model.model_id).tags:  # a server sets it, a store does not
        link = json.dumps([{"name": name, "version": new.version}])
        client.set_logged_model_tags(model.model_id, {MLFLOW_MODEL_VERSIONS: link})
    if champion is not None:
        client.set_registered_model_alias(name, PREVIOUS, champion)
    client.set_registered_model_alias(name, CHAMPION, new.version)


def _own(tags: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in tags.items() if name.startswith("tandem.")}
