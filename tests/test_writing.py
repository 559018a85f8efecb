"""Files that are written whole, together or not at all."""

from pathlib import Path

import pytest

from pipeline.writing import keep_copy, write_together


def test_files_are_as_before_if_one_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "old").write_text("before")
    (tmp_path / "folder").mkdir()
    files = {tmp_path / "old": b"after", tmp_path / "new": b"after", tmp_path / "folder": b"after"}
    with pytest.raises(OSError, match="folder"), write_together(files):
        pass
    assert {path.name for path in tmp_path.iterdir()} == {"old", "folder"}
    assert (tmp_path / "old").read_text() == "before"


def test_files_are_as_before_if_what_follows_fails(tmp_path: Path) -> None:
    (tmp_path / "old").write_text("before")
    with pytest.raises(ValueError, match="later"), write_together({tmp_path / "old": b"after"}):
        raise ValueError("later")
    assert (tmp_path / "old").read_text() == "before"


def test_copies_are_numbered_and_no_copy_is_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for text in ("one", "two"):
        Path("pairs.tsv").write_text(text)
        keep_copy(Path("pairs.tsv"))
    copies = {path.as_posix(): path.read_text() for path in Path("data").rglob("*.tsv")}
    assert copies == {"data/earlier/pairs-1.tsv": "one", "data/earlier/pairs-2.tsv": "two"}
