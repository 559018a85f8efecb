"""The parts, what they share, and that sharing survives a file."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.errors import UserError
from pipeline.model.backend import keras, tf
from pipeline.model.network import WEIGHTS, Network, Sizes, load_network, save_network
from tests.conftest import small_model

SIZES = Sizes(source_symbols=11, target_symbols=9, longest_output=12)


def network(seed: int = 0, **changes: Any) -> Network:
    keras.utils.set_random_seed(seed)
    return Network(small_model(**changes), SIZES)


def ids(*rows: list[int]) -> tf.Tensor:
    width = max(map(len, rows))
    return tf.constant([row + [0] * (width - len(row)) for row in rows], tf.int32)


def test_predictor_and_autoencoder_hold_the_same_decoder() -> None:
    parts = network()
    assert parts.predictor.decoder is parts.autoencoder.decoder is parts.decoder
    predictor = {id(variable) for variable in parts.predictor.variables}
    autoencoder = {id(variable) for variable in parts.autoencoder.variables}
    assert predictor & autoencoder == {id(variable) for variable in parts.decoder.variables}


def test_the_network_counts_the_decoder_once() -> None:
    parts = network(tie_weights=False)
    apart = sum(part.count_params() for part in (parts.encoder_a, parts.encoder_b, parts.decoder))
    assert parts.count_params() == apart


def test_the_parts_compose_to_the_joined_models() -> None:
    parts, sources, targets = network(), ids([4, 5, 6], [7]), ids([4, 2], [5, 2])
    composed = parts.decoder(parts.encoder_a(sources), targets)
    np.testing.assert_array_equal(parts.predictor((sources, targets)), composed)


FAMILIES: list[dict[str, Any]] = [
    {"decoder": "repeat", "bridge": "vector"},
    {"decoder": "autoregressive", "bridge": "vector"},
    {"decoder": "autoregressive", "bridge": "attention"},
    {"decoder": "autoregressive", "bridge": "monotonic"},
]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_padding_never_changes_what_is_written(cell: str, family: dict[str, Any]) -> None:
    predictor = network(cell=cell, layers=2, **family).predictor
    target = ids([4, 5, 2])
    alone = predictor((ids([4, 5, 6]), target))
    padded = predictor((ids([4, 5, 6], [4, 5, 6, 7, 8, 9]), tf.repeat(target, 2, axis=0)))
    np.testing.assert_allclose(alone[0], padded[0], atol=1e-5)


def test_a_symbol_sees_only_the_symbols_before_it() -> None:
    predictor = network(decoder="autoregressive", bridge="attention").predictor
    sources = ids([4, 5, 6])
    one, two = predictor((sources, ids([4, 5, 6, 2]))), predictor((sources, ids([4, 5, 8, 2])))
    np.testing.assert_array_equal(one[:, :3], two[:, :3])
    assert not np.allclose(one[:, 3], two[:, 3])


def test_the_first_states_are_the_encoders_last() -> None:
    parts = network(decoder="autoregressive", bridge="vector", layers=2)
    source = ids([4, 5, 6])
    _, states = parts.encoder_a.recurrent(parts.encoder_a.projection(source), present=tf.not_equal(source, 0))
    started = parts.decoder.start(parts.encoder_a(source))
    for one, two in zip(tf.nest.flatten(states), tf.nest.flatten(started), strict=True):
        np.testing.assert_array_equal(one, two)


def test_tied_weights_are_one_table_of_target_symbols() -> None:
    tied, untied = network(tie_weights=True), network(tie_weights=False)
    assert tied.encoder_b.projection is tied.decoder.symbols is tied.decoder.output_symbols.tied_to
    table = 9 * 8  # target symbols x projection
    assert untied.count_params() - tied.count_params() == 2 * table


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_step_by_step_equals_the_whole_sequence(cell: str, family: dict[str, Any]) -> None:
    parts, targets = network(cell=cell, layers=2, **family), ids([4, 5, 6, 7, 2], [8, 8, 2])
    encoded = parts.encoder_a(ids([4, 5], [9, 10]))
    states, previous = parts.decoder.start(encoded), tf.fill([2], 1)
    logits = []
    for step in range(5):
        one, states = parts.decoder.step(encoded, previous, states)
        logits.append(one)
        previous = targets[:, step]
    np.testing.assert_allclose(tf.stack(logits, axis=1), parts.decoder(encoded, targets), atol=1e-5)


def test_saved_as_a_whole_it_loads_with_equal_weights_and_shared_decoder(tmp_path: Path) -> None:
    before = network()
    save_network(before, tmp_path)
    after = load_network(tmp_path)
    for saved, loaded in zip(before.get_weights(), after.get_weights(), strict=True):
        np.testing.assert_array_equal(saved, loaded)
    after.decoder.output_symbols.bias.assign_add(tf.ones(9))
    inputs = (ids([4, 5]), ids([6, 2]))
    assert not np.allclose(after.predictor(inputs), before.predictor(inputs))
    assert not np.allclose(after.autoencoder(inputs), before.autoencoder(inputs))


def test_keras_own_format_keeps_the_sharing_too(tmp_path: Path) -> None:
    before = network()
    before.save(tmp_path / "network.keras")
    after = keras.models.load_model(tmp_path / "network.keras")
    inputs = (ids([4, 5]), ids([6, 2]))
    np.testing.assert_array_equal(before.predictor(inputs), after.predictor(inputs))
    assert after.predictor.decoder is after.autoencoder.decoder


def test_equal_weights_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        save_network(network(seed=3), tmp_path / name)
    assert (tmp_path / "one" / WEIGHTS).read_bytes() == (tmp_path / "two" / WEIGHTS).read_bytes()


@pytest.mark.parametrize("damage", [b"", b"not weights", None])
def test_a_damaged_folder_says_what_to_do(tmp_path: Path, damage: bytes | None) -> None:
    save_network(network(), tmp_path)
    if damage is None:
        (tmp_path / WEIGHTS).unlink()
    else:
        (tmp_path / WEIGHTS).write_bytes(damage)
    with pytest.raises(UserError, match="run `dvc repro`"):
        load_network(tmp_path)
