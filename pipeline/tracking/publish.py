"""Publication: MLflow gets what it lacks of the comparison in the files. Where it lacks nothing, that is found quickly.

What there is to publish says `manifest`; how it is added, `completion`.
"""

import contextlib
import sqlite3

from pipeline.config.params import Params
from pipeline.data.prepared import Prepared
from pipeline.evaluation.results import EvaluatedRuns
from pipeline.keys import comparison_key, decisive_parameters
from pipeline.runs.environment import Environment
from pipeline.tracking.client import alone, find_artifacts, project_root, tracking_uri
from pipeline.tracking.manifest import Manifest
from pipeline.tracking.runs import Comparison
from pipeline.tracking.sqlite import database_of, stored_runs


def publish(params: Params) -> bool:
    """Complete the comparison of the files in MLflow; whether all of it is there now.

    Raises `UserError` if the files do not belong to these parameters, or not to each other. Trouble with MLflow is a
    warning.
    """
    outcome, data = EvaluatedRuns.load(), Prepared.open().digest
    outcome.check(decisive_parameters(params), data)
    manifest = Manifest(params, outcome)
    if _is_held_locally(manifest):
        return True
    with alone(project_root(), "publish"):  # two that look for what is missing at once would both add it
        comparison = Comparison.find(params, data, Environment.here(), comparison_key(params, data))
        connection = comparison.connection
        if not manifest.is_held_by(connection.runs()) and connection.is_open:
            from pipeline.tracking.completion import complete  # here, because it takes seconds

            comparison.reopen(params)
            complete(comparison, manifest)
        return connection.is_open


def _is_held_locally(manifest: Manifest) -> bool:
    """Whether a store in a SQLite file holds all of it; no where that cannot be told."""
    root, experiment = project_root(), manifest.params.tracking.experiment
    find_artifacts(root, experiment)
    if database := database_of(tracking_uri(root)):
        with contextlib.suppress(sqlite3.Error, ValueError):
            return manifest.is_held_by(
                stored_runs(database, experiment, comparison_key(manifest.params, manifest.outcome.data))
            )
    return False
