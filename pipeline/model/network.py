"""Encoder A, encoder B, the one decoder, and the two models joined from them.

`predictor` is encoder A + decoder (A -> B), `autoencoder` is encoder B + decoder (B -> B). Both hold the same decoder
object, so a step on either moves it. How the weights are trained is left to `training`, how strings are written with
them to `search`.
"""

import json
import os
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from pydantic import TypeAdapter

from pipeline.config.params import Bridge, DecoderKind, Model
from pipeline.data.alphabet import PADDING, START
from pipeline.errors import UserError
from pipeline.model.backend import keras, tf
from pipeline.model.files import UNREADABLE, WEIGHTS, Sizes, read_architecture, write_architecture
from pipeline.model.layers import Attention, Dropout, RecurrentStack, States, TiedDense
from pipeline.model.monotonic import Reader, closed

ROOM = 2**18  # bytes that a file of weights takes at most besides them

Encoded = dict[str, tf.Tensor]


class Encoder(keras.Model):
    """Symbol ids -> what the bridge carries: masked input, per-symbol dense projection, recurrent layers.

    The projection of a one-hot vector by a dense layer is a row of its kernel; it is looked up, not multiplied.
    projection: the lookup table, made here unless another part lends its own.
    """

    def __init__(
        self, symbols: int, model: Model, projection: keras.layers.Embedding | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.bridge = model.bridge
        self.projection = projection or symbol_table(symbols, model, "projection")
        self.recurrent = RecurrentStack(
            model.cell, model.units, model.layers, model.dropout, model.bidirectional, name="recurrent"
        )
        # A repeating decoder reads one dense embedding; an autoregressive one starts from the last states themselves.
        repeats = model.decoder is DecoderKind.REPEAT
        self.embedding = keras.layers.Dense(model.embedding, name="embedding") if repeats else None

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make the weights for ids [B, S]. Keras would find the shapes by running the whole, a second of tracing."""
        self.recurrent.build((*input_shape, self.projection.output_dim))
        if self.embedding is not None:
            self.embedding.build((None, self.recurrent.units))

    def call(self, ids: tf.Tensor, training: bool = False) -> Encoded:
        """ids int32 [B, S], 0 is padding, which never changes what is encoded.

        Gives `vector` float32 [B, E] (the dense embedding, or the last states of all layers side by side), and for the
        other bridges `memory` float32 [B, S, H], the states of the last layer, with `present` bool [B, S]. A monotonic
        bridge reads strings between START and END: S is larger by 2 then.
        """
        if self.bridge is Bridge.MONOTONIC:
            ids = closed(ids)
        present = tf.not_equal(ids, PADDING)
        memory, states = self.recurrent(self.projection(ids), present=present, training=training)
        if self.embedding is not None:
            return {"vector": self.embedding(states[-1][0])}
        vector = tf.concat([tensor for layer in states for tensor in layer], axis=1)
        if self.bridge is Bridge.VECTOR:
            return {"vector": vector}
        return {"vector": vector, "memory": memory, "present": present}


class Decoder(keras.Model):
    """What the bridge carries -> logits over target symbols.

    `repeat`: every step reads the embedding. `autoregressive`: every step reads the symbol before it (in training the
    right one: teacher forcing), and the first states are the encoder's last ones. With attention the outputs attend to
    all encoder states. Two per-symbol dense layers close; with tied weights the second is the transpose of `symbols`,
    the table of target symbols, which then serves encoder B as well and belongs to the decoder.
    """

    def __init__(self, symbols: int, model: Model, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True
        self.autoregressive = model.decoder is DecoderKind.AUTOREGRESSIVE
        table = symbol_table(symbols, model, "symbols")
        self.symbols: Any = table if self.autoregressive or model.tie_weights else None
        self.recurrent = RecurrentStack(model.cell, model.units, model.layers, model.dropout, name="recurrent")
        self.attention = Attention(model.units, name="attention") if model.bridge is Bridge.ATTENTION else None
        self.reader = Reader(model.projection, model.dropout) if model.bridge is Bridge.MONOTONIC else None
        self.dropout = Dropout(model.dropout, name="dropout")
        self.dense = keras.layers.Dense(model.projection, name="dense")
        if model.tie_weights:
            self.output_symbols: Any = TiedDense(table, name="output_symbols")
        else:
            self.output_symbols = keras.layers.Dense(symbols, name="output_symbols")
        self._input_width = model.projection if self.autoregressive else model.embedding

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make the weights for target ids [B, T]."""
        states = (*input_shape, self.recurrent.units)
        self.recurrent.build((*input_shape, self._input_width))
        if self.attention is not None:
            self.attention.build(states)
        if self.reader is not None:
            self.reader.build(states)
        else:
            self.dropout.build(states)
            self.dense.build(states)
        self.output_symbols.build((*input_shape, self.dense.units))

    def call(self, encoded: Encoded, target_ids: tf.Tensor, training: bool = False) -> tf.Tensor:
        """target_ids int32 [B, T] closed by END -> logits float32 [B, T, V]; those of step t see only symbols before t.

        A repeating decoder uses nothing of the target but its length.
        """
        if self.autoregressive:
            previous = tf.pad(target_ids[:, :-1], [[0, 0], [1, 0]], constant_values=START)
            inputs = self.symbols(previous)
        else:
            inputs = tf.repeat(encoded["vector"][:, None, :], tf.shape(target_ids)[1], axis=1)
        start = self.start(encoded) if self.reader is None else None  # it is for steps, and large
        outputs, _ = self.recurrent(inputs, start=start, training=training)
        if self.reader is not None:
            return self.reader(outputs, encoded, target_ids, output=self.output_symbols, training=training)
        return self._logits(outputs, encoded, training)

    def start(self, encoded: Encoded) -> States:
        """The states before the first symbol."""
        N = tf.shape(encoded["vector"])[0]
        zeros = self.recurrent.zero_states(N)
        if self.reader is not None:
            hypotheses = N // tf.shape(encoded["memory"])[0]
            return [*zeros, self.reader.start(encoded, hypotheses, self.symbols.input_dim)]
        if not self.autoregressive:
            return zeros
        return tf.nest.pack_sequence_as(zeros, tf.split(encoded["vector"], sum(map(len, zeros)), axis=1))

    def step(self, encoded: Encoded, previous_ids: tf.Tensor, states: States) -> tuple[tf.Tensor, States]:
        """One symbol further: previous_ids int32 [N] -> logits float32 [N, V] and the states after it.

        N is a multiple of the number of encoded strings: the hypotheses of one string, side by side, attend to the
        same memory. `encoded["vector"]` has a row for each hypothesis.
        """
        inputs = self.symbols(previous_ids) if self.autoregressive else encoded["vector"]
        outputs, after = self.recurrent.step(inputs, states[: len(self.recurrent.recurrent)])
        if self.reader is not None:
            logits, at = self.reader.step(outputs, encoded, previous_ids, states[-1], self.output_symbols)
            return logits, [*after, at]
        strings = tf.shape(encoded.get("memory", outputs))[0]
        logits = self._logits(tf.reshape(outputs, [strings, -1, self.recurrent.units]), encoded, training=False)
        return tf.reshape(logits, [-1, logits.shape[-1]]), after

    def _logits(self, outputs: tf.Tensor, encoded: Encoded, training: bool) -> tf.Tensor:
        if self.attention is not None:
            outputs = self.attention(outputs, encoded["memory"], encoded["present"])
        return self.output_symbols(self.dense(self.dropout(outputs, training=training)))


def symbol_table(symbols: int, model: Model, name: str) -> keras.layers.Embedding:
    """The dense projection of each symbol, of about unit length at the start: tied, it makes logits of size one."""
    start = keras.initializers.RandomNormal(stddev=model.projection**-0.5)
    table = keras.layers.Embedding(symbols, model.projection, embeddings_initializer=start, name=name)
    table.build((None, None))
    return table


class Joined(keras.Model):
    """An encoder and a decoder as one model: (source_ids, target_ids) -> logits float32 [B, T, V]."""

    def __init__(self, encoder: Encoder, decoder: Decoder, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.encoder = encoder
        self.decoder = decoder

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor], training: bool = False) -> tf.Tensor:
        """source_ids int32 [B, S], target_ids int32 [B, T] -> logits float32 [B, T, V]."""
        source_ids, target_ids = inputs
        return self.decoder(self.encoder(source_ids, training=training), target_ids, training=training)


