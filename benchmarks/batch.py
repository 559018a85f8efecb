"""Batch prediction on Ray: how fast beside a search alone in one process, and whether its memory grows.

    python -m benchmarks.batch --out batch.json         # in a project, after `dvc repro`; needs the extra `cluster`

makes two million sources from those that models were trained on, writes them to one Parquet file, and runs `tandem
predict --engine ray` for all of them on this machine's cores while it samples the memory of the workers. What the
search of the same model does in one process with one thread is measured before and after.
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
import pandas as pd
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.timing import DoRound, available_cores, count, in_turn
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
SAMPLE_SECONDS = 0.5
SHARES = (0.1, 0.5, 1.0)  # of the slices, up to which the peak of memory is reported


@dataclass
class Workers:
    """Samples of the workers of a job: columns share (of slices done), largest (bytes), cpu_seconds (all), busy."""

    cpu_seconds: dict[int, float] = field(default_factory=dict)  # by process
    samples: list[dict[str, float]] = field(default_factory=list)

    def sample(self, job: psutil.Process, share: float) -> None:
        """Add a sample of the processes that a job has started."""
        largest = 0
        for process in job.children(recursive=True):
            try:
                if "_run" in process.name() or "ray::" in next(iter(process.cmdline()), ""):
                    largest = max(largest, process.memory_info().rss)
                    self.cpu_seconds[process.pid] = sum(process.cpu_times()[:2])
            except psutil.Error:
                continue
        spent, busy = sum(self.cpu_seconds.values()), psutil.cpu_percent() / 100
        self.samples.append({"share": share, "largest": largest, "cpu_seconds": spent, "busy": busy})


def different_sources(prepared: Prepared, number: int, seed: int = 0) -> Iterator[list[str]]:
    """Sources of the training pairs with some symbols changed, many at a time."""
    rng = np.random.default_rng(seed)
    alphabet = prepared.source_alphabet
    known = [split(example.source, alphabet.kind) for example in prepared.train]
    for start in range(0, number, ROWS_AT_ONCE):
        part = []
        for row in rng.integers(len(known), size=min(ROWS_AT_ONCE, number - start)).tolist():
            symbols = list(known[row])
            for place in rng.integers(len(symbols), size=CHANGED).tolist():
                symbols[place] = alphabet.symbols[rng.integers(len(alphabet.symbols))]
            part.append(join(symbols, alphabet.kind))
        yield part


def searching(folder: Path, sources: Sequence[str], beam: int | None) -> DoRound:
    """Rounds of what `benchmarks.speed` measures of decoding: the search over ids, nothing around it."""
    from benchmarks.ours import our_decoder
    from benchmarks.workload import decoding_rounds
    from pipeline.data.alphabet import load_alphabets
    from pipeline.model.network import load_network

    store = StringStore.of(sources, load_alphabets(folder)[0])
    return decoding_rounds(partial(our_decoder(load_network(folder), beam), store), len(store))


def predicting(shard: Path, output: Path, options: argparse.Namespace) -> tuple[float, pd.DataFrame]:
    """Seconds of the whole command, and samples of its workers."""
    command = [sys.executable, "-m", "pipeline.cli", "predict", "--input", str(shard), "--output", str(output)]
    command += ["--engine", "ray", "--strategy", options.strategy, "--seed", str(options.seed)]
    command += ["--order", "beam" if options.beam else "greedy", "--beam", str(options.beam or 1)]
    slices = -(-options.rows // SLICE_ROWS)
    workers, started = Workers(), time.perf_counter()
    job = subprocess.Popen(command)  # noqa: S603 - our own command
    while job.poll() is None:
        parts = len(list((output / WORKSPACE).glob(f"{shard.stem}.parquet/*.parquet")))
        if not (output / shard.name).exists():  # afterwards parts are removed
            workers.sample(psutil.Process(job.pid), parts / slices)
        time.sleep(SAMPLE_SECONDS)
    if job.returncode:
        raise UserError(f"{' '.join(command)} failed with exit code {job.returncode}")
    return time.perf_counter() - started, pd.DataFrame(workers.samples)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """All figures."""
    prepared, folder = Prepared.open(), run_folder(options.strategy, options.seed)
    few = next(different_sources(prepared, COMPARED))
    alone = {"alone": partial(searching, folder, few, options.beam)}
    with TemporaryDirectory(dir=options.place) as place:
        shard, output = Path(place) / "sources.parquet", Path(place) / "predictions"
        schema = pa.schema([(SOURCE, pa.string())])
        with pq.ParquetWriter(shard, schema) as file:
            for part in different_sources(prepared, options.rows):
                file.write_table(pa.table({SOURCE: part}, schema))
        rounds = in_turn(alone, ROUNDS, threads=1)["alone"]
        seconds, samples = predicting(shard, output, options)
        rounds += in_turn(alone, ROUNDS, threads=1)["alone"]
        written = pq.read_metadata(output / shard.name).num_rows
    if written != options.rows:
        raise UserError(f"{written:,} rows were written for {options.rows:,} sources")
    # From the first finished slice to the last one seen: without what starts up.
    last, started = samples.iloc[-1], samples[samples["share"] > 0]
    first = started.iloc[0] if len(started) else last
    steady = options.rows * (last["share"] - first["share"]) / max(last["cpu_seconds"] - first["cpu_seconds"], 1e-9)
    peaks = {str(limit): samples.loc[samples["share"] <= limit, "largest"].max() for limit in SHARES}
    return {
        "rows": options.rows,
        "beam": options.beam,
        "cores": available_cores(),
        "seconds": seconds,
        "worker_cpu_seconds": float(last["cpu_seconds"]),
        "rows_per_core_second": float(steady),
        "rows_per_core_second_with_start": options.rows / float(last["cpu_seconds"]),
        "search_per_core_second": median(one.done["strings"] / one.cpu_seconds for one in rounds),
        "search_rounds": [(one.done["strings"] / one.cpu_seconds, one.rate("strings")) for one in rounds],
        "peak_bytes": {share: int(peak) for share, peak in peaks.items()},
        "cores_busy": float(samples["busy"].mean()),
    }


def report(figures: dict[str, Any]) -> str:
    """The figures as a table."""
    rates = figures["rows_per_core_second"], figures["search_per_core_second"]
    row = {
        "sources": f"{figures['rows']:,}",
        "seconds": f"{figures['seconds']:.0f}",
        "per core and second": f"{rates[0]:,.0f}",
        "search alone": f"{rates[1]:,.0f}",
        "ratio": f"{rates[0] / rates[1]:.2f}",
    }
    for share, peak in figures["peak_bytes"].items():
        row[f"peak MiB of a worker at {float(share):.0%}"] = f"{peak / 2**20:,.0f}"
    return markdown_table(list(row), [list(row.values())])


@explain_user_errors
def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=count, default=2_000_000)
    parser.add_argument("--strategy", default="tandem")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--beam", type=count, help="default: greedy")
    parser.add_argument("--place", type=Path, help="folder for the files, a gigabyte for ten million rows")
    parser.add_argument("--out", type=Path, help="JSON with all figures")
    options = parser.parse_args(arguments)
    figures = measure(options)
    if options.out:
        options.out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    print(report(figures))


if __name__ == "__main__":
    main()
