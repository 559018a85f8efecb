"""Parquet files of predictions: each exists as a whole or not at all, and has a label that says what it was made of.

A row has a source, and either a prediction with its rank, natural log probability and confidence, or an error that says
why there is none.
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import UserError

ENDING = ".parquet"
LABEL = b"tandem"  # among the metadata of a file
ROW_GROUP = 2**16  # rows
TEMPORARY = ".unfinished"

SCHEMA = pa.schema(
    [
        ("source", pa.string()),
        ("rank", pa.int32()),
        ("prediction", pa.string()),
        ("log_probability", pa.float64()),
        ("confidence", pa.float64()),
        ("error", pa.string()),
    ]
)


class PredictedRow(NamedTuple):
    """A row of a file, as `SCHEMA`."""

    source: str | None
    rank: int
    prediction: str | None
    log_probability: float | None
    confidence: float | None
    error: str | None


@dataclass(frozen=True)
class Count:
    """Sources of a file, and how many of them could not be used."""

    sources: int = 0
    unusable: int = 0

    def __add__(self, other: "Count") -> "Count":
        return Count(self.sources + other.sources, self.unusable + other.unusable)


@dataclass(frozen=True)
class Label:
    """What a file is made of. settings: model and options. input: the state of the shard, and which part of it."""

    settings: Mapping[str, Any]
    input: Mapping[str, Any]
    count: Count = Count()

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """The label of an existing file; None if that is missing, or no file of predictions."""
        with suppress(OSError, pa.ArrowException, ValueError, KeyError, TypeError):
            content = json.loads((pq.read_metadata(path).metadata or {})[LABEL])
            return cls(content["settings"], content["input"], Count(**content["count"]))
        return None

    def is_of(self, path: Path) -> bool:
        """Whether an existing file was made of the same."""
        other = Label.read(path)
        return other is not None and (other.settings, other.input) == (self.settings, self.input)


class Writer:
    """An open file: rows go to it in row groups, so that memory is bounded."""

    def __init__(self, file: pq.ParquetWriter) -> None:
        self._file = file
        self._tables: list[pa.Table] = []
        self.count = Count()

    def add(self, rows: Iterable[PredictedRow], count: Count) -> None:
        """Add rows for so many sources."""
        columns = list(zip(*rows, strict=True)) or [()] * len(SCHEMA)
        self._tables.append(pa.table(dict(zip(SCHEMA.names, columns, strict=True)), schema=SCHEMA))
        self.count += count
        if sum(table.num_rows for table in self._tables) >= ROW_GROUP:
            self.flush()

    def add_file(self, path: Path, count: Count) -> None:
        """Add all rows of another file of predictions."""
        with pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                self._file.write_table(file.read_row_group(group))
        self.count += count

    def flush(self) -> None:
        """Write what has been added as a row group."""
        if self._tables:
            self._file.write_table(pa.concat_tables(self._tables), row_group_size=2 * ROW_GROUP)
            self._tables = []


def remove_unfinished(workspace: Path) -> None:
    """Remove files that killed processes have left; no other may be writing."""
    for path in workspace.glob(f"*{TEMPORARY}"):
        path.unlink(missing_ok=True)


@contextmanager
def writing(path: Path, label: Label, workspace: Path) -> Iterator[Writer]:
    """A file that appears under its name when it is whole; raises `UserError` if it cannot be written.

    workspace: a folder of the same file system, for unfinished files. Several processes may write the same file at the
    same time: that of the last one to finish stays.
    """
    temporary = workspace / f"{uuid4().hex}{TEMPORARY}"
    try:
        workspace.mkdir(parents=True, exist_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        with pq.ParquetWriter(temporary, SCHEMA, compression="zstd") as file:
            writer = Writer(file)
            yield writer
            writer.flush()
            content = {"settings": label.settings, "input": label.input, "count": asdict(writer.count)}
            file.add_key_value_metadata({LABEL: json.dumps(content).encode()})
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error}") from error
    finally:
        temporary.unlink(missing_ok=True)
