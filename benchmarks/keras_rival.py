"""Keras as a competitor of the speed benchmark: training and decoding as Keras tutorials write them.

Two compiled models share the decoder's layers. Inputs and targets are one-hot and padded to the longest string of the
data, `Masking` leaves padding out, and `train_on_batch` is called on either model in turn. To decode, one string at a
time is encoded, then a decoder model of one step is given the symbol before and the states until it writes END, a
`predict` for each symbol. The architecture is that of `pipeline.model.network`, but for the tied table: one-hot vectors
go through dense layers.
"""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.timing import DoRound, timed
from benchmarks.workload import Arrays, arrays_of, decoding_rounds, sources_to_decode
from pipeline.config.params import Model, Params
from pipeline.data.alphabet import END, PADDING, SPECIALS, START
from pipeline.data.prepared import Prepared
from pipeline.model.backend import keras
from pipeline.model.network import load_network

Tensors = list[Any]
Ids = NDArray[np.int32]
Floats = NDArray[np.float32]


class SharedLayers:
    """The layers of encoder A, encoder B and the decoder, to build models from."""

    def __init__(self, model: Model, target_symbols: int) -> None:
        layers, units = keras.layers, model.units
        self.units, self.dropout, self.target_symbols = units, model.dropout, target_symbols
        self.projections = [layers.Dense(model.projection, use_bias=False) for _ in "ab"]
        self.encoders = [
            layers.Bidirectional(layers.LSTM(units // 2, return_sequences=True, return_state=True)) for _ in "ab"
        ]
        self.previous = layers.Dense(model.projection, use_bias=False)
        self.decoder = layers.LSTM(units, return_sequences=True, return_state=True)
        self.query = layers.Dense(units, use_bias=False)
        self.attention = layers.Attention()
        self.attended = layers.Dense(units, activation="tanh")
        self.dense = layers.Dense(model.projection)
        self.probabilities = layers.Dense(target_symbols, activation="softmax")

    def encode(self, inputs: Any, side: int) -> tuple[Any, Tensors]:
        """One-hot [B, S, V] by encoder A (side 0) or B (1) -> memory [B, S, H] and the last states [B, H]."""
        masked = keras.layers.Masking()(inputs)
        projected = keras.layers.Dropout(self.dropout)(self.projections[side](masked))
        memory, *last = self.encoders[side](projected)
        return memory, [keras.layers.Concatenate()(pair) for pair in zip(last[:2], last[2:], strict=True)]

    def decode(self, previous: Any, memory: Any, states: Tensors) -> tuple[Any, Tensors]:
        """One-hot [B, T, V] of the symbols before -> probabilities [B, T, V] and the states after the last."""
        projected = self.previous(keras.layers.Masking()(previous))
        outputs, *states = self.decoder(keras.layers.Dropout(self.dropout)(projected), initial_state=states)
        mean = self.attention([self.query(outputs), memory])
        attended = self.attended(keras.layers.Concatenate()([outputs, mean]))
        return self.probabilities(self.dense(keras.layers.Dropout(self.dropout)(attended))), states

    def models(self, source_symbols: int) -> list[keras.Model]:
        """The predictor and the autoencoder, each [one-hot input, one-hot symbols before] -> probabilities."""
        models = []
        for side, symbols in enumerate((source_symbols, self.target_symbols)):
            inputs, previous = keras.Input((None, symbols)), keras.Input((None, self.target_symbols))
            models.append(keras.Model([inputs, previous], self.decode(previous, *self.encode(inputs, side))[0]))
        return models

    def load(self, arrays: Arrays) -> None:
        """Take over the weights of a `Network`'s parts, after both models are built."""
        table, *decoder = arrays["decoder"]
        query, attended, attended_bias, dense, dense_bias, output_bias = decoder[3:]
        tables = (arrays["encoder_a"][0], table)
        for side, recurrent in enumerate((arrays["encoder_a"][1:], arrays["encoder_b"])):
            self.projections[side].set_weights([tables[side]])
            self.encoders[side].set_weights(recurrent)
        self.previous.set_weights([table])
        self.decoder.set_weights(decoder[:3])
        self.query.set_weights([query / self.units**0.5])  # Keras' attention does not scale
        self.attended.set_weights([attended, attended_bias])
        self.dense.set_weights([dense, dense_bias])
        self.probabilities.set_weights([table.T, output_bias])


def training(params: Params, folder: Path, steps: int) -> DoRound:
    """Rounds of `steps` pairs of batches."""
    prepared, settings = Prepared.open(folder), params.training
    keras.utils.set_random_seed(0)
    source_symbols, target_symbols = len(prepared.source_alphabet), len(prepared.target_alphabet)
    models = SharedLayers(params.model, target_symbols).models(source_symbols)
    for model in models:
        optimizer = keras.optimizers.Adam(settings.learning_rate, global_clipnorm=settings.clip_norm)
        model.compile(optimizer, "categorical_crossentropy")
    data = (
        (
            prepared.train_sources,
            source_symbols,
            int(np.diff(prepared.train_sources.offsets).max()),
            prepared.train_targets,
        ),
        (prepared.targets, target_symbols, prepared.longest_target, prepared.targets),
    )
    rng = np.random.default_rng(0)

    def do_round() -> dict[str, float]:
        total = 0
        for model, (sources, symbols, width, targets) in list(zip(models, data, strict=True)) * steps:
            rows = rng.integers(len(sources), size=settings.batch_size)
            target_ids = _padded(targets.padded(rows, end=True), prepared.longest_target + 1)
            previous = one_hot(before(target_ids), target_symbols)
            inputs = one_hot(_padded(sources.padded(rows), width), symbols)
            model.train_on_batch([inputs, previous], one_hot(target_ids, target_symbols))
            total += int(np.count_nonzero(target_ids))
        return {"symbols": total}

    do_round()
    return partial(timed, do_round)


def one_hot(ids: Ids, symbols: int) -> Floats:
    """Ids [B, S] -> float32 [B, S, V]; padding is all zeros."""
    table = np.eye(symbols, dtype=np.float32)
    table[0] = 0.0
    return table[ids]


def before(target_ids: Ids) -> Ids:
    """The decoder's input: START and each row's symbols without END."""
    shifted = np.roll(target_ids, 1, axis=1)
    shifted[:, 0] = START
    return np.where(target_ids == 0, 0, shifted)


def _padded(ids: Ids, width: int) -> Ids:
    return np.pad(ids, ((0, 0), (0, width - ids.shape[1])))


def decoding(params: Params, folder: Path, weights: Path, beam: int | None, strings: int) -> DoRound:
    """Rounds of decoding a few strings, greedily or with a beam."""
    prepared = Prepared.open(folder)
    source_symbols, target_symbols = len(prepared.source_alphabet), len(prepared.target_alphabet)
    shared = SharedLayers(params.model, target_symbols)
    shared.models(source_symbols)
    network, sources = load_network(weights), sources_to_decode(prepared, strings)
    shared.load(arrays_of(network))
    decoder = PredictLoop(shared, source_symbols)
    rows = [sources.padded(np.array([row])) for row in range(len(sources))]

    def do_round() -> None:
        for row in rows:
            decoder.beam(row, network.sizes.longest_output, beam or 1)

    return decoding_rounds(do_round, len(rows))


class PredictLoop:
    """A model of the encoder, one of a step of the decoder, and the search around them."""

    def __init__(self, shared: SharedLayers, source_symbols: int) -> None:
        self._source_symbols, self._target_symbols = source_symbols, shared.target_symbols
        inputs = keras.Input((None, source_symbols))
        memory, states = shared.encode(inputs, 0)
        self._encoder = keras.Model(inputs, [memory, *states])
        previous = keras.Input((None, shared.target_symbols))
        given = keras.Input((None, shared.units))
        before = [keras.Input((shared.units,)) for _ in range(2)]
        probabilities, after = shared.decode(previous, given, before)
        self._decoder = keras.Model([previous, given, *before], [probabilities, *after])

    def beam(self, source_ids: Ids, longest: int, beam: int) -> Ids:
        """One string, int32 [1, S], without padding -> the best of `beam` candidates, int32 [T], END included."""
        memory, *states = self._encoder.predict(one_hot(source_ids, self._source_symbols), verbose=0)
        memory, *states = (np.repeat(array, beam, axis=0) for array in (memory, *states))
        totals = np.array([0.0] + [-np.inf] * (beam - 1), np.float32)  # at first there is one hypothesis
        written = np.full((beam, 1), START, np.int32)
        ended = np.zeros(beam, bool)
        while not ended.all() and written.shape[1] <= longest:
            steps, states = self._next(written[:, -1], memory, states)
            steps[ended] = -np.inf
            steps[ended, PADDING] = 0.0  # an ended hypothesis has one continuation, at no cost
            scores = (totals[:, None] + steps).ravel()
            best = np.argsort(-scores, kind="stable")[:beam]
            totals, (parents, symbols) = scores[best], np.divmod(best, self._target_symbols)
            written = np.concatenate([written[parents], symbols[:, None].astype(np.int32)], axis=1)
            ended = ended[parents] | (symbols == END)
            states = [state[parents] for state in states]
        return written[0, 1:]

    def _next(self, previous: Ids, memory: Floats, states: list[Floats]) -> tuple[Floats, list[Floats]]:
        """Log probabilities [K, V] of the symbol after each of `previous` [K], and the states after it."""
        inputs = one_hot(previous[:, None], self._target_symbols)
        probabilities, *states = self._decoder.predict([inputs, memory, *states], verbose=0)
        probabilities[:, 0, [special for special in range(SPECIALS) if special != END]] = 0.0
        with np.errstate(divide="ignore"):
            return np.log(probabilities[:, 0] / probabilities[:, 0].sum(axis=1, keepdims=True)), states
