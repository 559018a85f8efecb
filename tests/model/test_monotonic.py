"""The monotonic bridge: its sum over alignments is exact, and steps give what the whole gives."""

from itertools import combinations_with_replacement

import numpy as np
import pytest

from pipeline.data.alphabet import END, START
from pipeline.model.backend import keras, tf
from pipeline.model.monotonic import STEP, closed
from pipeline.model.network import Network, Sizes
from pipeline.model.search import beam_search, forced_scoring, greedy_search, symbol_log_probabilities
from tests.conftest import small_model


@pytest.fixture(scope="module")
def network() -> Network:
    """An untrained network with weights scaled up, so that its probabilities are far from even."""
    keras.utils.set_random_seed(0)
    network = Network(small_model(bridge="monotonic"), Sizes(source_symbols=11, target_symbols=9, longest_output=12))
    network.set_weights([2 * weight for weight in network.get_weights()])
    return network


def ids(*rows: list[int]) -> tf.Tensor:
    width = max(map(len, rows))
    return tf.constant([row + [0] * (width - len(row)) for row in rows], tf.int32)


def test_strings_are_closed_at_both_ends() -> None:
    assert closed(ids([4, 5, 6], [7], [])).numpy().tolist() == [[1, 4, 5, 6, 2], [1, 7, 2, 0, 0], [1, 2, 0, 0, 0]]


def sum_over_alignments(network: Network, source: list[int], target: list[int]) -> float:
    """Log probability of a target, as a sum over all places, one for each symbol, that do not go back."""
    encoded, decoder = network.encoder_a(ids(source)), network.decoder
    assert decoder.reader is not None
    inputs = decoder.symbols(ids([START, *target[:-1]]))
    outputs, _ = decoder.recurrent(inputs, start=decoder.recurrent.zero_states(1))
    (logs,) = decoder.reader._logs(outputs, encoded["memory"], encoded["present"], decoder.output_symbols).numpy()
    total = 0.0
    for places in combinations_with_replacement(range(len(source) + 2), len(target)):
        log, at = 0.0, 0
        for step, (place, symbol) in enumerate(zip(places, target, strict=True)):
            log += logs[step, at:place, STEP].sum() + logs[step, place, symbol]
            at = place
        total += np.exp(log)
    return float(np.log(total))


@pytest.mark.parametrize("source", [[4, 5, 6], [7], [8, 9, 10, 4]])
@pytest.mark.parametrize("target", [[4, 5, END], [6, END], [4, 4, 5, 6, END]])
def test_a_score_is_the_sum_over_all_alignments(network: Network, source: list[int], target: list[int]) -> None:
    score = forced_scoring([network.predictor])(ids(source), ids(target)).numpy()
    assert score == pytest.approx([sum_over_alignments(network, source, target)], rel=1e-5)


def test_probabilities_of_the_next_symbol_sum_to_one(network: Network) -> None:
    logits = network.predictor((ids([4, 5, 6], [7]), ids([4, 5, 2], [6, 2])))
    sums = tf.reduce_sum(tf.exp(logits), axis=-1).numpy()
    assert sums == pytest.approx(np.ones((2, 3)), abs=1e-5)
    np.testing.assert_allclose(symbol_log_probabilities(logits)[:, :2, 4:], logits[:, :2, 4:], atol=1e-5)


def test_steps_give_what_the_whole_gives(network: Network) -> None:
    sources, targets = ids([4, 5, 6], [7, 8]), ids([4, 5, 7, 2], [6, 6, 4, 2])
    encoded, decoder = network.encoder_a(sources), network.decoder
    states, previous, steps = decoder.start(encoded), tf.fill([2], START), []
    for symbols in tf.unstack(targets, axis=1):
        logits, states = decoder.step(encoded, previous, states)
        steps.append(logits)
        previous = symbols
    np.testing.assert_allclose(tf.stack(steps, axis=1), network.predictor((sources, targets)), atol=1e-5)


def test_searches_score_as_forced_scoring_does(network: Network) -> None:
    sources = ids([4, 5, 6], [7, 8, 9], [10])
    greedy, beam = greedy_search([network.predictor], 12)(sources), beam_search([network.predictor], 12, 4)(sources)
    one = beam_search([network.predictor], 12, 1)(sources)
    for found, expected in zip(one, greedy, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert (beam[1][:, 0] >= greedy[1][:, 0] - 1e-5).numpy().all()
    for rank in range(4):
        forced = forced_scoring([network.predictor])(sources, beam[0][:, rank])
        np.testing.assert_allclose(forced, beam[1][:, rank], rtol=1e-4)


def test_long_strings_and_unlikely_symbols_have_finite_gradients(network: Network) -> None:
    sources, targets = ids([4] * 60, [5] * 3), ids([8] * 59 + [2], [6, 2])
    with tf.GradientTape() as tape:
        logits = network.predictor((sources, targets), training=True)
        loss = -tf.reduce_sum(tf.gather(logits, targets, axis=2, batch_dims=2) * tf.cast(targets > 0, tf.float32))
    assert np.isfinite(loss)
    gradients = tape.gradient(loss, [variable.value for variable in network.predictor.trainable_variables])
    assert all(np.isfinite(tf.convert_to_tensor(gradient)).all() for gradient in gradients)
