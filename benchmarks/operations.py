"""How many floating-point operations a training step asks for, and how many the machine does in matrix products.

Counted are the matrix products, forward and backward, a multiplication and an addition as two operations; not what
Adam, gates, softmax and dropout do, nor what a first step would multiply with states that are zero.
"""

from collections.abc import Iterable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from benchmarks.timing import DoRound, timed
from pipeline.config.params import Model
from pipeline.data.alphabet import PADDING
from pipeline.training.batches import Batch

PEAK_SIZE, PEAK_PRODUCTS = 2048, 16  # rows and columns of the matrices; products in a round

Lengths = NDArray[np.int64]


def training_operations(model: Model, target_symbols: int, sources: Lengths, targets: Lengths) -> int:
    """Of one step on strings of such lengths [B], END included; `target_symbols` is V.

    The architecture is that of `benchmarks.weights.check_architecture`. Every product with a weight or between two
    activations has a gradient for both of its sides, each a product of the same size: forward and backward are three.
    """
    P, H, V = model.projection, model.units, target_symbols
    S, T, pairs = int(sources.sum()), int(targets.sum()), int((sources * targets).sum())
    own = H // 2  # units of each of the encoder's directions
    encoder = 2 * 4 * own * (S * P + (S - len(sources)) * own)
    decoder = 4 * H * T * (P + H)
    attention = T * H * H + 2 * pairs * H + T * 2 * H * H  # query, scores and means, the attended layer
    output = T * H * P + T * P * V
    return 3 * 2 * (encoder + decoder + attention + output)


def operations_of(model: Model, target_symbols: int, batches: Iterable[Batch]) -> dict[str, float]:
    """Of steps on these batches: `operations` as padded, `needed` by the real symbols alone."""
    padded = needed = 0
    for batch in batches:
        B, S = batch.source_ids.shape
        T = batch.target_ids.shape[1]
        real = [np.count_nonzero(ids != PADDING, axis=1) for ids in (batch.source_ids, batch.target_ids)]
        padded += training_operations(model, target_symbols, np.full(B, S), np.full(B, T))
        needed += training_operations(model, target_symbols, *real)
    return {"operations": padded, "needed": needed}


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
