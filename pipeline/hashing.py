"""Digests of files and texts: equal for equal content."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from pipeline.errors import UserError

DIGITS = 16  # of a digest, hexadecimal


def file_digest(path: Path) -> str:
    """The SHA-256 of a file's content, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_of(files: Iterable[Path]) -> str:
    """A digest of several files, names and content, `DIGITS` long; raises `UserError` if one is missing."""
    whole = hashlib.sha256()
    for path in files:
        try:
            content = file_digest(path)
        except OSError as error:
            raise UserError(f"{path} cannot be read ({error.strerror}): run `dvc repro`") from error
        whole.update(f"{path.as_posix()}\0{content}\0".encode())
    return whole.hexdigest()[:DIGITS]


def digest_within(folder: Path, files: Iterable[Path]) -> str:
    """A digest of files below a folder, names relative to it and content, `DIGITS` long; raises OSError."""
    return joined(*(f"{path.relative_to(folder).as_posix()} {file_digest(path)}" for path in files))


def joined(*parts: str) -> str:
    """A digest of several texts in their order, `DIGITS` long."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:DIGITS]
