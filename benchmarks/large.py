"""What large inputs cost by their size: lists for features and matcher, dev for the reranker, sources to predict.

    python -m benchmarks.large --out large.json         # in a project, after `dvc repro`

Every size runs in processes of its own with one thread; memory is the peak of the process up to the end of a step.
`growth` is the exponent by which processor seconds grow from the size before: 1 is in proportion, and above 1.15 is
called more than linear.

Lists are made up, symbol by symbol as in the project's own, and so are the sources of their pairs. Dev items and their
candidates are real: they are split off the project's data anew, so a few may be among the training pairs.
"""

import json
import math
import os
import resource
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace
from itertools import chain
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.batch import SCHEMA, SEED, STRATEGY, different_sources
from benchmarks.commands import BYTES, Cost, run, write_project
from benchmarks.speed import GIB, machine
from benchmarks.throughput import TOP
from benchmarks.timing import count, parser_of
from pipeline.config.params import Order, Params, load_params
from pipeline.data.corpus import read_corpus
from pipeline.data.prepared import PREPARED, TARGETS, Prepared
from pipeline.errors import UserError, explain_user_errors
from pipeline.parallel import environment
from pipeline.prediction.shards import SOURCE
from pipeline.report.tables import markdown_table

CONTEXT = 3  # symbols before one of a made-up target that it depends on
STREAMS, DRAWN = 2**14, 2**8  # of symbols, and symbols of each that are drawn at once
LINEAR = 1.15  # growth, at most

Steps = Iterator[str]  # work that gives the name of each step it has done; one without a name does not count
Costs = dict[str, Cost]  # by step


def made_up(known: Iterable[str], number: int, most_symbols: int) -> list[str]:
    """Make different targets: each symbol is drawn from those that follow the same few before in known ones.

    They are the same every time. Raises `UserError` if known ones give too few.
    """
    rng, made = np.random.default_rng(0), dict[str, None]()
    between = "\n" * CONTEXT
    symbols, ids = np.unique(np.array(list(between.join(["", *known, ""]))), return_inverse=True)
    V = len(symbols)
    before = np.convolve(ids, [0, *V ** np.arange(CONTEXT)])[: len(ids)]  # numbers in base V, one for each symbol
    order = CONTEXT + np.argsort(before[CONTEXT:], kind="stable")
    before = before[order]
    while len(made) < number:
        context, written = np.zeros(STREAMS, dtype=np.int64), []
        for _ in range(DRAWN):
            low, high = (np.searchsorted(before, context, side) for side in ("left", "right"))
            written.append(ids[order[rng.integers(low, high)]])
            context = (context * V + written[-1]) % V**CONTEXT
        words = (word for row in symbols[np.column_stack(written)] for word in "".join(row).split(between)[:-1])
        before_these = len(made)
        made |= dict.fromkeys(word for word in words if len(word) <= most_symbols)
        if len(made) == before_these:
            raise UserError(f"the project's list is too small to make {number:,} different targets like those in it")
    return list(made)[:number]


def alone(work: Callable[..., Steps], *given: Any) -> Costs:
    """The cost of each step of some work, done in a process of its own with one thread."""
    with patch.dict(os.environ, environment(threads=1)), ProcessPoolExecutor(1, get_context("spawn")) as process:
        return process.submit(_costs, work, *given).result()


def _costs(work: Callable[..., Steps], *given: Any) -> Costs:
    costs, clock, processor = {}, time.perf_counter(), time.process_time()
    for step in work(*given):
        seconds, cpu_seconds = time.perf_counter() - clock, time.process_time() - processor
        if step:
            costs[step] = Cost(seconds, cpu_seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * BYTES)
        clock, processor = time.perf_counter(), time.process_time()
    return costs


def measure_list(size: int, params: Params) -> Costs:
    """Costs of a list of so many targets: stage `prepare`, the features, the matcher."""
    with TemporaryDirectory() as place:
        folder = Path(place)
        alone(write_list, folder, size, params)
        costs = {"prepare": run([sys.executable, "-m", "pipeline.stages.prepare"], folder, environment(threads=1))}
        return costs | alone(features_of_list, folder, params) | alone(matcher_of_list, folder, params)


def write_list(folder: Path, size: int, params: Params) -> Steps:
    """Write a project with made-up targets."""
    known = read_corpus(params.data, replace(params.prepare, targets=None)).targets
    made = made_up(known, size, params.prepare.max_symbols)
    write_project(folder, params, (f"{target}\n".encode() for target in made))
    yield ""


def features_of_list(folder: Path, params: Params) -> Steps:
    """Learn, save and load the features, and find further candidates of the test sources."""
    from pipeline.model.inference import Hypothesis
    from pipeline.reranking.features import FeatureExtractor

    prepared = Prepared.open(folder / PREPARED)
    yield ""
    FeatureExtractor.learn(prepared, held_out=False).save(folder)
    yield "features: learn, save"
    features = FeatureExtractor.load(folder)
    yield "features: load"
    n_best = [[Hypothesis(example.target, 0.0)] for example in prepared.test]
    features.further_candidates([example.source for example in prepared.test], n_best, params.decoding.neighbours)
    yield f"candidates of {len(n_best):,} sources"


