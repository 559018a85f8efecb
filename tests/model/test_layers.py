"""Tied dense layers, dropout, stepped recurrent layers, attention."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.config.params import Cell
from pipeline.model.backend import keras, tf
from pipeline.model.layers import Attention, Dropout, RecurrentStack, TiedDense


def tied_autoencoder(seed: int = 0) -> keras.Model:
    """4 -> 2 -> 4, the second kernel the transpose of the first."""
    keras.utils.set_random_seed(seed)
    encoder = keras.layers.Dense(2, name="encoder")
    inputs = keras.Input((4,))
    return keras.Model(inputs, TiedDense(encoder, name="decoder")(encoder(inputs)))


def patterns() -> np.ndarray:
    """Points on a plane through the origin of R^4: two units suffice to copy them."""
    rng = np.random.default_rng(0)
    return (rng.normal(size=(64, 2)) @ np.linalg.qr(rng.normal(size=(4, 2)))[0].T).astype("float32")


def test_a_tied_autoencoder_counts_the_shared_kernel_once() -> None:
    model = tied_autoencoder()
    assert model.count_params() == 4 * 2 + 2 + 4
    assert sum(int(np.prod(variable.shape)) for variable in model.trainable_variables) == 14
    assert model.non_trainable_variables == []


def test_a_tied_layer_multiplies_by_the_transpose() -> None:
    model = tied_autoencoder()
    kernel, bias = model.get_layer("encoder").get_weights()
    own_bias = np.array([1, 2, 3, 4], dtype="float32")
    model.get_layer("decoder").set_weights([own_bias])
    x = patterns()[:3]
    np.testing.assert_allclose(model(x), (x @ kernel + bias) @ kernel.T + own_bias, rtol=1e-5, atol=1e-6)


def trained_losses(eager: bool) -> list[float]:
    model = tied_autoencoder()
    model.compile(keras.optimizers.Adam(0.02), loss="mse", run_eagerly=eager)
    return [
        float(loss) for loss in model.fit(patterns(), patterns(), epochs=150, batch_size=64, verbose=0).history["loss"]
    ]


def test_a_tied_layer_trains_alike_in_eager_and_compiled_mode() -> None:
    eager, compiled = trained_losses(True), trained_losses(False)
    np.testing.assert_allclose(eager, compiled, rtol=1e-3, atol=1e-6)
    assert eager[-1] < 0.01 * eager[0]  # a kernel transposed once, when built, stays far above


def test_the_kernel_gets_the_gradient_of_both_its_uses() -> None:
    model, x = tied_autoencoder(), patterns()
    kernel = model.get_layer("encoder").kernel
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(x) ** 2)
    gradient = tape.gradient(loss, kernel.value).numpy()
    difference = 1e-2
    for row, column in [(0, 0), (3, 1)]:
        moved = []
        for sign in (1, -1):
            values = kernel.numpy().copy()
            values[row, column] += sign * difference
            original = kernel.numpy()
            kernel.assign(values)
            moved.append(float(tf.reduce_sum(model(x) ** 2)))
            kernel.assign(original)
        assert gradient[row, column] == pytest.approx((moved[0] - moved[1]) / (2 * difference), rel=2e-2)


def test_the_tie_survives_save_and_load(tmp_path: Path) -> None:
    model = tied_autoencoder()
    model.save(tmp_path / "tied.keras")
    loaded = keras.models.load_model(tmp_path / "tied.keras")
    np.testing.assert_array_equal(model(patterns()), loaded(patterns()))
    assert loaded.get_layer("decoder").tied_to is loaded.get_layer("encoder")
    assert loaded.count_params() == 14


def test_the_tie_survives_get_config() -> None:
    model = tied_autoencoder()
    copy = keras.Model.from_config(model.get_config())
    assert copy.get_layer("decoder").tied_to is copy.get_layer("encoder")
    assert copy.get_layer("encoder") is not model.get_layer("encoder")
    assert copy.count_params() == 14
    copy.set_weights(model.get_weights())
    np.testing.assert_array_equal(model(patterns()), copy(patterns()))


def test_a_tied_layer_writes_symbols_of_an_embedding() -> None:
    table = keras.layers.Embedding(5, 3)
    table.build((None, None))
    x = tf.random.normal([2, 7, 3])
    np.testing.assert_allclose(TiedDense(table)(x), x @ tf.transpose(table.embeddings.value), rtol=1e-5, atol=1e-6)


def test_a_tied_layer_refuses_what_it_cannot_tie_to() -> None:
    with pytest.raises(TypeError, match="not to LSTM"):
        TiedDense(keras.layers.LSTM(3))
    with pytest.raises(ValueError, match="call that one first"):
        TiedDense(keras.layers.Dense(3)).build((None, 3))
    table = keras.layers.Embedding(5, 3)
    table.build((None, None))
    with pytest.raises(ValueError, match="inputs of width 3"):
        TiedDense(table).build((None, 4))


@pytest.mark.parametrize("cell", list(Cell))
def test_stepping_a_stack_equals_running_it(cell: Cell) -> None:
    stack, inputs = RecurrentStack(cell, 6, 2, 0.5), tf.random.normal([3, 5, 4])
    outputs, last = stack(inputs)
    states, stepped = stack.zero_states(3), []
    for step in range(5):
        output, states = stack.step(inputs[:, step], states)
        stepped.append(output)
    np.testing.assert_allclose(tf.stack(stepped, axis=1), outputs, atol=1e-6)
    for one, two in zip(tf.nest.flatten(states), tf.nest.flatten(last), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-6)


def test_a_bidirectional_stack_reads_back_from_the_last_symbol_that_is_there() -> None:
    stack = RecurrentStack(Cell.LSTM, 6, 1, 0.0, bidirectional=True)
    inputs = tf.random.normal([1, 5, 4])
    outputs, states = stack(inputs[:, :3])
    padded, padded_states = stack(inputs, present=tf.constant([[True, True, True, False, False]]))
    np.testing.assert_allclose(padded[:, :3], outputs, atol=1e-6)
    np.testing.assert_allclose(padded_states[0][0], states[0][0], atol=1e-6)


def test_attention_sums_to_one_over_what_is_there() -> None:
    attention = Attention(6)
    states, memory = tf.random.normal([2, 3, 6]), tf.random.normal([2, 4, 6])
    present = tf.constant([[True, True, False, False], [True, True, True, True]])
    attention(states, memory, present)
    weights = attention.weights_of(states, memory, present).numpy()
    np.testing.assert_allclose(weights.sum(axis=-1), 1, rtol=1e-6)
    assert (weights[0, :, 2:] == 0).all()


@pytest.mark.parametrize("size", [(400, 501), (3, 7)])  # an even and an odd number of numbers
def test_dropout_zeroes_its_share_and_scales_the_rest_to_the_same_mean(size: tuple[int, int]) -> None:
    keras.utils.set_random_seed(0)
    layer, x = Dropout(0.3), tf.ones(size)
    found = layer(x, training=True).numpy()
    assert set(np.unique(found)) == {0.0, np.float32(2**16 / (2**16 - round(0.3 * 2**16)))}
    if size[0] > 100:
        assert found.mean() == pytest.approx(1.0, abs=0.01)
        assert np.corrcoef(found[:-1].ravel(), found[1:].ravel())[0, 1] == pytest.approx(0.0, abs=0.01)
        assert np.corrcoef(found[:, :-1].ravel(), found[:, 1:].ravel())[0, 1] == pytest.approx(0.0, abs=0.01)


def test_dropout_differs_from_call_to_call_and_not_from_run_to_run() -> None:
    runs = []
    for _ in range(2):
        keras.utils.set_random_seed(7)
        layer = Dropout(0.5)
        compiled = tf.function(lambda x, layer=layer: layer(x, training=True))
        runs.append([compiled(tf.ones((4, 50))).numpy() for _ in range(2)])
    np.testing.assert_array_equal(runs[0], runs[1])
    assert not np.array_equal(runs[0][0], runs[0][1])


@pytest.mark.parametrize(("rate", "training"), [(0.5, False), (0.0, True)])
def test_without_training_or_rate_dropout_changes_nothing(rate: float, training: bool) -> None:
    x = tf.random.normal((3, 4))
    np.testing.assert_array_equal(Dropout(rate)(x, training=training), x)
