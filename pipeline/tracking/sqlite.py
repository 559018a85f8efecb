"""A store in a SQLite file: its address, and what changes in it when its project was moved or copied.

MLflow keeps the absolute paths of artifacts in the database and has no call to change them. Making the file is left to
`pipeline.tracking.store`.
"""

import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

ARTIFACTS = "mlartifacts"
DRIVER = "sqlite+pysqlite"  # Python's own, which SQLAlchemy takes anyway
BUSY_SECONDS = 20  # of waiting for a database that another process has locked

# Tables and columns where MLflow keeps addresses that begin with the artifact root of an experiment.
PLACES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


def sqlite_file(uri: str) -> Path | None:
    """The file that the address of a SQLite store names, by the rules of SQLAlchemy; None for any other store."""
    if not uri.startswith("sqlite"):
        return None
    from sqlalchemy.engine import make_url  # here, because most commands do without
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(uri)
    except (ArgumentError, ValueError):  # MLflow says what is wrong with it
        return None
    is_file = url.drivername in ("sqlite", DRIVER) and url.database not in (None, "", ":memory:")
    return Path(str(url.database)) if is_file and not url.host and "uri" not in url.query else None


def sqlite_uri(file: Path) -> str:
    """The address of the SQLite store in a file, whatever characters its path has."""
    from sqlalchemy.engine import URL

    # For `sqlite:///...`, MLflow would make a folder with the name as it is quoted.
    return URL.create(DRIVER, database=str(file)).render_as_string()


def anchored(uri: str, root: Path) -> str:
    """An address of a store, the path of a SQLite file in it taken from `root`; others are returned as they are."""
    if (file := sqlite_file(uri)) is None:
        return uri
    from sqlalchemy.engine import make_url

    return make_url(uri).set(drivername=DRIVER, database=str(root / file)).render_as_string()


def database_of(uri: str) -> Path | None:
    """The file of an existing local store; None for any other."""
    file = sqlite_file(uri)
    return file if file and file.is_file() else None


def opened(database: Path) -> sqlite3.Connection:
    """A connection to an existing file, without transactions of its own; it waits for other processes."""
    address = f"{database.absolute().as_uri()}?mode=rw"
    return sqlite3.connect(address, uri=True, timeout=BUSY_SECONDS, isolation_level=None)


def _local_folder(location: str) -> Path | None:
    parts = urlsplit(location)
    if parts.scheme == "file":
        return Path(url2pathname(parts.path))
    # MLflow decodes paths as well.
    return Path(url2pathname(location)) if not parts.scheme and Path(location).is_absolute() else None


def follow_project(uri: str, experiment: str, root: Path) -> bool:
    """Let MLflow look for artifacts in `root`, where the project is now; whether anything had to be changed.

    Paths are changed if the store is a SQLite file, its experiment keeps artifacts in the folder `mlartifacts` of
    another place, and either the file itself is in `root`, and so was moved or copied with it, or that folder is gone
    while the one in `root` exists. A damaged file stays as it is: MLflow reports what is wrong with it.
    """
    if (database := database_of(uri)) is None:
        return False
    with suppress(sqlite3.Error), closing(opened(database)) as connection:
        row = connection.execute("SELECT artifact_location FROM experiments WHERE name = ?", (experiment,)).fetchone()
        before, now = _local_folder(row[0]) if row else None, root / ARTIFACTS
        if before is None or before.name != ARTIFACTS or before.resolve() == now.resolve():
            return False
        if not database.resolve().is_relative_to(root.resolve()) and (before.exists() or not now.exists()):
            return False
        connection.execute("BEGIN IMMEDIATE")
        for table, column in PLACES:
            for old in {row[0].rstrip("/"), before.as_uri(), str(before)}:
                connection.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?) "  # noqa: S608
                    f"WHERE {column} = ? OR substr({column}, 1, ?) = ?",
                    (now.as_uri(), len(old) + 1, old, len(old) + 1, f"{old}/"),
                )
        connection.execute("COMMIT")
        return True
    return False
