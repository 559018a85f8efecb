"""The pipeline as a competitor of the speed benchmark: its training and its search."""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from benchmarks.timing import DoRound, Round, timed
from benchmarks.workload import (
    ARRAYS,
    ENDLESS,
    SEED,
    arrays_of,
    batches_of,
    decoding_rounds,
    operations_of,
    phase,
    save_arrays,
    sources_to_decode,
)
from pipeline.config.params import Params
from pipeline.data.prepared import Prepared
from pipeline.data.store import StringStore
from pipeline.model.network import Network, load_network, save_network
from pipeline.model.search import Hypotheses, beam_search, decode, greedy_search
from pipeline.training.loop import Score, TrainingLoop, TrainingSteps
from pipeline.training.noise import streams
from pipeline.training.trainer import new_network


def training(params: Params, folder: Path, steps: int) -> DoRound:
    """Tandem training as a stage runs it, without evaluations on dev; rounds of at least `steps` pairs of batches."""
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
    """Train, and say now and then how far it is.

    An evaluation comes as often as params say, but takes no time; only the first one counts as better than those before
    it, so with fewer steps than lie between two evaluations the last weights are kept.
    """
    settings, batches = replace(params.training, patience=ENDLESS), streams(phase(steps), prepared, params, SEED)
    training = TrainingSteps(network, settings)
    loop = TrainingLoop(training, phase(steps), batches, settings, lambda: Score({}, (0.0,)))
    for _ in loop:
        yield Spent(loop.progress.step, loop.progress.batches, loop.progress.symbols)


def save_trained(params: Params, folder: Path, steps: int, weights: Path) -> DoRound:
    """One round of training until outputs end as they do in use, to decode with these weights."""

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

    def do_round() -> None:
        for _ in range(passes):
            write(sources)

    return decoding_rounds(do_round, passes * len(sources))


def our_decoder(network: Network, beam: int | None) -> Callable[[StringStore], Hypotheses]:
    """A function from sources to the hypotheses of a search, greedy or with a beam."""
    members, longest = [network.predictor], network.sizes.longest_output
    search = beam_search(members, longest, beam) if beam else greedy_search(members, longest)
    return partial(decode, search)
