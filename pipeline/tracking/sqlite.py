"""A store in a SQLite file after its project was moved or copied.

MLflow keeps the absolute paths of artifacts in the database and has no call to change them.
"""

import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

SCHEME = "sqlite:///"
ARTIFACTS = "mlartifacts"

# Tables and columns where MLflow keeps addresses that begin with the artifact root of an experiment.
PLACES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


def database_of(uri: str) -> Path | None:
    """The file of an existing local store; None for any other."""
    path = Path(uri.removeprefix(SCHEME))
    return path if uri.startswith(SCHEME) and path.is_file() else None


def _local_folder(location: str) -> Path | None:
    parts = urlsplit(location)
    if parts.scheme == "file":
        return Path(url2pathname(parts.path))
    return Path(location) if not parts.scheme and Path(location).is_absolute() else None


def follow_project(uri: str, experiment: str, root: Path) -> bool:
    """Let MLflow look for artifacts in `root`, where the project is now; whether anything had to be changed.

    Paths are changed if the store is a SQLite file, its experiment keeps artifacts in the folder `mlartifacts` of
    another place, and either the file itself is in `root`, and so was moved or copied with it, or that folder is gone
    while the one in `root` exists. A damaged file stays as it is: MLflow reports what is wrong with it.
    """
    if (database := database_of(uri)) is None:
        return False
    address = f"{database.absolute().as_uri()}?mode=rw"
    with (
        suppress(sqlite3.Error),
        closing(sqlite3.connect(address, uri=True, timeout=20, isolation_level=None)) as connection,
    ):
        row = connection.execute("SELECT artifact_location FROM experiments WHERE name = ?", (experiment,)).fetchone()
        before, now = _local_folder(row[0]) if row else None, root / ARTIFACTS
        if before is None or before.name != ARTIFACTS or before.resolve() == now.resolve():
            return False
        if not database.resolve().is_relative_to(root.resolve()) and (before.exists() or not now.exists()):
            return False
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
    return False
