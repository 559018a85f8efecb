"""Checkpoints: what a training has come to, kept outside of its results, so that one that was killed goes on there.

They belong to a key: the strategy, its seed and parameters, the data, the weights it starts from, the code and the
versions of what computes. Whatever differs in one of these has other checkpoints. A file is written whole or not at
all, and its digest says whether it is still whole; the one before it is kept as well.
"""

import hashlib
import io
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

FOLDER = ".checkpoints"  # in the project
ENDING, LOCK, FINISHED = ".checkpoint", "lock", "finished"
HEADER = b"tandem checkpoint 1\n"
DIGEST = 64  # characters
KEPT = 2  # the newest, and one to fall back to
OLD = 30 * 24 * 3600  # seconds after which nobody is expected to go on


@dataclass(frozen=True)
class Checkpoint:
    """numbers: what JSON can say. arrays: of numbers, by name."""

    numbers: Mapping[str, Any]
    arrays: Mapping[str, NDArray[Any]]

    def to_bytes(self) -> bytes:
        """The content of a file: a header, the digest of the rest, the rest."""
        payload = io.BytesIO()
        numbers = np.frombuffer(json.dumps(self.numbers).encode(), dtype=np.uint8)
        np.savez(payload, allow_pickle=False, **{"numbers": numbers, **self.arrays})
        content = payload.getvalue()
        return HEADER + hashlib.sha256(content).hexdigest().encode() + content

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """The inverse; raises ValueError for anything else."""
        if not content.startswith(HEADER):
            raise ValueError("it is no checkpoint of this version")
        digest, payload = content[len(HEADER) :][:DIGEST], content[len(HEADER) + DIGEST :]
        if digest != hashlib.sha256(payload).hexdigest().encode():
            raise ValueError("it is damaged, or was not written to its end")
        with np.load(io.BytesIO(payload), allow_pickle=False) as found:
            arrays = {name: found[name] for name in found.files}
        return cls(json.loads(arrays.pop("numbers").tobytes()), arrays)


class Checkpoints:
    """The checkpoints of one training; inside of its `with`, no other process is at the same training.

    Trouble with the disk does not raise: it is said once, and the training goes on.
    """

    def __init__(self, place: Path | None, key: str, title: str, seconds: float) -> None:
        """place: of the checkpoints of all trainings; None keeps none. title: this training in a message.

        seconds: from one checkpoint to the next.
        """
        self._folder = place / key if place else None
        self._title = title
        self._seconds = seconds
        self._last = time.monotonic()
        self._held = ExitStack()
        self._warned = False

    def __enter__(self) -> Self:
        if self._folder:
            try:
                self._lock(self._folder)
            except OSError as error:
                self._warn(f"no checkpoints can be kept in {self._folder.parent} ({error.strerror or error})")
                self._folder = None
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    def newest(self) -> Checkpoint | None:
        """What to go on from: the newest checkpoint that is whole. A damaged one is said to be, and removed."""
        for path in reversed(self._files()):
            try:
                return Checkpoint.from_bytes(path.read_bytes())
            except (OSError, ValueError) as error:
                print(f"warning: {path} cannot be used ({error}); what came before it is", file=sys.stderr)
                with suppress(OSError):
                    path.unlink()
        return None

    def save_if_due(self, make: Callable[[], Checkpoint], number: int) -> None:
        """Keep what `make` gives if it is time again. number: higher than that of any checkpoint before."""
        if self._folder and time.monotonic() - self._last >= self._seconds:
            self.save(make(), number)

    def save(self, checkpoint: Checkpoint, number: int) -> None:
        """Keep a checkpoint now."""
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
        """Note that the results of the training stand: its checkpoints can go once DVC has them."""
        if self._folder:
            with suppress(OSError):
                (self._folder / FINISHED).touch()

    def _files(self) -> list[Path]:
        return sorted(self._folder.glob(f"*{ENDING}")) if self._folder else []

    def _lock(self, folder: Path) -> None:
        while True:
            folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(folder / LOCK)
            try:
                lock.acquire(timeout=1)
            except Timeout:
                print(f"{self._title}: another process is at the same training; waiting for it to end", file=sys.stderr)
                lock.acquire()
            if (folder / LOCK).exists():  # else it was cleared meanwhile, and the next one would not see this lock
                self._held.callback(lock.release)
                return
            lock.release()

    def _warn(self, trouble: str) -> None:
        if not self._warned:
            print(f"warning: {trouble}. {self._title} goes on; if killed, it starts from before that", file=sys.stderr)
        self._warned = True


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that whoever looks, also after a crash, finds it whole or as it was before; raises OSError."""
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


def clear(place: Path) -> None:
    """Remove the checkpoints of trainings whose results stand, and those that nobody went on from in a month."""
    for folder in place.glob("*") if place.is_dir() else ():
        try:
            is_old = time.time() - max(path.stat().st_mtime for path in (folder, *folder.iterdir())) > OLD
            if is_old or (folder / FINISHED).exists():
                with FileLock(folder / LOCK, timeout=0):
                    shutil.rmtree(folder)
        except (OSError, Timeout):  # in use, or cleared by another process
            continue
