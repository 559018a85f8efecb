"""Prediction of files: shards of sources in, one Parquet file of predictions for each out, on an engine.

A shard is predicted slice by slice. Slices are written as a whole or not at all, and joined when all of a shard exist.
So workers may be lost at any time, a slice may be predicted twice, and the whole may be started again.

A row of a file has a source, and either a prediction with its rank, natural log probability, confidence and the symbols
of the source that training never saw, or an error that says why there is none. On request a prediction has its
alignment: for each of its symbols the places of the source symbols that it came from, counted from 0. The metadata of a
file say what it was made of.
"""

import gc
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import chain, repeat
from pathlib import Path
from types import MappingProxyType
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from pipeline.errors import UserError
from pipeline.hashing import joined
from pipeline.prediction.bundle import bundle_digest
from pipeline.prediction.engines import Engine, Work
from pipeline.prediction.known import Known, known_content
from pipeline.prediction.predictor import PredictionOptions, Predictor
from pipeline.prediction.shards import EXCERPT, PARQUET, SOURCE, Shard, Slice, SourceRow, read, slices
from pipeline.runs.groups import RerankMetadata
from pipeline.text import fault_of, listed

FORMAT = 4  # of the files: those of another one are not taken for finished
WORKSPACE = ".unfinished"  # in the folder of the output: hidden from what reads it
BUNDLE = "bundle"  # in the workspace, where all workers see it
LOCK = ".lock"
OTHERS = {"model": "another model", "known": "other forced answers"}  # settings that have no readable value
KEY = b"tandem"  # of what is added to a file's metadata
ROW_GROUP = 2**16  # rows of a file that is joined

SCHEMA = pa.schema(
    {
        "source": pa.string(),
        "rank": pa.int32(),
        "prediction": pa.string(),
        "log_probability": pa.float64(),
        "confidence": pa.float64(),
        "unknown": pa.string(),
        "error": pa.string(),
    }
)
ALIGNMENT = pa.field("alignment", pa.list_(pa.list_(pa.int32())))


@dataclass(frozen=True)
class Summary:
    """The result of a job: numbers of shards, and of all their sources."""

    shards: int
    finished_before: int
    sources: int
    unusable: int
    unsure: int = 0  # of those that are left empty or copied, see `PredictionOptions`

    def __str__(self) -> str:
        before = f", {self.finished_before:,} of them before" if self.finished_before else ""
        unusable = f", of which {self.unusable:,} could not be used (column error says why)" if self.unusable else ""
        return f"{self.shards:,} shards are predicted{before}: {self.sources:,} sources{unusable}"


def predict_shards(
    shards: Sequence[Shard],
    output: Path,
    bundle: Path,
    options: PredictionOptions,
    engine: Engine,
    column: str | None = None,
    known: Known = MappingProxyType({}),
) -> Summary:
    """Predict with the predictor in a bundle; finished shards are left as they are. known: as a `Predictor` has it.

    Raises `UserError` if a shard cannot be read, an existing file was made with another model or other settings, or
    another process writes to the same folder. Finished slices and shards stay.
    """
    settings = {
        "format": FORMAT,
        "model": bundle_digest(bundle, options.order),
        "column": column or SOURCE,
        **asdict(options),
        "max_symbols": RerankMetadata.load(bundle).max_symbols,
        "known": joined(known_content(known).decode()) if known else None,
    }
    job = Job(output.absolute(), output.absolute() / WORKSPACE, options, settings, dict(known))
    try:
        output.mkdir(parents=True, exist_ok=True)
        with FileLock(output / LOCK, timeout=0):
            pieces = {shard: slices(shard, column) for shard in shards}  # raises before anything is predicted
            unfinished = [shard for shard in shards if not job.is_finished(shard)]
            wanted = [piece for shard in unfinished for piece in pieces[shard]]
            tasks = [piece for piece in wanted if not job.has_part(piece)]
            missing = Counter(piece.shard for piece in wanted)
            if tasks:
                shutil.copytree(bundle, job.workspace / BUNDLE, dirs_exist_ok=True)
            for piece in chain(set(wanted) - set(tasks), engine(job.start, tasks) if tasks else ()):
                missing[piece.shard] -= 1
                if not missing[piece.shard]:
                    job.join(pieces[piece.shard])
            shutil.rmtree(job.workspace, ignore_errors=True)
    except Timeout:
        raise UserError(f"another process is predicting into {output}: wait for it, or give another --output") from None
    except OSError as error:
        raise UserError(f"{output} cannot be written to: {error}") from error
    count = sum((Counter(read_metadata(job.file(shard))["count"]) for shard in shards), Counter[str]())
    return Summary(len(shards), len(shards) - len(unfinished), count["sources"], count["unusable"], count["unsure"])


