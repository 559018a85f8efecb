"""The content of a store, for tests."""

import sqlite3
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from alembic import command
from mlflow import MlflowClient
from mlflow.entities import DatasetInput, Run, ViewType
from mlflow.store.db import utils
from mlflow.store.tracking.dbmodels.initial_models import Base
from mlflow.tracking._tracking_service.utils import _artifact_repos_cache

from pipeline.runs.environment import Environment
from pipeline.tracking.client import tracking_uri
from pipeline.tracking.sqlite import sqlite_uri

PARAMETERS = {"tandem.steps": 20, "tandem.schedule": ["paired", "autoencode"], "tandem.start": "scratch"}
DIGEST = "0123456789abcdef"
STRATEGIES = ("supervised", "two_stage", "tandem")  # of a clone
TANDEM_TRAINED = {(strategy, None if strategy == "tandem" else "true"): 2 for strategy in STRATEGIES}
CHILDREN = {(strategy, seed): 1 for strategy in STRATEGIES for seed in ("0", "1")}
OLDER, OLD_EXPERIMENT = "0584bdc529eb", "of an older MLflow"  # a revision of MLflow 2's tables, and what is in them
HERE = Environment("3.11.0", "a machine", 2, {"keras": "3.0"}, "c0ffee", True, "tandem", "loud-gull")


def client(root: Path) -> MlflowClient:
    _artifact_repos_cache.clear()  # a process remembers where a run's artifacts are, which copies have elsewhere
    return MlflowClient(tracking_uri(root))


def runs(root: Path, kind: str = "", deleted: bool = False) -> list[Run]:
    """All runs in the store in use, or those of a kind."""
    store = client(root)
    view = ViewType.DELETED_ONLY if deleted else ViewType.ACTIVE_ONLY
    experiments = [experiment.experiment_id for experiment in store.search_experiments()]
    return list(
        store.search_runs(experiments, f"tags.`tandem.kind` = '{kind}'" if kind else "", view, max_results=1000)
    )


def children(root: Path) -> dict[tuple[str, int], Run]:
    """The runs of comparisons by strategy and seed, of which there is one each."""
    found = runs(root, "run")
    by_name = {(run.data.tags["tandem.strategy"], int(run.data.tags["tandem.seed"])): run for run in found}
    assert len(by_name) == len(found)
    return by_name


def newest_comparison(root: Path) -> Run:
    """Its parent."""
    return max(runs(root, "comparison"), key=lambda found: found.info.start_time)


def newest_children(root: Path) -> Counter[tuple[str, str | None]]:
    """The strategies of the newest comparison's children, and whether they were made from files."""
    parent = newest_comparison(root).info.run_id
    own = [run for run in runs(root, "run") if run.data.tags["mlflow.parentRunId"] == parent]
    return Counter((child.data.tags["tandem.strategy"], child.data.tags.get("tandem.reused")) for child in own)


def points(root: Path, run: Run, name: str) -> list[tuple[int, float]]:
    return [(point.step, point.value) for point in client(root).get_metric_history(run.info.run_id, name)]


def artifacts(root: Path, run: Run, folder: str | None = None) -> set[str]:
    return {file.path for file in client(root).list_artifacts(run.info.run_id, folder)}


def data_sets(run: Run) -> list[DatasetInput]:
    assert run.inputs is not None
    return list(run.inputs.dataset_inputs)


def state(root: Path) -> set[object]:
    """All of a store that publication may change."""

    def of(run: Run) -> Iterable[object]:
        yield run.info.run_id, run.info.status, run.info.end_time
        yield from ((run.info.run_id, name, value) for name, value in run.data.tags.items())
        for name in run.data.metrics:
            yield run.info.run_id, name, tuple(points(root, run, name))

    versions = client(root).search_model_versions()
    return {entry for run in runs(root) for entry in of(run)} | {(found.name, found.version) for found in versions}


def comparisons(folder: Path) -> set[str]:
    """The ids of the parents; each has to be complete, and everything in the folder of the project."""
    parents = runs(folder, "comparison")
    children = runs(folder, "run")
    assert len(runs(folder)) == len(parents) + len(children)
    identities = {(run.data.tags["tandem.comparison"], run.data.tags["tandem.outputs"]) for run in parents}
    assert len(identities) == len(parents)
    for parent in parents:
        own = [child for child in children if child.data.tags["mlflow.parentRunId"] == parent.info.run_id]
        assert (
            Counter((child.data.tags["tandem.strategy"], child.data.tags["tandem.seed"]) for child in own) == CHILDREN
        )
        for complete in (parent, *own):
            assert complete.info.status == "FINISHED"
            assert complete.info.artifact_uri.startswith(f"{(folder / 'mlartifacts').as_uri()}/")
            assert artifacts(folder, complete)
        assert all({"dev_word_accuracy", "test_word_accuracy"} <= set(child.data.metrics) for child in own)
    return {parent.info.run_id for parent in parents}


def assert_no_store_elsewhere(project: Path) -> None:
    """Neither of MLflow's nor for its artifacts, in whatever temporary copies DVC made."""
    found = {path for name in ("mlflow.db", "mlartifacts", "mlruns") for path in project.rglob(name)}
    assert found == {project / "mlflow.db", project / "mlartifacts"}


def execute(database: Path, *statements: str) -> None:
    with closing(sqlite3.connect(database)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def make_older(database: Path) -> None:
    """A store as an older MLflow left it, with one experiment."""
    engine = utils.create_sqlalchemy_engine(sqlite_uri(database))
    Base.metadata.create_all(engine)
    config = utils._get_alembic_config(sqlite_uri(database))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, OLDER)
    engine.dispose()
    columns = "name, artifact_location, lifecycle_stage"
    execute(database, f"INSERT INTO experiments ({columns}) VALUES ('{OLD_EXPERIMENT}', '/a', 'active')")


def tables(database: Path) -> int:
    """How many tables a database has that another process is making."""
    try:
        with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
            return int(connection.execute("SELECT count(*) FROM sqlite_master WHERE type = 'table'").fetchone()[0])
    except sqlite3.OperationalError:
        return 0
