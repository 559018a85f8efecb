"""Batch prediction on Ray: how fast beside a search alone in one process, and whether its memory grows.

    python -m benchmarks.batch --out batch.json         # in a project, after `dvc repro`; needs the extra `cluster`

makes two million sources from those that models were trained on, writes them to one Parquet file, and runs `tandem
predict --engine ray` for all of them on this machine's cores, greedily, while it samples the memory of the workers.
What the search of the same model does in one process with one thread is measured before and after. The files take 100
bytes a row in the folder for temporary files (TMPDIR).
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
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

from benchmarks.timing import DoRound, available_cores, count, in_turn, parser_of
from pipeline.data.alphabet import join, split
from pipeline.data.prepared import Prepared
from pipeline.data.store import StringStore
from pipeline.errors import UserError, explain_user_errors
from pipeline.prediction.files import WORKSPACE
from pipeline.prediction.shards import SLICE_ROWS, SOURCE
from pipeline.report.tables import markdown_table
from pipeline.runs.folders import run_folder

STRATEGY, SEED = "tandem", 0
COMPARED = 10_000  # sources that the search alone decodes in a round
ROUNDS = 2
ROWS_AT_ONCE = 2**16
CHANGED = 2  # symbols of each source
SAMPLE_SECONDS = 0.5
SHARES = (0.1, 0.5, 1.0)  # of the slices, up to which the peak of memory is reported
SCHEMA = pa.schema([(SOURCE, pa.string())])


def different_sources(prepared: Prepared, number: int) -> Iterator[list[str]]:
    """Sources of the training pairs with some symbols changed, many at a time."""
    rng = np.random.default_rng(0)
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


def searching(sources: Sequence[str]) -> DoRound:
    """Rounds of what `benchmarks.speed` measures of decoding: the search over ids, nothing around it."""
    from benchmarks.workload import decoding_rounds, our_decoder
    from pipeline.data.alphabet import load_alphabets
    from pipeline.model.network import load_network

    folder = run_folder(STRATEGY, SEED)
    store = StringStore.of(sources, load_alphabets(folder)[0])
    return decoding_rounds(partial(our_decoder(load_network(folder), None), store), len(store))


def predicting(shard: Path, output: Path, rows: int) -> tuple[float, pd.DataFrame]:
    """Seconds of the whole command, and samples of its workers.

    Columns: share (of slices done), largest (bytes of the largest worker) and cpu_seconds (of all).
    """
    command = [sys.executable, "-m", "pipeline.cli", "predict", "--input", str(shard), "--output", str(output)]
    command += ["--engine", "ray", "--strategy", STRATEGY, "--seed", str(SEED), "--order", "greedy"]
    cpu_seconds: dict[int, float] = {}  # by process
    samples, started = [], time.perf_counter()
    job = subprocess.Popen(command)  # noqa: S603 - our own command
    while job.poll() is None:
        parts = len(list((output / WORKSPACE).glob(f"{shard.stem}.parquet/*.parquet")))
        if not (output / shard.name).exists():  # afterwards parts are removed
            largest = 0
            for process in psutil.Process(job.pid).children(recursive=True):
                try:
                    if "_run" in process.name() or "ray::" in next(iter(process.cmdline()), ""):
                        largest = max(largest, process.memory_info().rss)
                        cpu_seconds[process.pid] = sum(process.cpu_times()[:2])
                except psutil.Error:
                    continue
            samples.append([parts / -(-rows // SLICE_ROWS), largest, sum(cpu_seconds.values())])
        time.sleep(SAMPLE_SECONDS)
    if job.returncode:
        raise UserError(f"{' '.join(command)} failed with exit code {job.returncode}")
    return time.perf_counter() - started, pd.DataFrame(samples, columns=["share", "largest", "cpu_seconds"])


def measure(rows: int) -> dict[str, Any]:
    """All figures."""
    prepared = Prepared.open()
    alone = {"alone": partial(searching, next(different_sources(prepared, COMPARED)))}
    with TemporaryDirectory() as place:
        shard, output = Path(place) / "sources.parquet", Path(place) / "predictions"
        with pq.ParquetWriter(shard, SCHEMA) as file:
            for part in different_sources(prepared, rows):
                file.write_table(pa.table({SOURCE: part}, SCHEMA))
        rounds = in_turn(alone, ROUNDS, threads=1)["alone"]
        seconds, samples = predicting(shard, output, rows)
        rounds += in_turn(alone, ROUNDS, threads=1)["alone"]
        written = pq.read_metadata(output / shard.name).num_rows
    if written != rows:
        raise UserError(f"{written:,} rows were written for {rows:,} sources")
    # From the first finished slice to the last one seen: without what starts up.
    last, started = samples.iloc[-1], samples[samples["share"] > 0]
    first = started.iloc[0] if len(started) else last
    steady = rows * (last["share"] - first["share"]) / max(last["cpu_seconds"] - first["cpu_seconds"], 1e-9)
    return {
        "rows": rows,
        "cores": available_cores(),
        "seconds": seconds,
        "rows_per_core_second": float(steady),
        "search_per_core_second": median(one.done["strings"] / one.cpu_seconds for one in rounds),
        "peak_bytes": {limit: int(samples.loc[samples["share"] <= limit, "largest"].max()) for limit in SHARES},
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
    row |= {f"peak MiB of a worker at {at:.0%}": f"{peak / 2**20:,.0f}" for at, peak in figures["peak_bytes"].items()}
    return markdown_table(list(row), [list(row.values())])


@explain_user_errors
def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = parser_of(__doc__)
    parser.add_argument("--rows", type=count, default=2_000_000)
    parser.add_argument("--out", type=Path, help="JSON with all figures")
    options = parser.parse_args(arguments)
    figures = measure(options.rows)
    if options.out:
        options.out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    print(report(figures))


if __name__ == "__main__":
    main()
