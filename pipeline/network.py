"""Encoder A, encoder B, the one decoder, and the two models joined from them.

`predictor` is encoder A + decoder (A -> B), `autoencoder` is encoder B + decoder (B -> B). Both hold the same decoder
object, so a step on either moves it. How the weights are trained is left to `training`, how strings are written with
them to `search`.
"""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from pipeline.alphabet import PADDING
from pipeline.backend import keras, tf
from pipeline.config import Model
from pipeline.errors import UserError
from pipeline.layers import RecurrentStack, States

WEIGHTS = "network.weights.h5"
ARCHITECTURE = "network.json"


@dataclass(frozen=True)
class Sizes:
    """What the data fixes: source and target symbols with the special ones (V), and the longest output in symbols."""

    source_symbols: int
    target_symbols: int
    longest_output: int


class Encoder(keras.Model):
    """Symbol ids -> embedding: masked input, per-symbol dense projection, recurrent layers, dense embedding.

    The projection of a one-hot vector by a dense layer is a row of its kernel; it is looked up, not multiplied.
    """

    def __init__(self, symbols: int, model: Model, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.projection = keras.layers.Embedding(symbols, model.projection, name="projection")
        self.recurrent = RecurrentStack(model.cell, model.units, model.layers, model.dropout, name="recurrent")
        self.embedding = keras.layers.Dense(model.embedding, name="embedding")

    def call(self, ids: tf.Tensor, training: bool = False) -> tf.Tensor:
        """ids int32 [B, S], 0 is padding -> embedding float32 [B, E]; padding never changes it."""
        _, states = self.recurrent(self.projection(ids), mask=tf.not_equal(ids, PADDING), training=training)
        return self.embedding(states[-1][0])


class Decoder(keras.Model):
    """Embedding -> logits over target symbols: repeated embedding, recurrent layers, two per-symbol dense layers."""

    def __init__(self, symbols: int, model: Model, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.recurrent = RecurrentStack(model.cell, model.units, model.layers, model.dropout, name="recurrent")
        self.dense = keras.layers.Dense(model.projection, name="dense")
        self.output_symbols = keras.layers.Dense(symbols, name="output_symbols")

    def call(self, encoded: tf.Tensor, target_ids: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Encoded float32 [B, E], target_ids int32 [B, T] -> logits float32 [B, T, V] of the symbol at each step.

        Of the target only its length is used: this decoder never sees what it wrote.
        """
        repeated = tf.repeat(encoded[:, None, :], tf.shape(target_ids)[1], axis=1)
        outputs, _ = self.recurrent(repeated, training=training)
        return self.output_symbols(self.dense(outputs))

    def start(self, encoded: tf.Tensor) -> States:
        """The states before the first symbol."""
        return self.recurrent.zero_states(tf.shape(encoded)[0])

    def step(self, encoded: tf.Tensor, previous_ids: tf.Tensor, states: States) -> tuple[tf.Tensor, States]:
        """One symbol further: previous_ids int32 [B] -> logits float32 [B, V] and the states after it."""
        outputs, states = self.recurrent.step(encoded, states)
        return self.output_symbols(self.dense(outputs)), states


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
    """The three parts, built; and the two models joined from them.

    Weights depend on `keras.utils.set_random_seed` alone. Saved as one whole, the parts share after loading as before.
    """

    def __init__(self, model: Model, sizes: Sizes, name: str = "network", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.architecture = model
        self.sizes = sizes
        self.encoder_a = Encoder(sizes.source_symbols, model, name="encoder_a")
        self.encoder_b = Encoder(sizes.target_symbols, model, name="encoder_b")
        self.decoder = Decoder(sizes.target_symbols, model, name="decoder")
        one = tf.ones((1, 1), tf.int32)
        self((one, one, one))

    @cached_property
    def predictor(self) -> Joined:
        """Encoder A + decoder: A -> B."""
        return Joined(self.encoder_a, self.decoder, name="predictor")

    @cached_property
    def autoencoder(self) -> Joined:
        """Encoder B + decoder: B -> B."""
        return Joined(self.encoder_b, self.decoder, name="autoencoder")

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor, tf.Tensor], training: bool = False) -> tuple[tf.Tensor, ...]:
        """source_ids, clean or corrupted target ids, target_ids -> logits of predictor and autoencoder."""
        source_ids, autoencoder_ids, target_ids = inputs
        return (
            self.decoder(self.encoder_a(source_ids, training=training), target_ids, training=training),
            self.decoder(self.encoder_b(autoencoder_ids, training=training), target_ids, training=training),
        )

    def get_config(self) -> dict[str, Any]:
        """What `from_config` rebuilds the architecture from."""
        model = TypeAdapter(Model).dump_python(self.architecture, mode="json")
        return {"model": model, "sizes": vars(self.sizes).copy()}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "Network":
        """Rebuild the architecture; weights are new."""
        model = TypeAdapter(Model).validate_json(json.dumps(config["model"]))
        return cls(model, Sizes(**config["sizes"]))


def save_network(network: Network, folder: Path) -> None:
    """Write architecture and weights into `folder`, the same bytes for the same weights."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ARCHITECTURE).write_text(json.dumps(network.get_config(), indent=1) + "\n", encoding="utf-8")
    network.save_weights(folder / WEIGHTS)


def load_network(folder: Path) -> Network:
    """Read what `save_network` wrote; raises `UserError` where it is missing or damaged."""
    try:
        network = Network.from_config(json.loads((folder / ARCHITECTURE).read_text(encoding="utf-8")))
        network.load_weights(folder / WEIGHTS)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{folder} holds no trained network ({error}): run `dvc repro`") from error
    return network
