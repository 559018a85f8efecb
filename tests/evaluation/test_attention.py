"""Attention maps against the network that they are taken from."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.config.options import Symbols
from pipeline.data.alphabet import Alphabet
from pipeline.data.store import StringStore
from pipeline.evaluation.attention import attention_maps, sources_to_map
from pipeline.model.backend import keras, tf
from pipeline.model.inference import TrainedModel
from pipeline.model.network import Network, Sizes
from tests.conftest import small_model

SOURCES = ["AH B", "B", "AH B AH D B", "D AH D"]
Build = Callable[..., TrainedModel]


@pytest.fixture(scope="module")
def build() -> Build:
    """An untrained model with weights scaled up so that what it writes is far from even."""

    def make(**changes: Any) -> TrainedModel:
        source_alphabet = Alphabet(Symbols.SPACES, ("AH", "B", "D"))
        target_alphabet = Alphabet(Symbols.CHARACTERS, ("a", "b", "c", "d"))
        keras.utils.set_random_seed(1)
        network = Network(small_model(**changes), Sizes(len(source_alphabet), len(target_alphabet), 6))
        network.set_weights([3 * weight for weight in network.get_weights()])
        return TrainedModel((network,), source_alphabet, target_alphabet)

    return make


@pytest.mark.parametrize("changes", [{}, {"cell": "gru"}, {"layers": 2, "bidirectional": False}])
def test_a_map_is_what_the_whole_network_attends_to_along_its_greedy_output(
    build: Build, changes: dict[str, Any]
) -> None:
    model = build(**changes)
    (network,) = model.networks
    maps = attention_maps(model, SOURCES)
    written = [row[0].text for row in model.predict(SOURCES)]
    assert ["".join(one.written) for one in maps] == [text for text in written if text]
    by_source = {" ".join(one.source): one for one in maps}
    for source, text in zip(SOURCES, written, strict=True):
        if not text:
            continue
        source_ids = tf.constant(StringStore.of([source], model.source_alphabet).padded(np.array([0])))
        target_ids = tf.constant(StringStore.of([text], model.target_alphabet).padded(np.array([0]), end=True))
        encoded, decoder = network.encoder_a(source_ids), network.decoder
        assert decoder.attention is not None
        inputs = decoder.symbols(tf.pad(target_ids[:, :-1], [[0, 0], [1, 0]], constant_values=1))
        outputs, _ = decoder.recurrent(inputs, start=decoder.start(encoded))
        weights = decoder.attention.weights_of(outputs, encoded["memory"], encoded["present"])
        assert by_source[source].weights == pytest.approx(weights.numpy()[0, : len(text)], abs=1e-5)


def test_every_symbol_written_shares_itself_out_over_the_source_alone(build: Build) -> None:
    maps = attention_maps(build(), SOURCES)
    assert maps
    for one in maps:
        assert one.weights.shape == (len(one.written), len(one.source))
        assert one.weights.sum(axis=1) == pytest.approx(1)


def test_a_vector_bridge_has_no_maps(build: Build) -> None:
    assert attention_maps(build(bridge="vector"), SOURCES) == []


def test_there_is_no_map_of_an_empty_source(build: Build) -> None:
    assert attention_maps(build(), []) == []
    assert all(one.source for one in attention_maps(build(), ["", *SOURCES]))


def test_won_and_lost_examples_are_mapped_in_turn_then_others_of_a_common_length() -> None:
    sources = ["abcdefgh", "won", "a" * 15, "lost", "also won", "x", "won", "abcdefg", ""]
    examples = pd.DataFrame({"item": [1, 2, 4, 3], "result": ["won", "won", "won", "lost"]})
    chosen = sources_to_map(examples, sources, Symbols.CHARACTERS, limit=9)
    assert chosen == ["won", "lost", "also won", "abcdefgh", "abcdefg", "x"]
    assert sources_to_map(examples, sources, Symbols.CHARACTERS, limit=2) == ["won", "lost"]
    assert sources_to_map(examples.head(0), sources, Symbols.CHARACTERS, limit=1) == ["abcdefgh"]
