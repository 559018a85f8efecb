"""Files written so that nothing is lost: whole or not at all, and what stood there before kept as a numbered copy."""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from itertools import count
from pathlib import Path

EARLIER = Path("data/earlier")  # outside of data/raw, which DVC watches


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that every reader, also after a crash, finds it whole or as it was before; raises OSError."""
    new = path.with_name(f".{path.name}.new")
    try:
        with new.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    finally:
        with suppress(OSError):
            new.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextmanager
def write_together(files: Mapping[Path, bytes]) -> Iterator[None]:
    """Write several files; if one cannot be written, or the block raises, all are again what they were.

    Raises OSError. Folders are made.
    """
    with ExitStack() as undo:
        for path, content in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            undo.callback(_restore, path, path.read_bytes() if path.exists() else None)
            write_whole(path, content)
        yield
        undo.pop_all()


def keep_copy(path: Path) -> Path:
    """Copy a file to `EARLIER` under its name and the first free number; returns the copy's path."""
    EARLIER.mkdir(parents=True, exist_ok=True)
    numbered = (EARLIER / f"{path.stem}-{number}{path.suffix}" for number in count(1))
    free = next(name for name in numbered if not name.exists())
    shutil.copyfile(path, free)
    return free


def _restore(path: Path, content: bytes | None) -> None:
    if content is None:
        path.unlink(missing_ok=True)
    else:
        write_whole(path, content)
