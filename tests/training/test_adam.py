"""The optimizer against Keras' own."""

import numpy as np
import pytest

from pipeline.model.backend import keras, tf
from pipeline.training.loop import Adam


def after_twenty_steps(kind: type[keras.optimizers.Adam]) -> list[np.ndarray]:
    """Weights, and the optimizer's state."""
    variables = [keras.Variable(np.linspace(-1, 1, 12).reshape(3, 4).astype("float32")), keras.Variable([1.0, 2.0])]
    optimizer = kind(0.01)
    optimizer.build(variables)

    @tf.function
    def step(k: tf.Tensor, rate: tf.Tensor) -> None:
        optimizer.learning_rate.assign(rate)
        numbers = tf.range(12, dtype=tf.float32)
        optimizer.apply([tf.reshape(tf.sin(numbers + k), (3, 4)), tf.stack([k, 1e-3])], variables)

    for k in range(20):
        step(tf.constant(float(k)), tf.constant(0.02 / (k + 1)))
    return [variable.numpy() for variable in (*variables, *optimizer.variables)]


def test_it_moves_weights_as_that_of_keras_and_keeps_the_same_state() -> None:
    for theirs, ours in zip(after_twenty_steps(keras.optimizers.Adam), after_twenty_steps(Adam), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=5e-5, atol=1e-7)  # it takes 1 - beta_2 in float32


def test_it_says_that_it_has_no_amsgrad() -> None:
    variable = keras.Variable([1.0])
    with pytest.raises(NotImplementedError, match="amsgrad"):
        Adam(0.1, amsgrad=True).apply([tf.constant([1.0])], [variable])
