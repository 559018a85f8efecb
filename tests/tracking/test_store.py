"""A local store is created and migrated atomically; a damaged one is renamed and replaced."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from mlflow import MlflowClient

from pipeline.tracking.sqlite import sqlite_uri
from pipeline.tracking.store import make_ready
from tests.conftest import PROJECT
from tests.support.stored import OLD_EXPERIMENT, execute, make_older, tables

PATIENCE = 120  # seconds until a process has come to an event


@pytest.fixture
def database(empty_store: Path, tmp_path: Path) -> Path:
    """A whole store without runs."""
    return Path(shutil.copy(empty_store, tmp_path))


def experiments(database: Path) -> set[str]:
    """The names of all experiments, read as MLflow does."""
    return {experiment.name for experiment in MlflowClient(sqlite_uri(database)).search_experiments()}


def warnings(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: ")]


def cut_in_half(database: Path) -> None:
    os.truncate(database, database.stat().st_size // 2)


def damage_a_page(database: Path) -> None:
    content = bytearray(database.read_bytes())
    content[40 * 4096 : 41 * 4096] = b"x" * 4096
    database.write_bytes(content)


def half_migrate(database: Path) -> None:
    database.unlink()
    make_older(database)
    execute(database, "CREATE TABLE _alembic_tmp_experiments (name TEXT)")


DAMAGE: dict[str, Callable[[Path], object]] = {
    "rubbish": lambda database: database.write_bytes(b"rubbish" * 1000),
    "empty": lambda database: os.truncate(database, 0),
    "cut in half": cut_in_half,
    "a damaged page": damage_a_page,
    "half migrated": half_migrate,
    "a table too few": lambda database: execute(database, "DROP TABLE metrics", "DROP TABLE experiment_tags"),
    "of a newer MLflow": lambda database: execute(database, "UPDATE alembic_version SET version_num = 'ffffffffffff'"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_store_that_cannot_be_used_is_kept_aside_and_a_new_one_made(
    damage: str, database: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    DAMAGE[damage](database)
    content = database.read_bytes()
    make_ready(database)
    (warning,) = warnings(capsys)
    assert warning.startswith(f"warning: MLflow cannot use its store {database} (")
    assert "It is kept as mlflow.db.unusable-1" in warning
    assert database.with_name("mlflow.db.unusable-1").read_bytes() == content
    MlflowClient(sqlite_uri(database)).create_experiment("a new one")
    assert experiments(database) >= {"a new one"}


def test_a_second_store_that_is_kept_aside_gets_another_name(tmp_path: Path) -> None:
    database = tmp_path / "mlflow.db"
    for content in (b"the first", b"the second"):
        database.write_bytes(content)
        make_ready(database)
    assert (tmp_path / "mlflow.db.unusable-1").read_bytes() == b"the first"
    assert (tmp_path / "mlflow.db.unusable-2").read_bytes() == b"the second"


def test_a_whole_store_is_left_alone(database: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = database.read_bytes(), database.stat().st_ino
    make_ready(database)
    assert (database.read_bytes(), database.stat().st_ino) == before
    assert warnings(capsys) == []
    assert list(database.parent.iterdir()) == [database]


def test_a_store_of_an_older_mlflow_keeps_its_content(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    database = tmp_path / "mlflow.db"
    make_older(database)
    execute(database, "PRAGMA journal_mode = WAL")
    make_ready(database)
    assert experiments(database) >= {OLD_EXPERIMENT}
    assert warnings(capsys) == []


def test_a_link_to_a_store_stays_a_link(tmp_path: Path) -> None:
    link = tmp_path / "mlflow.db"
    link.symlink_to(tmp_path / "shared.db")
    make_ready(link)
    assert link.is_symlink()
    assert experiments(tmp_path / "shared.db") == {"Default"}


def test_what_is_left_of_a_deleted_store_does_not_reach_the_new_one(tmp_path: Path) -> None:
    database = tmp_path / "mlflow.db"
    for ending in ("-journal", "-wal", "-shm"):
        Path(f"{database}{ending}").write_bytes(b"of the one before")
    make_ready(database)
    assert experiments(database) == {"Default"}
    assert Path(f"{database}.unusable-1-journal").read_bytes() == b"of the one before"


@pytest.mark.slow
def test_a_locked_store_stays(database: Path) -> None:
    with closing(sqlite3.connect(database)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            make_ready(database)
    assert {path.name for path in database.parent.iterdir()} == {"mlflow.db"}


def test_a_folder_in_its_place_stays(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").mkdir()
    with pytest.raises(sqlite3.OperationalError, match="unable to open"):
        make_ready(tmp_path / "mlflow.db")
    assert [path.name for path in tmp_path.iterdir()] == ["mlflow.db"]


@pytest.mark.parametrize("mode", [0o000, 0o444])
def test_a_store_without_permission_stays(mode: int, empty_store: Path) -> None:
    with TemporaryDirectory() as place:  # which another user than root reaches
        database = Path(shutil.copy(empty_store, place))
        if mode == 0o444:  # to be written to, because it has to be migrated
            database.unlink()
            make_older(database)
        database.chmod(mode)
        os.chmod(place, 0o777)  # a draft could be made
        is_root = os.geteuid() == 0
        try:
            if is_root:
                os.seteuid(65534)
            with pytest.raises(PermissionError if mode else sqlite3.OperationalError):
                make_ready(database)
        finally:
            if is_root:
                os.seteuid(0)
        assert not list(Path(place).glob("*unusable*"))


MAKE = (
    "import sys; from pathlib import Path; from pipeline.tracking.store import make_ready\n"
    "make_ready(Path(sys.argv[1]))"
)


@pytest.mark.parametrize("is_migration", [False, True])
def test_a_store_is_whole_whenever_its_making_or_migration_is_killed(is_migration: bool, tmp_path: Path) -> None:
    database, draft = tmp_path / "mlflow.db", tmp_path / "mlflow.db.draft"
    if is_migration:
        make_older(database)
    before = database.read_bytes() if is_migration else None
    for share in (5, 20, 40):
        with subprocess.Popen(
            [sys.executable, "-c", MAKE, str(database)], env=os.environ | {"PYTHONPATH": str(PROJECT)}
        ) as process:
            deadline = time.monotonic() + PATIENCE
            while not (draft.exists() and tables(draft) >= share):
                assert process.poll() is None
                assert time.monotonic() < deadline
            process.kill()
        assert process.returncode == -signal.SIGKILL
        assert (database.read_bytes() if database.exists() else None) == before
    make_ready(database)
    assert experiments(database) >= ({OLD_EXPERIMENT} if is_migration else {"Default"})
    assert {path.name for path in tmp_path.iterdir()} == {"mlflow.db"}
