"""Trained models: strings in, strings out."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.data.alphabet import TARGET_ALPHABET, Alphabet, save_alphabets
from pipeline.data.prepared import Prepared
from pipeline.errors import UserError
from pipeline.model.backend import keras
from pipeline.model.inference import TrainedModel
from pipeline.model.network import Network, save_network
from tests.conftest import small_model
from tests.support.untrained import SOURCES, save_untrained, swapped_words


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return swapped_words(tmp_path_factory.mktemp("prepared"))


@pytest.fixture(scope="module")
def folders(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two untrained runs on that data."""
    found = [tmp_path_factory.mktemp(f"run{seed}") for seed in (0, 1)]
    for seed, folder in enumerate(found):
        save_untrained(folder, prepared, seed)
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
