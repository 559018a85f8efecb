"""Models in NumPy: the results of every architecture in tensorflow, without it."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from pipeline.data.alphabet import save_alphabets
from pipeline.data.prepared import Prepared
from pipeline.errors import UserError
from pipeline.model.backend import keras, tf
from pipeline.model.files import WEIGHTS, read_architecture, write_architecture
from pipeline.model.inference import TrainedModel
from pipeline.model.network import Network, Sizes, save_network
from pipeline.model.plain import PlainModel
from tests.conftest import small_model
from tests.support.untrained import save_untrained, swapped_words

SOURCES = ["abc", "d", "cadbbbd", "x\N{CAT FACE}a", "abc"]  # two symbols are unknown
TARGETS = ["ab", "", "dddd", "c", "cab"]

BRIDGES = ("vector", "repeat", "attention", "monotonic")
CELLS = ("lstm", "gru")
SHAPES = ({"bidirectional": True, "tie_weights": True}, {"bidirectional": False, "tie_weights": False, "layers": 2})


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return swapped_words(tmp_path_factory.mktemp("prepared"))


@pytest.mark.parametrize(("bridge", "cell", "shape"), itertools.product(BRIDGES, CELLS, SHAPES))
def test_every_architecture_writes_and_scores_what_it_does_in_tensorflow(
    prepared: Prepared,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    bridge: str,
    cell: str,
    shape: dict[str, object],
) -> None:
    repeats = {"bridge": "vector", "decoder": "repeat"} if bridge == "repeat" else {"bridge": bridge}
    sizes = Sizes(len(prepared.source_alphabet), len(prepared.target_alphabet), longest_output=6)
    for seed in (0, 1):
        network = Network(small_model(cell=cell, **repeats, **shape), sizes)
        rng = np.random.default_rng(seed)  # every weight is random, biases too
        network.set_weights([rng.normal(scale=0.7, size=weight.shape) for weight in network.get_weights()])
        save_network(network, tmp_path / str(seed))
        save_alphabets(tmp_path / str(seed), prepared.source_alphabet, prepared.target_alphabet)
    tf.config.run_functions_eagerly(True)  # tracing takes longer
    try:
        for seeds in ("0", "01"):
            folders = [tmp_path / seed for seed in seeds]
            plain, model = PlainModel.load(*folders), TrainedModel.load(*folders)
            for beam_width in (1, 4):
                rows, expected = plain.predict(SOURCES, beam_width), model.predict(SOURCES, beam_width)
                assert [[one.text for one in row] for row in rows] == [[one.text for one in row] for row in expected]
                for row, other in zip(rows, expected, strict=True):
                    ours, theirs = ([one.log_probability for one in each] for each in (row, other))
                    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)
            given = SOURCES, TARGETS
            np.testing.assert_allclose(plain.log_probabilities(*given), model.log_probabilities(*given), atol=1e-5)
    finally:
        tf.config.run_functions_eagerly(False)


def test_a_beam_wider_than_there_are_strings_gives_them_all(prepared: Prepared, tmp_path: Path) -> None:
    keras.utils.set_random_seed(0)
    sizes = Sizes(len(prepared.source_alphabet), len(prepared.target_alphabet), longest_output=1)
    save_network(Network(small_model(), sizes), tmp_path)
    save_alphabets(tmp_path, prepared.source_alphabet, prepared.target_alphabet)
    (row,) = PlainModel.load(tmp_path).predict(["abc"], 20)
    assert {one.text for one in row} == {"", "a", "b", "c", "d"}
    assert sum(np.exp(one.log_probability) for one in row) == pytest.approx(1)


@pytest.mark.parametrize("change", [{"units": 14}, {"cell": "gru"}, {"layers": 2}, {"bidirectional": False}])
def test_weights_of_another_architecture_are_no_network(
    prepared: Prepared, tmp_path: Path, change: dict[str, object]
) -> None:
    save_untrained(tmp_path, prepared)
    config = read_architecture(tmp_path)
    write_architecture(tmp_path, {**config, "model": {**config["model"], **change}})
    with pytest.raises(UserError, match="holds no trained network"):
        PlainModel.load(tmp_path)


@pytest.mark.parametrize("place", [0, 1000, -1])
def test_weights_of_which_a_bit_has_changed_are_no_network(prepared: Prepared, tmp_path: Path, place: int) -> None:
    save_untrained(tmp_path, prepared)
    content = bytearray((tmp_path / WEIGHTS).read_bytes())
    content[place] ^= 1
    (tmp_path / WEIGHTS).write_bytes(content)
    with pytest.raises(UserError, match=r"holds no trained network .*run `dvc repro`"):
        PlainModel.load(tmp_path)
