"""Batch prediction on Ray: how fast beside a search alone in one process, and whether its memory grows.

    python -m benchmarks.batch --out batch.json         # in a project, after `dvc repro`; needs the extra `cluster`

makes two million sources out of those that models were trained on, writes them to one Parquet file, and lets `tandem
predict --engine ray` predict for all of them on this machine's cores. Meanwhile it looks at the workers' memory.
What the search of the same model does in one process with one thread is measured before and after.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.timing import DoRound, available_cores, in_turn, timed
from pipeline.data.alphabet import join, split
from pipeline.data.prepared import Prepared
from pipeline.data.store import StringStore
from pipeline.errors import UserError, explain_user_errors
from pipeline.prediction.files import WORKSPACE
from pipeline.prediction.shards import SLICE_ROWS, SOURCE
from pipeline.report.tables import markdown_table
from pipeline.runs.folders import run_folder

COMPARED = 10_000  # sources that the search alone decodes in a round
ROUNDS = 2
ROWS_AT_ONCE = 2**16
CHANGED = 2  # symbols of each source
LOOK_SECONDS = 0.5
SHARES = (0.1, 0.5, 1.0)  # of the slices, up to which the peak of memory is told


@dataclass(frozen=True)
class Look:
    """The share of slices that are done, bytes of the largest worker, and seconds of processor of all so far."""

    share: float
    largest: int
    cpu_seconds: float


@dataclass
class Watched:
    """The workers of a job: seconds of processor by process, and per look what `Look` has."""

    cpu_seconds: dict[int, float] = field(default_factory=dict)
    looks: list[Look] = field(default_factory=list)
    busy: list[float] = field(default_factory=list)  # share of all cores in use, whoever uses them

    def look(self, root: psutil.Process, share: float) -> None:
        """Look at what a process has started."""
        largest = 0
        for process in root.children(recursive=True):
            try:
                if "_run" in process.name() or "ray::" in next(iter(process.cmdline()), ""):
                    largest = max(largest, process.memory_info().rss)
                    self.cpu_seconds[process.pid] = sum(process.cpu_times()[:2])
            except psutil.Error:
                continue
        self.looks.append(Look(share, largest, sum(self.cpu_seconds.values())))
        self.busy.append(psutil.cpu_percent() / 100)

    def steady_rate(self, rows: int) -> float:
        """Rows per second of a core, from the first finished slice to the last one seen: without what starts up."""
        last = self.looks[-1]
        first = next((look for look in self.looks if look.share), last)
        return rows * (last.share - first.share) / max(last.cpu_seconds - first.cpu_seconds, 1e-9)

    def peaks(self) -> dict[float, int]:
        """The largest memory of a worker until so much was done, in bytes."""
        return {limit: max((look.largest for look in self.looks if look.share <= limit), default=0) for limit in SHARES}


def different_sources(prepared: Prepared, count: int, seed: int = 0) -> Iterator[list[str]]:
    """Sources of the training pairs with some symbols changed, many at a time."""
    rng = np.random.default_rng(seed)
    alphabet = prepared.source_alphabet
    known = [split(example.source, alphabet.kind) for example in prepared.train]
    for start in range(0, count, ROWS_AT_ONCE):
        part = []
        for row in rng.integers(len(known), size=min(ROWS_AT_ONCE, count - start)).tolist():
            symbols = list(known[row])
            for place in rng.integers(len(symbols), size=CHANGED).tolist():
                symbols[place] = alphabet.symbols[rng.integers(len(alphabet.symbols))]
            part.append(join(symbols, alphabet.kind))
        yield part


def searching(folder: Path, sources: Sequence[str], beam: int | None) -> DoRound:
    """Rounds of what `benchmarks.speed` measures of decoding: the search over ids, nothing around it."""
    from benchmarks.ours import our_decoder
    from pipeline.data.alphabet import load_alphabets
    from pipeline.model.network import load_network

    store = StringStore.of(sources, load_alphabets(folder)[0])
    write = our_decoder(load_network(folder), beam)

    def do_round() -> dict[str, float]:
        write(store)
        return {"strings": len(store)}

    do_round()
    return partial(timed, do_round)


def predicting(shard: Path, output: Path, options: argparse.Namespace) -> tuple[float, Watched]:
    """Seconds of the whole command, from nothing, and what was seen of its workers."""
    command = [sys.executable, "-m", "pipeline.cli", "predict", "--input", str(shard), "--output", str(output)]
    command += ["--engine", "ray", "--strategy", options.strategy, "--seed", str(options.seed)]
    command += ["--order", "beam" if options.beam else "greedy", "--beam", str(options.beam or 1)]
    slices = -(-options.rows // SLICE_ROWS)
    watched, started = Watched(), time.perf_counter()
    job = subprocess.Popen(command)  # noqa: S603 - our own command
    while job.poll() is None:
        parts = len(list((output / WORKSPACE).glob(f"{shard.stem}.parquet/*.parquet")))
        if not (output / shard.name).exists():  # afterwards parts go away
            watched.look(psutil.Process(job.pid), parts / slices)
        time.sleep(LOOK_SECONDS)
    if job.returncode:
        raise UserError(f"{' '.join(command)} failed with exit code {job.returncode}")
    return time.perf_counter() - started, watched


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """All figures."""
    prepared, folder = Prepared.open(), run_folder(options.strategy, options.seed)
    few = next(different_sources(prepared, COMPARED))
    alone = partial(searching, folder, few, options.beam)
    with TemporaryDirectory(dir=options.place) as place:
        shard, output = Path(place) / "sources.parquet", Path(place) / "predictions"
        schema = pa.schema([(SOURCE, pa.string())])
        with pq.ParquetWriter(shard, schema) as file:
            for part in different_sources(prepared, options.rows):
                file.write_table(pa.table({SOURCE: part}, schema))
        rounds = in_turn({"alone": alone}, ROUNDS, threads=1)["alone"]
        seconds, watched = predicting(shard, output, options)
        rounds += in_turn({"alone": alone}, ROUNDS, threads=1)["alone"]
        written = pq.read_metadata(output / shard.name).num_rows
    if written != options.rows:
        raise UserError(f"{written:,} rows were written for {options.rows:,} sources")
    cpu_seconds = sum(watched.cpu_seconds.values())
    return {
        "rows": options.rows,
        "beam": options.beam,
        "cores": available_cores(),
        "seconds": seconds,
        "worker_cpu_seconds": cpu_seconds,
        "rows_per_core_second": watched.steady_rate(options.rows),
        "rows_per_core_second_with_start": options.rows / cpu_seconds,
        "search_per_core_second": median(one.done["strings"] / one.cpu_seconds for one in rounds),
        "search_rounds": [(one.done["strings"] / one.cpu_seconds, one.rate("strings")) for one in rounds],
        "peak_bytes": {str(share): peak for share, peak in watched.peaks().items()},
        "cores_busy": float(np.mean(watched.busy)) if watched.busy else None,
    }


def report(found: dict[str, Any]) -> str:
    """The figures as a table."""
    names = ["sources", "seconds", "per core and second", "search alone", "ratio"]
    ratio = found["rows_per_core_second"] / found["search_per_core_second"]
    rates = [f"{found['rows_per_core_second']:,.0f}", f"{found['search_per_core_second']:,.0f}", f"{ratio:.2f}"]
    peaks = [f"{peak / 2**20:,.0f}" for peak in found["peak_bytes"].values()]
    names += [f"peak MiB of a worker at {float(share):.0%}" for share in found["peak_bytes"]]
    row = [f"{found['rows']:,}", f"{found['seconds']:.0f}", *rates, *peaks]
    return markdown_table(names, [row])


@explain_user_errors
def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    options = _parser().parse_args(arguments)
    found = measure(options)
    if options.out:
        options.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(report(found))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--strategy", default="tandem")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--beam", type=int, help="default: greedy")
    parser.add_argument("--place", type=Path, help="folder for the files, a gigabyte for ten million rows")
    parser.add_argument("--out", type=Path, help="JSON with all figures")
    return parser


if __name__ == "__main__":
    main()
