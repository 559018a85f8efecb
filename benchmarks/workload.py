"""The work of all competitors in the speed benchmark and how it is counted, and the pipeline as one of them.

Counted are the matrix products of a training step, forward and backward, a multiplication and an addition as two
operations; not Adam, gates, softmax and dropout, nor the products of a first step with states that are zero.
"""

import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.timing import DoRound, Round, timed
from pipeline.config.params import Model, Params
from pipeline.data.alphabet import split
from pipeline.data.prepared import Prepared
from pipeline.data.store import StringStore
from pipeline.model.backend import tf
from pipeline.model.network import Network, load_network, save_network
from pipeline.model.search import Hypotheses, beam_search, decode, greedy_search
from pipeline.training.batches import Batch
from pipeline.training.loop import Score, TrainingLoop, TrainingSteps
from pipeline.training.noise import streams
from pipeline.training.strategies import Phase, Task
from pipeline.training.trainer import new_network

TASKS = (Task.PAIRED, Task.AUTOENCODE)  # of a cycle
ENDLESS = 10**9  # steps
SEED = 0
KERNELS = {
    "products": ("MatMul", "BatchMatMulV2", "FusedMatMul"),
    "copies": ("Split", "SplitV", "ConcatV2", "GatherV2", "Slice", "StridedSlice", "Transpose", "Pack", "Pad", "Tile",
               "TensorListStack", "TensorListGetItem", "TensorListSetItem", "TensorListFromTensor"),
}  # fmt: skip
OTHER_KERNELS = "element by element"
PEAK_SIZE, PEAK_PRODUCTS = 2048, 16  # rows and columns of the matrices; products in a round
# The trainable weights of each part as Keras orders them: the table of symbols (the decoder's is encoder B's too), the
# kernel, recurrent kernel and bias of every direction, and the decoder's attention and output.
Arrays = Mapping[str, Sequence[NDArray[np.float32]]]


def arrays_of(network: Any) -> Arrays:
    """The weights of a `pipeline.model.network.Network` with the architecture of the competitors."""
    parts = {name: getattr(network, name).trainable_variables for name in ("encoder_a", "decoder")}
    parts["encoder_b"] = network.encoder_b.trainable_variables[1:]  # the table is the decoder's
    return {name: [variable.numpy() for variable in variables] for name, variables in parts.items()}


def phase(steps: int = ENDLESS) -> Phase:
    """Tandem training in which batches of pairs and of unpaired targets alternate."""
    return Phase(TASKS, Task.PAIRED, steps)


def batches_of(prepared: Prepared, params: Params, positions: Iterable[int]) -> Iterator[Batch]:
    """The batches at some positions of the endless sequence in which the tasks alternate."""
    by_task = streams(phase(), prepared, params, SEED)
    for position in positions:
        cycle, place = divmod(position, len(TASKS))
        yield by_task[TASKS[place]][cycle]


def decoding_rounds(decode: Callable[[], object], strings: int) -> DoRound:
    """Rounds of decoding so many strings, after one to warm up."""

    def do_round() -> dict[str, float]:
        decode()
        return {"strings": strings}

    do_round()
    return partial(timed, do_round)


def sources_to_decode(prepared: Prepared, count: int | None = None) -> StringStore:
    """The sources of the test set, or some that stand for all: evenly spaced when sorted by length."""
    kind = prepared.source_alphabet.kind
    sources = sorted((example.source for example in prepared.test), key=lambda source: len(split(source, kind)))
    if count is not None:
        sources = [sources[int(place)] for place in (np.arange(count) + 0.5) * len(sources) / count]
    return StringStore.of(sources, prepared.source_alphabet)


def operations_of(model: Model, target_symbols: int, batches: Iterable[Batch]) -> int:
    """Operations of training steps on these batches, padding included."""
    total = 0
    for batch in batches:
        B, S = batch.source_ids.shape
        total += B * training_operations(model, target_symbols, S, batch.target_ids.shape[1])
    return total


def training_operations(model: Model, target_symbols: int, S: int, T: int) -> int:
    """Operations of a step for a string of S source and T target symbols, END included; `target_symbols` is V.

    Every product with a weight or between two activations has a gradient for both of its sides, each a product of the
    same size: forward and backward are three.
    """
    P, H, V = model.projection, model.units, target_symbols
    own = H // 2  # units of each of the encoder's directions
    encoder = 2 * 4 * own * (S * P + (S - 1) * own)
    decoder = 4 * H * T * (P + H)
    attention = T * H * H + 2 * S * T * H + T * 2 * H * H  # query, scores and means, the attended layer
    output = T * H * P + T * P * V
    return 3 * 2 * (encoder + decoder + attention + output)


