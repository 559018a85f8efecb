"""Greedy and beam search against each other and against brute force."""

import itertools

import numpy as np
import pytest

from pipeline.config.options import Symbols
from pipeline.data.alphabet import END, PADDING, SPECIALS, Alphabet
from pipeline.data.store import StringStore
from pipeline.model.backend import keras, tf
from pipeline.model.network import Network, Sizes
from pipeline.model.search import beam_search, decode, greedy_search, symbol_log_probabilities
from tests.conftest import small_model

LONGEST = 4
SOURCES = Alphabet(Symbols.CHARACTERS, tuple("abcdefg"))


@pytest.fixture(scope="module")
def network() -> Network:
    """Random weights, scaled up so that the distributions are far from even; two target symbols."""
    keras.utils.set_random_seed(2)
    network = Network(small_model(), Sizes(len(SOURCES), SPECIALS + 2, LONGEST))
    network.set_weights([3 * weight for weight in network.get_weights()])
    return network


@pytest.fixture(scope="module")
def sources() -> StringStore:
    return StringStore.of(["abc", "g", "fedcba", "bb", "cab", "gggg", "x"], SOURCES)


def test_only_end_and_symbols_can_be_written() -> None:
    probabilities = tf.exp(symbol_log_probabilities(tf.zeros([1, SPECIALS + 2])))
    np.testing.assert_allclose(probabilities[0], [0, 0, 1 / 3, 0, 1 / 3, 1 / 3], atol=1e-7)


def test_beam_1_equals_greedy(network: Network, sources: StringStore) -> None:
    greedy = decode(greedy_search([network.predictor], LONGEST), sources)
    beam = decode(beam_search([network.predictor], LONGEST, 1), sources)
    np.testing.assert_array_equal(greedy.ids, beam.ids)
    np.testing.assert_allclose(greedy.log_probabilities, beam.log_probabilities, rtol=1e-5)


def test_a_wide_beam_finds_what_brute_force_finds(network: Network) -> None:
    source = StringStore.of(["fedcba"], SOURCES)
    candidates = decode(beam_search([network.predictor], LONGEST, 40), source)
    every = []
    for length in range(LONGEST + 1):
        for symbols in itertools.product([SPECIALS, SPECIALS + 1], repeat=length):
            ids = [*symbols, END][:LONGEST]
            every.append((tuple(ids), log_probability(network, source, ids)))
    every.sort(key=lambda found: -found[1])
    best = [tuple(int(i) for i in row if i != PADDING) for row in candidates.ids[0]]
    assert best[:5] == [ids for ids, _ in every[:5]]
    np.testing.assert_allclose(candidates.log_probabilities[0, :5], [score for _, score in every[:5]], rtol=1e-4)


def log_probability(network: Network, source: StringStore, ids: list[int]) -> float:
    target = tf.constant([ids])
    logits = network.predictor((source.padded(np.arange(1)), target))
    steps = tf.gather(symbol_log_probabilities(logits)[0], target[0], axis=1, batch_dims=1)
    return float(tf.reduce_sum(steps))


def test_candidates_are_different_and_come_best_first(network: Network, sources: StringStore) -> None:
    found = decode(beam_search([network.predictor], LONGEST, 6), sources)
    for ids, scores in zip(found.ids, found.log_probabilities, strict=True):
        assert len({tuple(row) for row in ids}) == 6
        assert (np.diff(scores) <= 0).all()


def test_more_candidates_than_strings_end_in_minus_infinity(network: Network, sources: StringStore) -> None:
    found = decode(beam_search([network.predictor], 1, 10), sources)
    assert np.isfinite(found.log_probabilities[:, :3]).all()  # END, or one of two symbols
    assert np.isneginf(found.log_probabilities[:, 3:]).all()


def test_neighbours_in_a_batch_change_nothing(network: Network, sources: StringStore) -> None:
    search = beam_search([network.predictor], LONGEST, 3)
    together = decode(search, sources)
    alone = decode(search, StringStore.of(["fedcba"], SOURCES))
    np.testing.assert_array_equal(together.ids[2], alone.ids[0])
    np.testing.assert_allclose(together.log_probabilities[2], alone.log_probabilities[0], rtol=1e-4)


def test_averaging_a_model_with_itself_changes_nothing(network: Network, sources: StringStore) -> None:
    alone = decode(beam_search([network.predictor], LONGEST, 3), sources)
    twice = decode(beam_search([network.predictor] * 2, LONGEST, 3), sources)
    np.testing.assert_array_equal(twice.ids, alone.ids)
    np.testing.assert_allclose(twice.log_probabilities, alone.log_probabilities, rtol=1e-5, atol=1e-6)


def test_members_are_averaged_as_probabilities(network: Network) -> None:
    keras.utils.set_random_seed(5)
    other = Network(small_model(), network.sizes)
    source = StringStore.of(["abc"], SOURCES)
    found = decode(beam_search([network.predictor, other.predictor], 1, 3), source)
    first = tf.constant([[END]])
    logits = [model.predictor((source.padded(np.arange(1)), first))[0, 0] for model in (network, other)]
    mean = np.mean([np.exp(symbol_log_probabilities(one)) for one in logits], axis=0)
    best = np.argsort(-mean)[:3]
    np.testing.assert_array_equal(found.ids[0, :, 0], best)
    np.testing.assert_allclose(np.exp(found.log_probabilities[0]), mean[best], rtol=1e-4)


def test_no_output_is_longer_than_the_bound(network: Network, sources: StringStore) -> None:
    assert decode(greedy_search([network.predictor], LONGEST), sources).ids.shape[2] <= LONGEST
