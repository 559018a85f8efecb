"""A local store of MLflow, a SQLite file: created and migrated atomically, and renamed if it is damaged.

MLflow makes and migrates tables one by one, and cannot open a file in which it was killed meanwhile. Here it works on a
draft beside the file, which then takes its place.
"""

import logging
import shutil
import sqlite3
import textwrap
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.tracking.sqlite import ARTIFACTS, opened, sqlite_file, sqlite_uri

if TYPE_CHECKING:  # importing MLflow, and SQLAlchemy with it, takes a second, and may fail like any other use of it
    from sqlalchemy.engine import Engine

log = logging.getLogger(__name__)

ENDINGS = ("", "-journal", "-wal", "-shm")  # of a database and of what SQLite keeps beside it
# SQLite's codes for content that it, or MLflow, cannot work with; all others are about locks, permissions and the disk.
ABOUT_CONTENT = {
    sqlite3.SQLITE_ERROR,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_CONSTRAINT,
    sqlite3.SQLITE_SCHEMA,
    sqlite3.SQLITE_MISMATCH,
}


def make_ready(database: Path) -> None:
    """Make the store if it is missing, and migrate one of an older MLflow.

    A damaged store, or one of a newer MLflow, is renamed, with a warning, and a new one made. One that is locked or
    cannot be read or written stays as it is: raises OSError, or what SQLite and MLflow raise. Only one process at a
    time may call this.
    """
    database = database.resolve()  # a link stays one
    try:
        if database.exists():
            if not _is_current(database):
                _migrate(database)
            return
    except Exception as error:
        if not _is_about_content(error):
            raise
        reason = textwrap.shorten(str(getattr(error, "orig", error)), 200, placeholder=" ...")
        log.warning(
            "MLflow cannot use its store %s (%s). It is kept as %s; a new store takes its place, and `dvc repro` or "
            "`tandem publish` fills it from models/ and reports/.",
            *(database, reason, _keep_aside(database)),
        )
    else:
        _keep_aside(database)  # SQLite would apply a journal that is left of a deleted database to the new one
    database.parent.mkdir(parents=True, exist_ok=True)
    draft = _new_draft(database)
    _upgrade(draft)
    _replace(database, draft)


def _is_current(database: Path) -> bool:
    """Whether the store has all that this MLflow looks for; raises sqlite3.DatabaseError if the file is damaged."""
    from mlflow.store.db import utils

    if database.is_file() and database.stat().st_size == 0:
        raise sqlite3.DatabaseError("the file is empty")
    with closing(opened(database)) as connection:
        (problem,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if problem != "ok":
        raise sqlite3.DatabaseError(problem)
    with _engine(database) as engine:
        is_newest = utils._get_schema_version(engine) == utils._get_latest_schema_revision()
        return is_newest and utils._all_tables_exist(engine)


def _migrate(database: Path) -> None:
    database.open("r+b").close()  # a store that must not be written to is not replaced either
    draft = _new_draft(database)
    with closing(opened(database)) as original, closing(opened(database)) as reader:
        original.execute("PRAGMA journal_mode = DELETE")  # SQLite would apply a write-ahead log to the draft
        original.execute("BEGIN IMMEDIATE")  # nobody else writes until the draft is in place
        with closing(sqlite3.connect(draft)) as copy:
            reader.backup(copy)
        _upgrade(draft)
        shutil.copymode(database, draft)
        _replace(database, draft)


def _upgrade(draft: Path) -> None:
    """Give a database, which may be new, the tables that this MLflow wants and its default experiment."""
    from mlflow.store.db import utils
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    with _engine(draft) as engine:
        (utils._upgrade_db if utils._all_tables_exist(engine) else utils._initialize_tables)(engine)
        if not utils._all_tables_exist(engine):
            raise sqlite3.DatabaseError("tables are missing")
    # Left to itself, MLflow gives the default experiment a place below the current folder, and fails if its name has a
    # quotation mark.
    SqlAlchemyStore(sqlite_uri(draft), (draft.parent / ARTIFACTS).as_uri()).engine.dispose()


@contextmanager
def _engine(database: Path) -> Iterator["Engine"]:
    from mlflow.store.db.utils import create_sqlalchemy_engine

    engine = create_sqlalchemy_engine(sqlite_uri(database))
    try:
        yield engine
    finally:
        engine.dispose()


def _new_draft(database: Path) -> Path:
    """The place of a draft, where nothing is left of a process that was killed."""
    draft = database.with_name(f"{database.name}.draft")
    for path in _with_journals(draft):
        path.unlink(missing_ok=True)
    return draft


def _replace(database: Path, draft: Path) -> None:
    """Put a draft in place, and close this process's connections to the file before."""
    from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore as Registry
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore as Tracking

    draft.replace(database)
    for uri, engine in [*Tracking._engine_map.items(), *Registry._engine_map.items()]:
        if (file := sqlite_file(uri)) and file.resolve() == database:
            engine.dispose()


def _keep_aside(database: Path) -> str:
    """Rename a database, and what is beside it, to a name that is free; returns that name."""
    names = (database.with_name(f"{database.name}.unusable-{number}") for number in count(1))
    aside = next(name for name in names if not any(path.exists() for path in _with_journals(name)))
    for path, kept in zip(_with_journals(database), _with_journals(aside), strict=True):
        if path.exists():
            path.rename(kept)
    return aside.name


def _with_journals(database: Path) -> list[Path]:
    return [database.with_name(f"{database.name}{ending}") for ending in ENDINGS]


def _is_about_content(error: Exception) -> bool:
    """Whether an error tells that the content of a database is not what it should be."""
    from alembic.util import CommandError
    from sqlalchemy.exc import SQLAlchemyError

    cause = getattr(error, "orig", None) or error
    if isinstance(cause, sqlite3.Error):
        return getattr(cause, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF in ABOUT_CONTENT
    # Alembic raises ValueError and KeyError for constraints and columns that are missing.
    return isinstance(cause, CommandError | SQLAlchemyError | ValueError | KeyError)
