"""Trained models: strings in, strings out."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.config.options import Symbols
from pipeline.data.alphabet import TARGET_ALPHABET, Alphabet, save_alphabets
from pipeline.data.corpus import Corpus
from pipeline.data.examples import Example
from pipeline.data.prepared import Prepared, write_prepared
from pipeline.errors import UserError
from pipeline.model.backend import keras
from pipeline.model.inference import TrainedModel
from pipeline.model.network import Network, Sizes, save_network
from tests.conftest import small_model

SOURCES = ["abc", "dd", "abc", "cadb"]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """Words of a to d; a source writes d for a and a for d."""
    rng = np.random.default_rng(0)
    words = ["".join(rng.choice(list("abcd"), size=rng.integers(1, 5))) for _ in range(200)]
    pairs = [Example(word.translate(str.maketrans("ad", "da")), word) for word in words]
    folder = tmp_path_factory.mktemp("prepared")
    corpus = Corpus(pairs[:60], pairs[60:130], pairs[130:150], words[100:], 0, None, "made up")
    write_prepared(folder, corpus, Symbols.CHARACTERS, Symbols.CHARACTERS)
    return Prepared.open(folder)


@pytest.fixture(scope="module")
def folders(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two untrained runs on that data, their weights scaled up so that the distributions are far from even."""
    found = []
    for seed in (0, 1):
        keras.utils.set_random_seed(seed)
        network = Network(small_model(), Sizes(len(prepared.source_alphabet), len(prepared.target_alphabet), 6))
        network.set_weights([3 * weight for weight in network.get_weights()])
        folder = tmp_path_factory.mktemp(f"run{seed}")
        save_network(network, folder)
        save_alphabets(folder, prepared.source_alphabet, prepared.target_alphabet)
        found.append(folder)
    return found


def test_equal_sources_have_equal_predictions_in_their_places(folders: list[Path]) -> None:
    model = TrainedModel.load(folders[0])
    together = model.predict(SOURCES, 3)
    assert together[0] == together[2]
    for source, predictions in zip(SOURCES, together, strict=True):
        alone = model.predict([source], 3)[0]
        assert [prediction.text for prediction in alone] == [prediction.text for prediction in predictions]


@pytest.mark.parametrize("members", [1, 2])
def test_a_model_in_the_place_of_another_predicts_as_one_loaded_anew(folders: list[Path], members: int) -> None:
    before, after = folders[:members], folders[::-1][:members]
    old = TrainedModel.load(*before)
    old.predict(SOURCES)
    old.log_probabilities(SOURCES, ["a", "b", "c", "d"])
    model, anew = TrainedModel.load(*after, instead_of=old), TrainedModel.load(*after)
    assert model.networks == old.networks
    assert model.predict(SOURCES) == anew.predict(SOURCES)
    assert model.predict(SOURCES, 3) == anew.predict(SOURCES, 3)
    targets = ["a", "b", "c", "d"]
    np.testing.assert_array_equal(model.log_probabilities(SOURCES, targets), anew.log_probabilities(SOURCES, targets))


def test_a_model_of_another_architecture_is_loaded_anew(folders: list[Path], tmp_path: Path) -> None:
    other = TrainedModel.load(folders[0])
    keras.utils.set_random_seed(0)
    save_network(Network(small_model(units=8), other.networks[0].sizes), tmp_path)
    save_alphabets(tmp_path, other.source_alphabet, other.target_alphabet)
    model = TrainedModel.load(tmp_path, instead_of=other)
    assert model.networks[0] is not other.networks[0]
    assert model.predict(SOURCES) == TrainedModel.load(tmp_path).predict(SOURCES)


@pytest.mark.parametrize("members", [1, 2])
def test_a_given_target_scores_what_the_search_says_of_it(folders: list[Path], members: int) -> None:
    model = TrainedModel.load(*folders[:members])
    for source, predictions in zip(SOURCES, model.predict(SOURCES, 4), strict=True):
        # A prediction that the longest output cut off has no END, a given target always has.
        whole = [prediction for prediction in predictions if len(prediction.text) < 6]
        forced = model.log_probabilities([source] * len(whole), [prediction.text for prediction in whole])
        np.testing.assert_allclose(forced, [prediction.log_probability for prediction in whole], rtol=1e-4, atol=1e-5)


def test_an_ensemble_is_neither_of_its_members(folders: list[Path]) -> None:
    one, two = (TrainedModel.load(folder).predict(["abc"])[0][0].log_probability for folder in folders)
    both = TrainedModel.load(*folders).predict(["abc"])[0][0].log_probability
    assert both not in (one, two)


def test_runs_on_different_data_make_no_ensemble(folders: list[Path], tmp_path: Path) -> None:
    for file in folders[0].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    alphabet = Alphabet.load(tmp_path / TARGET_ALPHABET)
    Alphabet(alphabet.kind, ("z", *alphabet.symbols[1:])).save(tmp_path / TARGET_ALPHABET)
    with pytest.raises(UserError, match="different alphabets"):
        TrainedModel.load(folders[0], tmp_path)
