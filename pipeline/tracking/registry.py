"""The registry of models: which version is the champion, on what it was measured, and the way back.

A new version becomes the champion unless it is worse on the same dev items: that is, unless the interval of their
paired difference lies below zero. Both sides are cross-validated, so that no reranker is asked about items that it was
fitted on. If the dev items are others, or the champion does not say which it gets right, the two cannot be compared,
and the new version becomes the champion: it knows the data of now, some of whose dev items the old one may have been
trained on.
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from pipeline.config.params import Params
from pipeline.errors import UserError
from pipeline.prediction.bundle import RERANKER
from pipeline.reranking.reranker import Reranker
from pipeline.tracking.client import alone, project_root, reason_of, use_project_store
from pipeline.tracking.runs import Run

if TYPE_CHECKING:  # importing MLflow takes a second, and may fail like any other use of it
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel

CHAMPION, PREVIOUS = "champion", "previous"  # aliases: the version in use, and the one before it
UNDECIDED = "tandem.undecided"  # tag of a version of which it is not known yet whether it becomes the champion

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Registered:
    """A version that may become the champion, and the champion of now, if any."""

    version: str
    champion: str | None


@dataclass(frozen=True)
class Verdict:
    """Whether a version becomes the champion, and why, in a sentence."""

    is_champion: bool
    reason: str


def register(run: Run, params: Params, model: "LoggedModel", reranker: Reranker, accuracy: float) -> None:
    """Register the model of a run and make it the champion, unless the champion is better; only once for a run.

    reranker: of the run. accuracy: of the run on dev. If this is interrupted, the next call completes it.
    """
    name = params.tracking.model
    attempt = partial(run.attempt, f"register the model '{name}'")
    how = " in cross-validation" if reranker.accuracy is not None else ""
    of_items = f" of {len(reranker.right):,} dev items ({reranker.items[:8]})" if reranker.right else " on dev"
    measured = f"{accuracy:.1%} right{how}{of_items}, data {model.tags.get('tandem.data', 'unknown')}"
    registered = attempt(partial(_register, name, model, accuracy, measured))
    if registered is None:
        return
    verdict = _judge(name, registered, reranker, params)
    if attempt(partial(_decide, name, registered, verdict, f"{measured}. {verdict.reason}")):
        show = log.info if verdict.is_champion else log.warning
        show("version %s of model '%s': %s", registered.version, name, verdict.reason)


def rollback(name: str) -> str:
    """Make the previous champion the champion again, and the champion the previous one; returns what was done.

    Raises `UserError` if there is none, or MLflow fails.
    """
    try:
        use_project_store()
        from mlflow import MlflowClient

        client = MlflowClient()
        with alone(project_root(), "mlflow"):
            if not client.search_registered_models(f"name = '{name}'"):
                raise UserError(f"no model '{name}' is registered: run `dvc repro`")
            aliases = client.get_registered_model(name).aliases
            before, previous = aliases.get(CHAMPION), aliases.get(PREVIOUS)
            if previous in (None, before):
                raise UserError(
                    f"model '{name}' has no other version under the alias {PREVIOUS}: nothing to go back to"
                )
            client.set_registered_model_alias(name, CHAMPION, previous)
            if before is not None:
                client.set_registered_model_alias(name, PREVIOUS, before)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"MLflow cannot change the champion ({reason_of(error)})") from error
    return f"models:/{name}@{CHAMPION} is version {previous} again, {PREVIOUS} is version {before or previous}"


def _register(
    name: str, model: "LoggedModel", accuracy: float, measured: str, client: "MlflowClient"
) -> Registered | None:
    """Register a model if it is not; None if it was decided already, so that aliases stay where they were put."""
    from mlflow.utils.mlflow_tags import MLFLOW_MODEL_VERSIONS

    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name)
    champion = client.get_registered_model(name).aliases.get(CHAMPION)
    run_id, model_id = model.source_run_id, model.model_id
    versions = client.search_model_versions(f"name = '{name}' and run_id = '{run_id}'")
    if versions and UNDECIDED not in versions[0].tags and champion is not None:
        return None
    tags = {**project_tags(model.tags), "tandem.dev_accuracy": f"{accuracy:.4f}", UNDECIDED: "true"}
    new: dict[str, Any] = {"description": measured, "await_creation_for": 0, "model_id": model_id}
    own = versions[0] if versions else client.create_model_version(name, model.artifact_location, run_id, tags, **new)
    if MLFLOW_MODEL_VERSIONS not in client.get_logged_model(model_id).tags:  # a server sets it, a store does not
        link = json.dumps([{"name": name, "version": own.version}])
        client.set_logged_model_tags(model_id, {MLFLOW_MODEL_VERSIONS: link})
    return Registered(own.version, champion)


def _judge(name: str, registered: Registered, reranker: Reranker, params: Params) -> Verdict:
    from pipeline.tracking.models import model_bundle  # here, because it imports this module

    champion = registered.champion
    if champion in (None, registered.version):
        return Verdict(True, "It is the champion: there was none before")
    try:
        with model_bundle(f"models:/{name}/{champion}") as bundle:
            other = Reranker.load(bundle / RERANKER)
    except UserError as error:
        return Verdict(True, f"It is the champion: version {champion} cannot be compared with it ({error})")
    if not reranker.right or (other.items, len(other.right)) != (reranker.items, len(reranker.right)):
        return Verdict(True, f"It is the champion: version {champion} was measured on other dev items")
    from pipeline.evaluation.metrics import Resampling

    right, others = ([[int(one) for one in side.right]] for side in (reranker, other))
    gain = Resampling(**asdict(params.evaluate)).paired_difference(right, others)
    points = f"{100 * gain.difference:+.1f} points ({100 * gain.low:+.1f} to {100 * gain.high:+.1f})"
    compared = f"against version {champion} on the same dev items it has {points}"
    if gain.high < 0:
        return Verdict(False, f"It is not the champion: {compared}, so version {champion} stays")
    return Verdict(True, f"It is the champion: {compared}")


def _decide(name: str, registered: Registered, verdict: Verdict, description: str, client: "MlflowClient") -> bool:
    """Write down a verdict and move the aliases; each step can be repeated."""
    version, champion = registered.version, registered.champion
    if champion != version:
        client.update_model_version(name, version, description)
        if verdict.is_champion:
            if champion is not None:
                client.set_registered_model_alias(name, PREVIOUS, champion)
            client.set_registered_model_alias(name, CHAMPION, version)
    client.delete_model_version_tag(name, version, UNDECIDED)
    return champion != version


def project_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Those of the tags of a run that are of this project."""
    return {name: value for name, value in tags.items() if name.startswith("tandem.")}
