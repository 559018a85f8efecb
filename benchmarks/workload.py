"""The work that all competitors of the speed benchmark are given: weights, batches, strings, and how it is counted.

Counted are the matrix products of a training step, forward and backward, a multiplication and an addition as two
operations; not Adam, gates, softmax and dropout, nor the products of a first step with states that are zero.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.timing import DoRound, timed
from pipeline.config.params import Model, Params
from pipeline.data.alphabet import split
from pipeline.data.prepared import Prepared
from pipeline.data.store import StringStore
from pipeline.errors import UserError
from pipeline.training.batches import Batch
from pipeline.training.noise import streams
from pipeline.training.strategies import Phase, Task

TASKS = (Task.PAIRED, Task.AUTOENCODE)  # of a cycle
ENDLESS = 10**9  # steps
SEED = 0
PEAK_SIZE, PEAK_PRODUCTS = 2048, 16  # rows and columns of the matrices; products in a round
ARCHITECTURE = {  # the one that competitors are written for
    "cell": "lstm",
    "decoder": "autoregressive",
    "bridge": "attention",
    "tie_weights": True,
    "bidirectional": True,
    "layers": 1,
}

# The trainable weights of each part as Keras orders them: the table of symbols (the decoder's is encoder B's too), the
# kernel, recurrent kernel and bias of every direction, and the decoder's attention and output.
Arrays = Mapping[str, Sequence[NDArray[np.float32]]]


def arrays_of(network: Any) -> Arrays:
    """The weights of a `pipeline.model.network.Network` with the architecture of `check_architecture`."""
    parts = {name: getattr(network, name).trainable_variables for name in ("encoder_a", "decoder")}
    parts["encoder_b"] = network.encoder_b.trainable_variables[1:]  # the table is the decoder's
    return {name: [variable.numpy() for variable in variables] for name, variables in parts.items()}


def check_architecture(model: Model) -> None:
    """Raise `UserError` for an architecture that the competitors are not written for."""
    for name, value in ARCHITECTURE.items():
        if (given := getattr(model, name)) != value:
            raise UserError(
                f"model.{name} is {given}, but the competitors are written for {value}: set that to compare"
            )


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


def peak() -> DoRound:
    """Rounds of large float32 matrix products in tensorflow."""
    from pipeline.model.backend import tf  # here, because counting does not need it

    left, right = (tf.random.uniform([PEAK_SIZE, PEAK_SIZE]) for _ in range(2))

    def do_round() -> dict[str, float]:
        for _ in range(PEAK_PRODUCTS):
            product = tf.matmul(left, right)
        float(product[0, 0])  # waits for the result
        return {"operations": PEAK_PRODUCTS * 2 * PEAK_SIZE**3}

    do_round()
    return partial(timed, do_round)