@dataclass(frozen=True)
class Job:
    """What all slices have in common.

    workspace: the folder of unfinished files, and of the parts of unfinished shards. settings: model and options, as
    files of predictions tell them.
    """

    output: Path
    workspace: Path
    options: PredictionOptions
    settings: Mapping[str, Any]
    known: Known

    def start(self) -> Work:
        """In a worker: load the predictor once, and give the function that predicts slices with it."""
        predictor = replace(Predictor.load(self.workspace / BUNDLE, self.options.order), known=self.known)
        # Rows come by the thousand, and for each thousand Python would go through all that a model is made of.
        gc.collect()
        gc.freeze()
        return partial(self.predict, predictor)

    def predict(self, predictor: Predictor, piece: Slice) -> Slice:
        """Write the part of a slice; it is returned when that exists."""
        batches = (_predicted(rows, predictor, self.options) for rows in read(piece))
        write_file(
            self._part(piece), self._metadata(piece.shard, piece), batches, self.workspace, _schema(self.options)
        )
        return piece

    def has_part(self, piece: Slice) -> bool:
        """Whether a slice has been predicted."""
        return read_metadata(self._part(piece)).items() >= self._metadata(piece.shard, piece).items()

    def join(self, pieces: Sequence[Slice]) -> None:
        """Make the file of a shard from the parts of all its slices, and remove those."""
        parts = [self._part(piece) for piece in pieces]
        batches = (batch for part in parts for batch in pq.ParquetFile(part).iter_batches(ROW_GROUP))
        shard = pieces[0].shard
        write_file(self.file(shard), self._metadata(shard), batches, self.workspace, _schema(self.options))
        shutil.rmtree(parts[0].parent, ignore_errors=True)

    def is_finished(self, shard: Shard) -> bool:
        """Whether the file of a shard is up to date; raises `UserError` for an existing one that would be lost."""
        path = self.file(shard)
        if not path.exists():
            return False
        existing = read_metadata(path)
        if not existing:
            raise UserError(f"{path} exists and is no file of predictions: give another --output, or delete it")
        if differences := ", ".join(
            OTHERS[name] if name in OTHERS else f"{name} {existing['settings'].get(name)}, not {value}"
            for name, value in self.settings.items()
            if existing["settings"].get(name) != value
        ):
            raise UserError(f"{path} was made with {differences}: give another --output, or delete it")
        return bool(existing["input"] == self._metadata(shard)["input"])

    def file(self, shard: Shard) -> Path:
        """The file of a shard."""
        return self.output / f"{shard.name}{PARQUET}"

    def _part(self, piece: Slice) -> Path:
        return self.workspace / f"{piece.shard.name}{PARQUET}" / f"{piece.start:015}{PARQUET}"

    def _metadata(self, shard: Shard, piece: Slice | None = None) -> dict[str, Any]:
        which = {"slice": [piece.start, piece.stop]} if piece else {}
        return {"settings": self.settings, "input": {"bytes": shard.bytes, "modified": shard.modified, **which}}


def _predicted(rows: Sequence[SourceRow], predictor: Predictor, options: PredictionOptions) -> pa.RecordBatch:
    """The rows of the output, in order: the best predictions for each source, or its fault."""
    faults = [fault or fault_of(source or "") or predictor.length_fault(source or "") for source, fault in rows]
    usable = [row.source or "" for row, fault in zip(rows, faults, strict=True) if fault is None]
    unknown = map(listed, predictor.unknown_symbols(usable))
    predictions = predictor.predict(usable, options)
    alignments = predictor.alignments(usable, predictions) if options.alignment else repeat(repeat(None))
    ranked = zip(predictions, alignments, unknown, strict=False)
    written: list[dict[str, Any]] = []
    for (source, _), fault in zip(rows, faults, strict=True):
        if fault is None:
            row, aligned, symbols = next(ranked)
            for rank, (one, pieces) in enumerate(zip(row, aligned, strict=False), start=1):
                numbers = {"log_probability": one.log_probability, "confidence": one.confidence}
                about = {**numbers, "unknown": symbols, "alignment": pieces}
                written.append({"source": source, "rank": rank, "prediction": one.text, **about})
        else:
            excerpt = f"{source[:EXCERPT]}…" if source and len(source) > EXCERPT else source
            written.append({"source": excerpt, "rank": 1, "error": fault})
    return pa.RecordBatch.from_pylist(written, _schema(options))


def _schema(options: PredictionOptions) -> pa.Schema:
    return SCHEMA.append(ALIGNMENT) if options.alignment else SCHEMA


def read_metadata(path: Path) -> dict[str, Any]:
    """What an existing file was made of, with a `count`; empty if it is missing, or no file of predictions."""
    with suppress(OSError, pa.ArrowException, ValueError, KeyError, TypeError):
        return dict(json.loads(pq.read_metadata(path).metadata[KEY]))
    return {}


def write_file(
    path: Path,
    metadata: Mapping[str, Any],
    batches: Iterable[pa.RecordBatch],
    workspace: Path,
    schema: pa.Schema = SCHEMA,
) -> None:
    """Write rows to a file that appears under its name when it is whole; raises `UserError` if that is impossible.

    metadata: what it is made of; a `count` of `sources`, and of those that are `unusable` or `unsure`, is added.
    workspace: a folder of the same file system, for unfinished files. Memory is bounded. Several processes may write
    the same file at the same time: that of the last one to finish stays.
    """
    count = Counter(sources=0, unusable=0, unsure=0)
    at_least = metadata.get("settings", {}).get("at_least", 0.0)
    temporary = workspace / uuid4().hex
    try:
        workspace.mkdir(parents=True, exist_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        with pq.ParquetWriter(temporary, schema, compression="zstd") as file:
            for batch in batches:
                file.write_batch(batch)
                first = pc.equal(batch["rank"], 1)
                count["sources"] += pc.sum(first).as_py()
                count["unsure"] += pc.sum(pc.and_(first, pc.less(batch["confidence"], at_least))).as_py() or 0
                count["unusable"] += len(batch) - batch["error"].null_count
            file.add_key_value_metadata({KEY: json.dumps({**metadata, "count": count}).encode()})
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{path} cannot be written: {error}") from error
    finally:
        temporary.unlink(missing_ok=True)
