"""Tandem training as a Keras user writes it: two compiled models that share the decoder's layers.

Inputs and targets are one-hot and padded to the longest string of the data, `Masking` leaves padding out, and
`train_on_batch` is called on either model in turn. The architecture is that of `pipeline.model.network`, but for the
tied table: one-hot vectors go through dense layers.
"""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.timing import DoRound, timed
from benchmarks.weights import Arrays
from pipeline.config.params import Model, Params
from pipeline.data.alphabet import START
from pipeline.data.prepared import Prepared
from pipeline.data.store import StringStore
from pipeline.model.backend import keras

Tensors = list[Any]


class SharedLayers:
    """The layers of encoder A, encoder B and the decoder, to build models from."""

    def __init__(self, model: Model, target_symbols: int) -> None:
        layers, units, self.units = keras.layers, model.units, model.units
        self.dropout = model.dropout
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

    def joined(self, symbols: int, target_symbols: int, side: int) -> keras.Model:
        """Encoder A or B and the decoder: [one-hot input, one-hot symbols before] -> probabilities."""
        inputs, previous = keras.Input((None, symbols)), keras.Input((None, target_symbols))
        return keras.Model([inputs, previous], self.decode(previous, *self.encode(inputs, side))[0])

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
    prepared, size = Prepared.open(folder), params.training.batch_size
    keras.utils.set_random_seed(0)
    source_symbols, target_symbols = len(prepared.source_alphabet), len(prepared.target_alphabet)
    shared = SharedLayers(params.model, target_symbols)
    predictor = _compiled(shared.joined(source_symbols, target_symbols, 0), params)
    autoencoder = _compiled(shared.joined(target_symbols, target_symbols, 1), params)
    rng = np.random.default_rng(0)

    def step(model: keras.Model, sources: StringStore, symbols: int, width: int, targets: StringStore) -> int:
        rows = rng.integers(len(sources), size=size)
        target_ids = _padded(targets.padded(rows, end=True), prepared.longest_target + 1)
        previous = one_hot(before(target_ids), target_symbols)
        inputs = one_hot(_padded(sources.padded(rows), width), symbols)
        model.train_on_batch([inputs, previous], one_hot(target_ids, target_symbols))
        return int(np.count_nonzero(target_ids))

    def do_round() -> dict[str, float]:
        total = 0
        for _ in range(steps):
            train_sources, longest = prepared.train_sources, prepared.longest_source
            total += step(predictor, train_sources, source_symbols, longest, prepared.train_targets)
            total += step(autoencoder, prepared.targets, target_symbols, prepared.longest_target, prepared.targets)
        return {"symbols": total}

    do_round()
    return partial(timed, do_round)


def one_hot(ids: NDArray[np.int32], symbols: int) -> NDArray[np.float32]:
    """Ids [B, S] -> float32 [B, S, V]; padding is all zeros."""
    table = np.eye(symbols, dtype=np.float32)
    table[0] = 0.0
    return table[ids]


def before(target_ids: NDArray[np.int32]) -> NDArray[np.int32]:
    """What the decoder reads: START and each row's symbols without END."""
    shifted = np.roll(target_ids, 1, axis=1)
    shifted[:, 0] = START
    return np.where(target_ids == 0, 0, shifted)


def _padded(ids: NDArray[np.int32], width: int) -> NDArray[np.int32]:
    return np.pad(ids, ((0, 0), (0, width - ids.shape[1])))


def _compiled(model: keras.Model, params: Params) -> keras.Model:
    settings = params.training
    optimizer = keras.optimizers.Adam(settings.learning_rate, global_clipnorm=settings.clip_norm)
    model.compile(optimizer, "categorical_crossentropy")
    return model