@keras.saving.register_keras_serializable(package="tandem")
class Network(keras.Model):
    """Encoder A, encoder B and the decoder, built, and the two models joined from them.

    Weights depend on `keras.utils.set_random_seed` alone. Saved as one whole, the parts share after loading as before.
    """

    def __init__(self, model: Model, sizes: Sizes, name: str = "network", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        if model.bridge is Bridge.AUTO:
            raise ValueError("the data decides which bridge `auto` is: name it")
        self.architecture = model
        self.sizes = sizes
        self.encoder_a = Encoder(sizes.source_symbols, model, name="encoder_a")
        self.decoder = Decoder(sizes.target_symbols, model, name="decoder")
        lent = self.decoder.symbols if model.tie_weights else None
        self.encoder_b = Encoder(sizes.target_symbols, model, lent, name="encoder_b")
        for part in (self.encoder_a, self.decoder, self.encoder_b):
            part.build((None, None))
        self.built = True

    @cached_property
    def predictor(self) -> Joined:
        """Encoder A + decoder: A -> B."""
        return Joined(self.encoder_a, self.decoder, name="predictor")

    @cached_property
    def autoencoder(self) -> Joined:
        """Encoder B + decoder: B -> B."""
        return Joined(self.encoder_b, self.decoder, name="autoencoder")

    def get_config(self) -> dict[str, Any]:
        """What `from_config` rebuilds the architecture from."""
        model = TypeAdapter(Model).dump_python(self.architecture, mode="json")
        return {"model": model, "sizes": vars(self.sizes).copy()}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "Network":
        """Rebuild the architecture; weights are new."""
        return cls(TypeAdapter(Model).validate_json(json.dumps(config["model"])), Sizes(**config["sizes"]))


def save_network(network: Network, folder: Path) -> None:
    """Write architecture and weights into `folder`, the same bytes for the same weights; raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryFile(dir=folder) as file:  # of a full disk HDF5 would tell late, and in many tracebacks
        file.write(bytes(5 * network.count_params() + ROOM))
        file.flush()
        os.fsync(file.fileno())
    network.save_weights(folder / WEIGHTS)
    write_architecture(folder, network.get_config())


def load_network(folder: Path, into: Network | None = None) -> Network:
    """Read what `save_network` wrote; raises `UserError` if it is missing or damaged.

    into: a network that is no longer needed. If its architecture is the same, it gets the weights and is returned, and
    whatever was compiled for it still serves.
    """
    try:
        config = read_architecture(folder)
        network = into if into is not None and into.get_config() == config else Network.from_config(config)
        network.load_weights(folder / WEIGHTS)
    except UNREADABLE as error:
        raise UserError(f"{folder} holds no trained network ({error}): run `dvc repro`") from error
    return network
