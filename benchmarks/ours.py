"""The pipeline as a competitor of the speed benchmark: its training and its search."""

import os
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path

from benchmarks import workload
from benchmarks.timing import DoRound, Round, timed
from pipeline.config.params import Params
from pipeline.data.prepared import Prepared
from pipeline.data.store import StringStore
from pipeline.model.network import Network, load_network, save_network
from pipeline.model.search import Hypotheses, beam_search, decode, greedy_search
from pipeline.training.loop import Score, TrainingLoop, TrainingSteps
from pipeline.training.noise import streams
from pipeline.training.trainer import new_network


def training(params: Params, folder: Path, steps: int) -> DoRound:
    """Tandem training as a stage runs it, without evaluations on dev; rounds of so many pairs of batches."""
    prepared = Prepared.open(folder)
    network = new_network(params.model, prepared, workload.SEED)
    loop = our_loop(network, params, prepared, workload.ENDLESS)
    endless = iter(loop)

    def do_round() -> Round:
        started, first, symbols = time.perf_counter(), loop.progress.batches, loop.progress.symbols
        for _ in islice(endless, steps):
            pass
        seconds = time.perf_counter() - started
        batches = workload.batches_of(prepared, params, range(first, loop.progress.batches))
        operations = workload.operations_of(params.model, network.sizes.target_symbols, batches)
        return Round({"symbols": loop.progress.symbols - symbols, "operations": operations}, seconds)

    do_round()
    return do_round


def our_loop(network: Network, params: Params, prepared: Prepared, steps: int) -> TrainingLoop:
    """A training whose evaluations take no time.

    Only the first evaluation counts as better than those before it, so with fewer steps than lie between two
    evaluations the last weights are kept.
    """
    phase, settings = workload.phase(steps), replace(params.training, patience=workload.ENDLESS)
    batches = streams(phase, prepared, params, workload.SEED)
    return TrainingLoop(TrainingSteps(network, settings), phase, batches, settings, lambda: Score({}, (0.0,)))


def save_trained(params: Params, folder: Path, steps: int, weights: Path) -> DoRound:
    """One round of training until outputs end as they do in use, to decode with these weights."""

    def do_round() -> dict[str, float]:
        prepared = Prepared.open(folder)
        network = new_network(params.model, prepared, workload.SEED)
        at_the_end = replace(params, training=replace(params.training, evaluate_every=workload.ENDLESS))
        for _ in our_loop(network, at_the_end, prepared, steps):
            pass
        save_network(network, weights)
        return {"steps": steps}

    return partial(timed, do_round)


def decoding(folder: Path, weights: Path, beam: int | None, passes: int) -> DoRound:
    """Rounds of decoding all strings so many times, greedily or with a beam."""
    os.environ["TF_NUM_INTRAOP_THREADS"] = "1"  # as `pipeline.model.backend` has it; the cores take a batch each
    sources = workload.sources_to_decode(Prepared.open(folder))
    write = our_decoder(load_network(weights), beam)

    def do_round() -> None:
        for _ in range(passes):
            write(sources)

    return workload.decoding_rounds(do_round, passes * len(sources))


def our_decoder(network: Network, beam: int | None) -> Callable[[StringStore], Hypotheses]:
    """A function from sources to the hypotheses of a search, greedy or with a beam."""
    members, longest = [network.predictor], network.sizes.longest_output
    search = beam_search(members, longest, beam) if beam else greedy_search(members, longest)
    return partial(decode, search)