def training(params: Params, folder: Path, steps: int) -> DoRound:
    """Tandem training as a stage runs it, without evaluations on dev; rounds of so many pairs of batches."""
    prepared = Prepared.open(folder)
    network = new_network(params.model, prepared, SEED)
    loop = our_loop(network, params, prepared, ENDLESS)
    endless = iter(loop)

    def do_round() -> Round:
        started, first, symbols = time.perf_counter(), loop.progress.batches, loop.progress.symbols
        for _ in islice(endless, steps):
            pass
        seconds = time.perf_counter() - started
        last = loop.progress.batches
        batches = batches_of(prepared, params, range(first, last))
        operations = operations_of(params.model, network.sizes.target_symbols, batches)
        started = time.perf_counter()
        list(batches_of(prepared, params, range(last + ENDLESS, 2 * last - first + ENDLESS)))  # that nothing has read
        reading = time.perf_counter() - started
        symbols = loop.progress.symbols - symbols
        return Round({"symbols": symbols, "operations": operations, "reading_seconds": reading}, seconds)

    do_round()
    return do_round


def kernels(params: Params, folder: Path, steps: int) -> DoRound:
    """Rounds of the same training under tensorflow's profiler: seconds in each kind of kernel, and how many started.

    What a round takes besides is between kernels: their start, the loop in Python, making batches.
    """
    from tensorflow.tsl.profiler.protobuf.xplane_pb2 import XSpace

    do_steps = training(params, folder, steps)

    def do_round() -> Round:
        with TemporaryDirectory() as folder:
            tf.profiler.experimental.start(folder)
            round_ = do_steps()
            tf.profiler.experimental.stop()
            (file,) = Path(folder).rglob("*.xplane.pb")
            space = XSpace.FromString(file.read_bytes())
        done = {**dict.fromkeys((*KERNELS, OTHER_KERNELS), 0.0), **round_.done, "batches": 2.0 * steps, "kernels": 0.0}
        for plane in space.planes:
            for event in (event for line in plane.lines for event in line.events):
                name = plane.event_metadata[event.metadata_id].name
                # A kernel is called "node:operation"; other events are "Class::method", "what runs: node" and the like.
                if found := re.fullmatch(r"[^:]+:(?:_Mkl)?(?:Native)?(\w+)", name):
                    kind = next((kind for kind, names in KERNELS.items() if found[1] in names), OTHER_KERNELS)
                    done[kind] += event.duration_ps / 1e12
                    done["kernels"] += 1
        return replace(round_, done=done)

    return do_round


def our_loop(network: Network, params: Params, prepared: Prepared, steps: int) -> TrainingLoop:
    """A training whose evaluations take no time.

    Only the first evaluation counts as better than those before it, so with fewer steps than lie between two
    evaluations the last weights are kept.
    """
    settings, batches = replace(params.training, patience=ENDLESS), streams(phase(steps), prepared, params, SEED)
    return TrainingLoop(TrainingSteps(network, settings), phase(steps), batches, settings, lambda: Score({}, (0.0,)))


def save_trained(params: Params, folder: Path, steps: int, weights: Path) -> DoRound:
    """One round of training until outputs end as they do in use, to decode with these weights."""

    def do_round() -> dict[str, float]:
        prepared = Prepared.open(folder)
        network = new_network(params.model, prepared, SEED)
        at_the_end = replace(params, training=replace(params.training, evaluate_every=ENDLESS))
        for _ in our_loop(network, at_the_end, prepared, steps):
            pass
        save_network(network, weights)
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


def peak() -> DoRound:
    """Rounds of large float32 matrix products in tensorflow."""
    left, right = (tf.random.uniform([PEAK_SIZE, PEAK_SIZE]) for _ in range(2))

    def do_round() -> dict[str, float]:
        for _ in range(PEAK_PRODUCTS):
            product = tf.matmul(left, right)
        float(product[0, 0])  # waits for the result
        return {"operations": PEAK_PRODUCTS * 2 * PEAK_SIZE**3}

    do_round()
    return partial(timed, do_round)
