"""A store in a SQLite file, read without MLflow, whose import alone takes seconds: what it holds of a comparison.

And such a store after its project was moved or copied: MLflow keeps the absolute paths of artifacts in it.
"""

import sqlite3
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from pipeline.tracking.tags import COMPARISON, StoredRun

SCHEME = "sqlite:///"
ARTIFACTS = "mlartifacts"
PATIENCE = 20  # seconds that another process may hold the file

# What begins with the artifact root of an experiment, in the table and column where MLflow keeps it.
PLACES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


def database_of(uri: str) -> Path | None:
    """The file of a local store that is there; None for any other."""
    path = Path(uri.removeprefix(SCHEME))
    return path if uri.startswith(SCHEME) and path.is_file() else None


def stored_runs(database: Path, experiment: str, key: str) -> list[StoredRun]:
    """The runs of a comparison that are not deleted, the oldest first; raises sqlite3.Error for what is no store.

    Artifacts count as there if the run's folder of them is.
    """
    with _opened(database, "ro") as connection:
        rows = connection.execute(
            "SELECT run_uuid, status, artifact_uri FROM runs JOIN experiments USING (experiment_id) JOIN tags "
            "USING (run_uuid) WHERE experiments.name = ? AND experiments.lifecycle_stage = 'active' "
            "AND runs.lifecycle_stage = 'active' AND tags.key = ? AND tags.value = ? ORDER BY start_time",
            (experiment, COMPARISON, key),
        ).fetchall()
        tags: dict[str, dict[str, str]] = defaultdict(dict)
        for run_id, name, value in connection.execute(
            "SELECT run_uuid, key, value FROM tags WHERE run_uuid IN "
            "(SELECT run_uuid FROM tags WHERE key = ? AND value = ?)",
            (COMPARISON, key),
        ):
            tags[run_id][name] = value
    return [StoredRun(run_id, status, tags[run_id], _is_there(place)) for run_id, status, place in rows]


def follow_project(database: Path, experiment: str, root: Path) -> bool:
    """Let artifacts be looked for in `root`, where the project is now; whether anything had to be changed for that.

    It had to if the experiment keeps them in the folder `mlartifacts` of another place, which went away while the one
    in `root` is there; and always if the store itself is in `root`, and so was moved or copied with it.
    """
    with _opened(database, "ro") as connection:
        found = connection.execute("SELECT artifact_location FROM experiments WHERE name = ?", (experiment,)).fetchone()
    before, now = _local(found[0]) if found else None, root / ARTIFACTS
    if before is None or before.name != ARTIFACTS or before.resolve() == now.resolve():
        return False
    if not database.resolve().is_relative_to(root.resolve()) and (before.exists() or not now.exists()):
        return False
    with _opened(database, "rw") as connection:
        connection.execute("BEGIN IMMEDIATE")
        for table, column in PLACES:
            for old, new in ((before.as_uri(), now.as_uri()), (str(before), str(now))):
                connection.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?) "  # noqa: S608
                    f"WHERE {column} = ? OR substr({column}, 1, ?) = ?",
                    (new, len(old) + 1, old, len(old) + 1, f"{old}/"),
                )
        connection.execute("COMMIT")
    return True


@contextmanager
def _opened(database: Path, mode: str) -> Iterator[sqlite3.Connection]:
    address = f"{database.absolute().as_uri()}?mode={mode}"
    with closing(sqlite3.connect(address, uri=True, timeout=PATIENCE, isolation_level=None)) as connection:
        yield connection


def _local(location: str) -> Path | None:
    """The folder of an artifact location, None if it is none of this machine."""
    parts = urlsplit(location)
    if parts.scheme == "file":
        return Path(url2pathname(parts.path))
    return Path(location) if not parts.scheme and Path(location).is_absolute() else None


def _is_there(location: str) -> bool:
    folder = _local(location)
    return folder is None or folder.is_dir()
