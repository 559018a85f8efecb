"""Comparisons of other projects: from their folders, or from MLflow by the id of the parent run."""

import re
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

from pipeline.errors import UserError
from pipeline.evaluation.results import EVALUATION, METRICS, REPORTS, Metrics, load_metrics
from pipeline.tracking.client import import_mlflow, reason_of, use_project_store

IN_RUN = (EVALUATION.relative_to(REPORTS) / METRICS).as_posix()


def load_comparisons(names: Iterable[str]) -> dict[str, Metrics]:
    """The metrics of each comparison, by name. names: folders of projects, or ids of MLflow's parent runs.

    Raises `UserError` for what is neither, for the same comparison twice, and for those of another version.
    """
    comparisons: dict[str, Metrics] = {}
    for name in names:
        if name in comparisons:
            raise UserError(f"{name} is named twice")
        comparisons[name] = load_metrics(Path(name) / EVALUATION) if Path(name).is_dir() else _of_run(name)
    return comparisons


def _of_run(run_id: str) -> Metrics:
    remedy = "name folders of finished projects, or ids of parent runs"
    if not re.fullmatch("[0-9a-f]{32}", run_id):
        raise UserError(f"{run_id} is neither a folder nor the id of a run in MLflow: {remedy}")
    import_mlflow()
    use_project_store()
    from mlflow import MlflowClient, MlflowException

    with TemporaryDirectory() as folder:
        try:
            path = MlflowClient().download_artifacts(run_id, IN_RUN, folder)
        except (MlflowException, OSError) as error:
            raise UserError(f"MLflow has no {IN_RUN} of run {run_id} ({reason_of(error)}): {remedy}") from error
        return load_metrics(Path(path).parent)
