"""Parquet files of predictions: each exists as a whole or not at all, and has metadata that say what it was made of.

A row has a source, and either a prediction with its rank, natural log probability and confidence, or an error that says
why there is none.
"""

import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.errors import UserError

ENDING = ".parquet"
KEY = b"tandem"  # of what is added to a file's metadata
TEMPORARY = ".unfinished"

SCHEMA = pa.schema(
    {
        "source": pa.string(),
        "rank": pa.int32(),
        "prediction": pa.string(),
        "log_probability": pa.float64(),
        "confidence": pa.float64(),
        "error": pa.string(),
    }
)


def read_metadata(path: Path) -> dict[str, Any]:
    """What an existing file was made of, with a `count`; empty if it is missing, or no file of predictions."""
    with suppress(OSError, pa.ArrowException, ValueError, KeyError, TypeError):
        return dict(json.loads(pq.read_metadata(path).metadata[KEY]))
    return {}


def write_file(path: Path, metadata: Mapping[str, Any], batches: Iterable[pa.RecordBatch], workspace: Path) -> None:
    """Write rows to a file that appears under its name when it is whole; raises `UserError` if that is impossible.

    metadata: what it is made of; a `count` of `sources`, and of those that are `unusable`, is added. workspace: a
    folder of the same file system, for unfinished files. Memory is bounded. Several processes may write the same file
    at the same time: that of the last one to finish stays.
    """
    count = Counter(sources=0, unusable=0)
    temporary = workspace / f"{uuid4().hex}{TEMPORARY}"
    try:
        workspace.mkdir(parents=True, exist_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        with pq.ParquetWriter(temporary, SCHEMA, compression="zstd") as file:
            for batch in batches:
                file.write_batch(batch)
                count["sources"] += pc.sum(pc.equal(batch["rank"], 1)).as_py()
                count["unusable"] += len(batch) - batch["error"].null_count
            file.add_key_value_metadata({KEY: json.dumps({**metadata, "count": count}).encode()})
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{path} cannot be written: {error}") from error
    finally:
        temporary.unlink(missing_ok=True)
