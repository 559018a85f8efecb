"""Checkpoints: the state of a training, kept outside of its results, so that a killed training resumes from there.

Checkpoints belong to the key of a training (its strategy, seed, parameters, data, first weights, code and versions);
another key has other checkpoints. A file is written whole or not at all, its digest says whether it is still whole,
and the one before it is kept as well.
"""

import hashlib
import io
import json
import logging
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from pipeline.writing import write_whole

logger = logging.getLogger(__name__)

CHECKPOINTS, ENDING, LOCK, FINISHED = ".checkpoints", ".checkpoint", "lock", "finished"
HEADER = b"tandem checkpoint 1\n"
KEPT = 2  # the newest, and one to fall back to
OLD = 30 * 24 * 3600  # seconds after which nobody is expected to resume


@dataclass(frozen=True)
class Checkpoint:
    """The state of a training. numbers: whatever JSON can hold. arrays: by name."""

    numbers: Mapping[str, Any]
    arrays: Mapping[str, NDArray[Any]]

    def to_bytes(self) -> bytes:
        """The content of a checkpoint file: a header, the digest of the rest, the rest."""
        file = io.BytesIO()
        numbers = np.frombuffer(json.dumps(self.numbers).encode(), dtype=np.uint8)
        np.savez(file, allow_pickle=False, **{"numbers": numbers, **self.arrays})
        return HEADER + hashlib.sha256(file.getvalue()).hexdigest().encode() + file.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Read the content of a checkpoint file; raises ValueError for anything that `to_bytes` did not write."""
        if not content.startswith(HEADER):
            raise ValueError("it is not a checkpoint of this version")
        digest, payload = content[len(HEADER) :][:64], content[len(HEADER) + 64 :]
        if digest != hashlib.sha256(payload).hexdigest().encode():
            raise ValueError("it is damaged or incomplete")
        with np.load(io.BytesIO(payload), allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        return cls(json.loads(arrays.pop("numbers").tobytes()), arrays)


class Checkpoints:
    """The checkpoints of one training; inside its `with`, no other process runs the same training.

    A disk that cannot be written costs one warning, and training continues.
    """

    def __init__(self, place: Path | None, key: str, title: str, seconds: float) -> None:
        """place: the folder of all trainings; None keeps none. title: in messages. seconds: between two saves."""
        self._folder = place / key if place else None
        self._title, self._seconds = title, seconds
        self._last = time.monotonic()
        self._held = ExitStack()
        self._warned = False

    def __enter__(self) -> Self:
        if (folder := self._folder) is None:
            return self
        try:
            while True:
                folder.mkdir(parents=True, exist_ok=True)
                lock = FileLock(folder / LOCK)
                try:
                    lock.acquire(timeout=1)
                except Timeout:
                    logger.info("%s: another process runs the same training; waiting for it to end", self._title)
                    lock.acquire()
                if (folder / LOCK).exists():  # else it was cleared, and the next process would not see this lock
                    self._held.callback(lock.release)
                    break
                lock.release()
        except OSError as error:
            self._warn(f"no checkpoints can be written to {folder.parent} ({error.strerror or error})")
            self._folder = None
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    def newest(self) -> Checkpoint | None:
        """The newest undamaged checkpoint; a damaged one costs a warning and is removed."""
        for path in reversed(self._files()):
            try:
                return Checkpoint.from_bytes(path.read_bytes())
            except (OSError, ValueError) as error:
                logger.warning("%s cannot be used (%s); the one before it is used instead", path, error)
                with suppress(OSError):
                    path.unlink()
        return None

    def save_if_due(self, make: Callable[[], Checkpoint], number: int) -> None:
        """Write what `make` gives if it is time again. number: higher than that of any earlier checkpoint."""
        if self._folder and time.monotonic() - self._last >= self._seconds:
            self.save(make(), number)

    def save(self, checkpoint: Checkpoint, number: int) -> None:
        """Write a checkpoint now."""
        if not self._folder:
            return
        path = self._folder / f"{number:012}{ENDING}"
        try:
            write_whole(path, checkpoint.to_bytes())
            for old in self._files()[:-KEPT]:
                old.unlink()
        except OSError as error:
            self._warn(f"{path} cannot be written ({error.strerror or error})")
        self._last = time.monotonic()

    def finish(self) -> None:
        """Note that the results of the training are written: `clear` may remove its checkpoints."""
        with suppress(OSError):
            if self._folder:
                (self._folder / FINISHED).touch()

    def _files(self) -> list[Path]:
        return sorted(self._folder.glob(f"*{ENDING}")) if self._folder else []

    def _warn(self, trouble: str) -> None:
        if not self._warned:
            logger.warning("%s. %s continues; if killed, it resumes from an earlier state", trouble, self._title)
        self._warned = True


def clear(place: Path) -> None:
    """Remove the checkpoints of finished trainings, and those from which nothing resumed in a month."""
    for folder in place.glob("*") if place.is_dir() else ():
        try:
            is_old = time.time() - max(path.stat().st_mtime for path in (folder, *folder.iterdir())) > OLD
            if is_old or (folder / FINISHED).exists():
                with FileLock(folder / LOCK, timeout=0):
                    shutil.rmtree(folder)
        except (OSError, Timeout):  # in use, or cleared by another process
            continue
