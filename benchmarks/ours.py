"""The pipeline as a competitor of the speed benchmark: all that the benchmark knows of its training and its search."""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from benchmarks.operations import operations_of
from benchmarks.timing import DoRound, Round, timed
from benchmarks.weights import ARRAYS, arrays_of, save_arrays
from benchmarks.workload import ENDLESS, SCHEDULE, SEED, batches_of, sources_to_decode
from pipeline.config.params import Params
from pipeline.data.prepared import Prepared
from pipeline.data.store import StringStore
from pipeline.model.network import Network, load_network, save_network
from pipeline.model.search import Candidates, beam_search, decode, greedy_search
from pipeline.training.loop import Score, TrainingLoop, TrainingSteps
from pipeline.training.noise import streams
from pipeline.training.strategies import Phase, Task
from pipeline.training.trainer import new_network


def training(params: Params, folder: Path, steps: int) -> DoRound:
    """Tandem training as a stage runs it, without the looks at dev; rounds of at least `steps` pairs of batches."""
    prepared = Prepared.open(folder)
    network = new_network(params.model, prepared, SEED)
    trained = our_steps(network, params, prepared, ENDLESS)
    spent = Spent()

    def do_round() -> Round:
        nonlocal spent
        started, before, enough = time.perf_counter(), spent, spent.steps + steps
        while spent.steps < enough:
            spent = next(trained)
        seconds = time.perf_counter() - started
        batches = batches_of(prepared, params, range(before.batches, spent.batches))
        operations = operations_of(params.model, network.sizes.target_symbols, batches)
        return Round({"symbols": spent.symbols - before.symbols, **operations}, seconds)

    do_round()
    return do_round


@dataclass(frozen=True)
class Spent:
    """How far a training is: batches of pairs, batches of all tasks, and real target symbols in them."""

    steps: int = 0
    batches: int = 0
    symbols: int = 0


def our_steps(network: Network, params: Params, prepared: Prepared, steps: int) -> Iterator[Spent]:
    """Train by the schedule; tells now and then how far it is.

    The development data is looked at as often as params say, but a look takes no time; only the first one counts as
    better than what was before, so with fewer steps than lie between two looks it is the last weights that stay.
    """
    plan = Phase(SCHEDULE, Task.PAIRED, steps)
    settings = replace(params.training, patience=ENDLESS)
    batches = streams(plan, prepared, params, SEED)
    loop = TrainingLoop(TrainingSteps(network, settings), plan, batches, settings, lambda: Score({}, (0.0,)))
    for _ in loop:
        yield Spent(loop.progress.step, loop.progress.batches, loop.progress.symbols)


def save_trained(params: Params, folder: Path, steps: int, weights: Path) -> DoRound:
    """In its one round, train a network so far that its outputs end as they do in use; all decode with its weights."""

    def do_round() -> dict[str, float]:
        prepared = Prepared.open(folder)
        network = new_network(params.model, prepared, SEED)
        at_the_end = replace(params, training=replace(params.training, evaluate_every=ENDLESS))
        for _ in our_steps(network, at_the_end, prepared, steps):
            pass
        save_network(network, weights)
        save_arrays(arrays_of(network), weights / ARRAYS)
        return {"steps": steps}

    return partial(timed, do_round)


def decoding(folder: Path, weights: Path, beam: int | None, passes: int) -> DoRound:
    """Rounds of decoding all strings so many times, greedily or with a beam."""
    os.environ["TF_NUM_INTRAOP_THREADS"] = "1"  # as `pipeline.model.backend` has it; the cores take a batch each
    sources = sources_to_decode(Prepared.open(folder))
    write = our_decoder(load_network(weights), beam)

    def do_round() -> dict[str, float]:
        for _ in range(passes):
            write(sources)
        return {"strings": passes * len(sources)}

    do_round()
    return partial(timed, do_round)


def our_decoder(network: Network, beam: int | None) -> Callable[[StringStore], Candidates]:
    """Sources -> what the predictor writes for them."""
    members, longest = [network.predictor], network.sizes.longest_output
    search = beam_search(members, longest, beam) if beam else greedy_search(members, longest)
    return partial(decode, search)
