"""Decoding as Keras tutorials write it: an encoder model and a decoder model of one step, `predict` for each symbol.

One string at a time: encode it, then give the decoder the symbol before and the states until it writes END. With a beam
one `predict` carries all beginnings of a string by a symbol. The models are made from the layers of `keras_loop`.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.keras_loop import SharedLayers, one_hot
from benchmarks.timing import DoRound, timed
from benchmarks.weights import ARRAYS, load_arrays
from benchmarks.workload import sources_to_decode
from pipeline.config.params import Params
from pipeline.data.alphabet import END, PADDING, SPECIALS, START
from pipeline.data.prepared import Prepared
from pipeline.model.backend import keras
from pipeline.model.network import load_network

Ids = NDArray[np.int32]
Floats = NDArray[np.float32]


def decoding(params: Params, folder: Path, weights: Path, beam: int | None, strings: int) -> DoRound:
    """Rounds of decoding a few strings, greedily or with a beam."""
    prepared = Prepared.open(folder)
    source_symbols, target_symbols = len(prepared.source_alphabet), len(prepared.target_alphabet)
    shared = SharedLayers(params.model, target_symbols)
    for side, symbols in enumerate((source_symbols, target_symbols)):
        shared.joined(symbols, target_symbols, side)
    shared.load(load_arrays(weights / ARRAYS))
    decoder = PredictLoop(shared, params.model.units, source_symbols, target_symbols)
    longest = load_network(weights).sizes.longest_output
    sources = sources_to_decode(prepared, strings)
    rows = [sources.padded(np.array([row])) for row in range(len(sources))]
    write: Callable[[Ids], Ids] = partial(decoder.greedy, longest=longest)
    if beam:
        write = partial(decoder.beam, longest=longest, beam=beam)

    def do_round() -> dict[str, float]:
        for row in rows:
            write(row)
        return {"strings": len(rows)}

    do_round()
    return partial(timed, do_round)


class PredictLoop:
    """The encoder's and the decoder's model, and the loops around them."""

    def __init__(self, shared: SharedLayers, units: int, source_symbols: int, target_symbols: int) -> None:
        self._source_symbols, self._target_symbols = source_symbols, target_symbols
        inputs = keras.Input((None, source_symbols))
        memory, states = shared.encode(inputs, 0)
        self._encoder = keras.Model(inputs, [memory, *states])
        previous = keras.Input((None, target_symbols))
        given = keras.Input((None, units))
        before = [keras.Input((units,)) for _ in range(2)]
        probabilities, after = shared.decode(previous, given, before)
        self._decoder = keras.Model([previous, given, *before], [probabilities, *after])

    def greedy(self, source_ids: Ids, longest: int) -> Ids:
        """One string, int32 [1, S], without padding -> what is written for it, int32 [T], END included."""
        memory, *states = self._encoder.predict(one_hot(source_ids, self._source_symbols), verbose=0)
        written = [START]
        while written[-1] != END and len(written) <= longest:
            scores, states = self._next(written[-1:], memory, states)
            written.append(int(scores[0].argmax()))
        return np.array(written[1:], np.int32)

    def beam(self, source_ids: Ids, longest: int, beam: int) -> Ids:
        """One string -> the best of `beam` candidates, int32 [T], END included."""
        memory, *states = self._encoder.predict(one_hot(source_ids, self._source_symbols), verbose=0)
        memory, *states = (np.repeat(array, beam, axis=0) for array in (memory, *states))
        totals = np.array([0.0] + [-np.inf] * (beam - 1), np.float32)  # at first there is one beginning
        written = np.full((beam, 1), START, np.int32)
        ended = np.zeros(beam, bool)
        while not ended.all() and written.shape[1] <= longest:
            steps, states = self._next(written[:, -1], memory, states)
            steps[ended] = -np.inf
            steps[ended, PADDING] = 0.0  # an ended candidate goes on in one way and at no cost
            scores = (totals[:, None] + steps).ravel()
            best = np.argsort(-scores, kind="stable")[:beam]
            totals, (parents, symbols) = scores[best], np.divmod(best, self._target_symbols)
            written = np.concatenate([written[parents], symbols[:, None].astype(np.int32)], axis=1)
            ended = ended[parents] | (symbols == END)
            states = [state[parents] for state in states]
        return written[0, 1:]

    def _next(self, previous: Sequence[int] | Ids, memory: Floats, states: list[Floats]) -> tuple[Floats, list[Floats]]:
        """Log probabilities [K, V] of the symbol after each of `previous` [K], and the states after it."""
        inputs = one_hot(np.array(previous, np.int32)[:, None], self._target_symbols)
        probabilities, *states = self._decoder.predict([inputs, memory, *states], verbose=0)
        probabilities[:, 0, [special for special in range(SPECIALS) if special != END]] = 0.0
        with np.errstate(divide="ignore"):
            return np.log(probabilities[:, 0] / probabilities[:, 0].sum(axis=1, keepdims=True)), states
