"""The data sets of a run: what they are called, how many rows they have, and a digest of their content."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.data.prepared import DEV, PREPARED, TARGETS, TEST, TRAIN
from pipeline.hashing import DIGITS

BLOCK = 1 << 20

# The file of each, what it is called, its columns, and what it is used for, in MLflow's words where it has some.
SETS = (
    (TRAIN, "training pairs", ("source", "target"), "training"),
    (TARGETS, "unpaired targets", ("target",), "training"),
    (DEV, "dev pairs", ("source", "target"), "validation"),
    (TEST, "test pairs", ("source", "target"), "testing"),
)


@dataclass(frozen=True)
class DataSet:
    """One of them; digest: the same for the same rows."""

    name: str
    path: Path
    columns: tuple[str, ...]
    context: str
    rows: int
    digest: str


def data_sets(folder: Path = PREPARED) -> Iterator[DataSet]:
    """Those in a prepared folder, each read once in blocks."""
    for file, name, columns, context in SETS:
        yield DataSet(name, folder / file, columns, context, *_measure(folder / file))


def _measure(path: Path) -> tuple[int, str]:
    rows, digest = 0, hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            rows += block.count(b"\n")
            digest.update(block)
    return rows, digest.hexdigest()[:DIGITS]
