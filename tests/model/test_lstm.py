"""The fast LSTM against Keras': outputs, states, gradients, weights."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.model import lstm
from pipeline.model.backend import keras, tf

RETURNS = {"return_sequences": True, "return_state": True}


def layer_pair(bidirectional: bool, H: int, D: int, **settings: Any) -> tuple[keras.layers.Layer, keras.layers.Layer]:
    """Keras' layer and ours with the same weights."""
    keras.utils.set_random_seed(0)
    settings = {**RETURNS, "bias_initializer": "normal", "unit_forget_bias": False, **settings}
    if bidirectional:
        theirs = keras.layers.Bidirectional(keras.layers.LSTM(H, **settings))
        ours = lstm.Bidirectional(keras.layers.LSTM(H, **settings))
    else:
        theirs, ours = keras.layers.LSTM(H, **settings), lstm.LSTM(H, **settings)
    for layer in (theirs, ours):
        layer.build((None, None, D))
    ours.set_weights(theirs.get_weights())
    return theirs, ours


def numbers(*shape: int, seed: int = 0) -> tf.Tensor:
    return tf.constant(np.random.default_rng(seed).normal(size=shape), tf.float32)


def outcome(
    layer: keras.layers.Layer, x: tf.Tensor, present: tf.Tensor | None, first: list[tf.Tensor], compiled: bool
) -> list[np.ndarray]:
    """Outputs, last states, then gradients of inputs, weights and first states, all of them used in the loss."""

    def run(x: tf.Tensor, *first: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch([x, *first])
            outputs, *last = layer(x, mask=present, initial_state=list(first) or None)
            loss = sum(
                tf.reduce_sum(result * numbers(*result.shape, seed=n)) for n, result in enumerate([outputs, *last])
            )
        return [outputs, *last, *tape.gradient(loss, [x, *[weight.value for weight in layer.weights], *first])]

    return [result.numpy() for result in (tf.function(run) if compiled else run)(x, *first)]


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("with_states", [False, True])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(("B", "S", "D", "H"), [(3, 1, 4, 5), (5, 7, 4, 6), (16, 12, 32, 64)])
def test_it_gives_the_results_and_gradients_of_keras(
    B: int, S: int, D: int, H: int, masked: bool, with_states: bool, bidirectional: bool, compiled: bool
) -> None:
    lengths = np.random.default_rng(1).integers(0, S + 1, B)  # an empty string among them
    lengths[:2] = S, 0
    present = tf.constant(np.arange(S) < lengths[:, None]) if masked else None
    first = [numbers(B, H, seed=n) for n in range(4 if bidirectional else 2)] if with_states else []
    theirs, ours = (
        outcome(layer, numbers(B, S, D), present, first, compiled) for layer in layer_pair(bidirectional, H, D)
    )
    for one, two in zip(theirs, ours, strict=True):
        np.testing.assert_allclose(two, one, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_one_compiled_function_serves_all_lengths(bidirectional: bool) -> None:
    theirs, ours = layer_pair(bidirectional, 6, 4)
    compiled = tf.function(lambda x: ours(x)[0], input_signature=[tf.TensorSpec([None, None, 4])])
    for B, S in [(2, 3), (5, 1), (1, 9)]:
        np.testing.assert_allclose(compiled(numbers(B, S, 4)), theirs(numbers(B, S, 4))[0], atol=1e-6)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_padding_changes_no_gradient(bidirectional: bool) -> None:
    _, ours = layer_pair(bidirectional, 6, 4)
    x = numbers(3, 5, 4)
    padded = tf.concat([x, 100 * numbers(3, 2, 4)], axis=1)
    gradients = []
    for inputs, present in [(x, None), (padded, tf.sequence_mask([5, 5, 5], 7))]:
        with tf.GradientTape() as tape:
            outputs, *last = ours(inputs, mask=present)
            loss = tf.add_n([tf.reduce_sum(outputs[:, :5] ** 2), *[tf.reduce_sum(state**3) for state in last]])
        gradients.append(tape.gradient(loss, [weight.value for weight in ours.weights]))
    for one, two in zip(*gradients, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("saved", [0, 1])
def test_weights_load_from_keras_and_back(bidirectional: bool, saved: int, tmp_path: Path) -> None:
    class Holder(keras.Model):
        def __init__(self, layer: keras.layers.Layer) -> None:
            super().__init__()
            self.held = [layer]  # in a list Keras saves layers under the names of their classes

        def call(self, x: tf.Tensor) -> tf.Tensor:
            return self.held[0](x)[0]

    holders = [Holder(layer) for layer in layer_pair(bidirectional, 6, 4)]
    x = numbers(2, 3, 4)
    for holder in holders:
        holder(x)
    one, two = holders[saved], holders[1 - saved]
    two.set_weights([weight + 1 for weight in two.get_weights()])
    one.save_weights(tmp_path / "held.weights.h5")
    two.load_weights(tmp_path / "held.weights.h5")
    np.testing.assert_allclose(one(x), two(x), atol=1e-6)
    names = [[weight.path.split("/", 1)[1] for weight in holder.weights] for holder in holders]
    assert [name.split("/")[-2:] for name in names[0]] == [name.split("/")[-2:] for name in names[1]]


@pytest.mark.parametrize(
    "settings", [{"activation": "relu"}, {"use_bias": False}, {"go_backwards": True}, {"recurrent_activation": "tanh"}]
)
def test_what_it_does_not_cover_keras_computes(settings: dict[str, Any]) -> None:
    theirs, ours = layer_pair(False, 6, 4, **settings)
    np.testing.assert_allclose(ours(numbers(2, 3, 4))[0], theirs(numbers(2, 3, 4))[0], atol=1e-6)


def test_only_the_last_output_where_no_sequence_is_asked_for() -> None:
    theirs, ours = layer_pair(False, 6, 4, return_sequences=False, return_state=False)
    present = tf.sequence_mask([2, 3], 3)
    np.testing.assert_allclose(ours(numbers(2, 3, 4), mask=present), theirs(numbers(2, 3, 4), mask=present), atol=1e-6)


def test_it_learns_to_remember_the_first_symbol() -> None:
    keras.utils.set_random_seed(0)
    ids = np.random.default_rng(0).integers(0, 4, (256, 6))
    model = keras.Sequential([keras.layers.Embedding(4, 8), lstm.LSTM(16), keras.layers.Dense(4)])
    model.compile(keras.optimizers.Adam(0.02), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(ids, ids[:, 0], epochs=40, batch_size=64, verbose=0)
    assert (model(ids).numpy().argmax(axis=1) == ids[:, 0]).mean() > 0.95