def matcher_of_list(folder: Path, params: Params) -> Steps:
    """Find wrong targets, measure, and search the whole list, all with an untrained matcher and without candidates."""
    from pipeline.matcher.network import Index
    from pipeline.matcher.training import MatchingData, new_training
    from pipeline.model.inference import TrainedModel
    from pipeline.training.trainer import new_network

    prepared, settings = Prepared.open(folder / PREPARED), replace(params.matcher, candidates=0)
    alphabets = prepared.source_alphabet, prepared.target_alphabet
    model = TrainedModel((new_network(params.model, prepared, SEED),), *alphabets)
    yield ""
    data = MatchingData.collect(prepared, model, settings, SEED)
    yield "matcher: wrong targets"
    matcher, _ = new_training(settings, prepared, data, SEED)
    yield ""
    data.measure(matcher, "test")
    yield "matcher: measure on test"
    index = Index(matcher, (folder / PREPARED / TARGETS).read_text(encoding="utf-8").splitlines())
    yield "matcher: index"
    index.search([example.source for example in prepared.test], TOP)
    yield f"matcher: search for {len(prepared.test):,} sources"


def measure_dev(size: int, params: Params) -> Costs:
    """Costs of so many dev items."""
    return alone(rerank, size, params)


def rerank(size: int, params: Params) -> Steps:
    """What stage `rerank` does for a run."""
    from pipeline.prediction.predictor import Predictor, load_trained
    from pipeline.reranking.features import TO_FIT, FeatureExtractor
    from pipeline.runs.groups import RunGroup

    dev = read_corpus(params.data, replace(params.prepare, dev=size, test=1)).dev
    model = load_trained(RunGroup(STRATEGY, (SEED,)), held_out=True)
    predictor = Predictor(model, params.decoding, FeatureExtractor.load(TO_FIT))
    yield ""
    predictor.fitted(dev)
    yield "rerank: search, candidates, fit"


def measure_sources(size: int, params: Params) -> Costs:
    """Costs of reranked prediction of so many sources, from a file to a file."""
    with TemporaryDirectory() as place:
        shard, output = Path(place) / "sources.parquet", Path(place) / "predictions"
        sources = list(chain.from_iterable(different_sources(Prepared.open(), size)))
        pq.write_table(pa.table({SOURCE: sources}, SCHEMA), shard)
        command = [sys.executable, "-m", "pipeline.cli", "predict", "--input", str(shard), "--output", str(output)]
        command += ["--strategy", STRATEGY, "--seed", str(SEED), "--order", Order.RERANK]
        return {"predict, reranked": run(command, Path(), environment(threads=1))}


PARTS: dict[str, tuple[Callable[[int, Params], Costs], Sequence[int]]] = {
    "targets": (measure_list, (10**4, 10**5, 10**6)),
    "dev": (measure_dev, (10**3, 10**4, 10**5)),
    "sources": (measure_sources, (10**4, 10**5)),
}


def report(measured: Mapping[str, Mapping[int, Costs]]) -> str:
    """The costs by part and size as a table."""
    rows = []
    for part, by_size in measured.items():
        for step in next(iter(by_size.values()), {}):
            growth, before = "-", (0, 0.0)
            for size, cost in ((size, costs[step]) for size, costs in by_size.items()):
                if before[0]:
                    exponent = math.log(cost.cpu_seconds / before[1]) / math.log(size / before[0])
                    growth = f"{exponent:.2f}" + ", more than linear" * (exponent > LINEAR)
                before = size, cost.cpu_seconds
                figures = f"{cost.cpu_seconds:.1f}", f"{cost.seconds:.1f}", f"{cost.peak_bytes / GIB:.2f}"
                rows.append([step, f"{size:,} {part}", *figures, growth])
    return markdown_table(["step", "size", "CPU seconds", "seconds", "peak memory, GiB", "growth"], rows)


@explain_user_errors
def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print a table."""
    parser = parser_of(__doc__)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--largest", type=count, default=10**6, help="size; larger ones are left out")
    parser.add_argument("--out", type=Path, help="JSON with all figures")
    options = parser.parse_args(arguments)
    params, measured = load_params(), dict[str, dict[int, Costs]]()
    for part in options.only:
        measure, sizes = PARTS[part]
        measured[part] = {}
        for size in sizes:
            if size <= options.largest:
                print(f"measuring {size:,} {part}", file=sys.stderr, flush=True)
                measured[part][size] = measure(size, params)
                if options.out:
                    figures = json.dumps({"machine": machine(), **measured}, indent=1, default=asdict)
                    options.out.write_text(figures + "\n", encoding="utf-8")
    print(report(measured))


if __name__ == "__main__":
    main()
