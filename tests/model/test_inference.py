"""Trained models as strings in, strings out; and the choice among what they write."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.config.options import Symbols
from pipeline.config.params import Decoding, Order
from pipeline.data.alphabet import TARGET_ALPHABET, Alphabet, save_alphabets
from pipeline.data.corpus import Corpus
from pipeline.data.examples import Example
from pipeline.data.prepared import Prepared, write_prepared
from pipeline.errors import UserError
from pipeline.model.backend import keras
from pipeline.model.inference import TrainedModel
from pipeline.model.network import Network, Sizes, save_network
from pipeline.prediction.predictor import Chooser, OwnOrder, chooser, fitted_chooser, learn_evidence
from pipeline.reranking.features import Evidence
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
    together = model.predict(SOURCES, n_best=3)
    assert together[0] == together[2]
    for source, predictions in zip(SOURCES, together, strict=True):
        alone = model.predict([source], n_best=3)[0]
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
    assert model.predict(SOURCES, n_best=3) == anew.predict(SOURCES, n_best=3)
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
    for source, predictions in zip(SOURCES, model.predict(SOURCES, n_best=4), strict=True):
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


def test_without_a_fitted_reranker_the_models_order_stays(prepared: Prepared, folders: list[Path]) -> None:
    model = TrainedModel.load(folders[0])
    chooser = Chooser(model, Evidence.learn(prepared, held_out=False), beam=3, neighbours=4)
    for source, choices in zip(SOURCES, chooser.choose(SOURCES), strict=True):
        scores = [choice.log_probability for choice in choices]
        assert scores == sorted(scores, reverse=True)
        assert choices[0].text == model.predict([source], n_best=3)[0][0].text or len(choices) > 3


def test_a_chooser_learns_from_dev_that_the_pairs_know_better(prepared: Prepared, folders: list[Path]) -> None:
    model = TrainedModel.load(folders[0])  # untrained: its own order is next to never right
    plain = Chooser(model, Evidence.learn(prepared, held_out=False), beam=3, neighbours=0)
    dev, test = prepared.train[:40], prepared.train[40:]
    fitted = plain.fitted([item.source for item in dev], [item.accepted for item in dev], seed=0)
    right = [
        np.mean([row[0].text == item.target for row, item in zip(chooser.choose(sources), test, strict=True)])
        for chooser in (plain, fitted)
        for sources in [[item.source for item in test]]
    ]
    assert right[0] < 0.2
    assert right[1] > 0.9
    assert all(0 <= choice.confidence <= 1 for row in fitted.choose(SOURCES) for choice in row)


def decoding(order: Order, beam: int = 3) -> Decoding:
    return Decoding(order=order, beam_width=beam, neighbours=2, ensemble=False, seed=0)


def test_the_order_greedy_is_a_beam_of_1_whatever_the_beam(folders: list[Path]) -> None:
    model = TrainedModel.load(folders[0])
    greedy = chooser(model, decoding(Order.GREEDY, beam=5), evidence=None)
    found = greedy.choose(SOURCES)
    assert [[choice.text for choice in row] for row in found] == [
        [one.text for one in row] for row in model.predict(SOURCES)
    ]
    assert found == OwnOrder(model, beam=1).choose(SOURCES)


def test_in_its_own_order_a_models_probability_is_its_confidence(folders: list[Path]) -> None:
    beam = chooser(TrainedModel.load(folders[0]), decoding(Order.BEAM), evidence=None)
    for row in beam.choose(SOURCES):
        assert len(row) == 3
        assert [choice.confidence for choice in row] == sorted((choice.confidence for choice in row), reverse=True)
        assert all(choice.confidence == pytest.approx(np.exp(choice.log_probability)) for choice in row)


def test_only_reranking_learns_from_pairs_and_dev(prepared: Prepared, folders: list[Path]) -> None:
    model = TrainedModel.load(folders[0])
    for order in Order:
        evidence = learn_evidence(decoding(order), prepared, held_out=False)
        fitted = fitted_chooser(model, decoding(order), evidence, prepared)
        assert (evidence is not None) == (fitted.reranker.accuracy is not None) == (order is Order.RERANK)
    with pytest.raises(ValueError, match="needs evidence"):
        chooser(model, decoding(Order.RERANK), evidence=None)


def test_fitting_by_the_parameters_is_fitting_on_dev(prepared: Prepared, folders: list[Path]) -> None:
    model = TrainedModel.load(folders[0])
    evidence = Evidence.learn(prepared, held_out=False)
    by_hand = Chooser(model, evidence, beam=3, neighbours=2).fitted(
        [item.source for item in prepared.dev], [item.accepted for item in prepared.dev], seed=0
    )
    assert fitted_chooser(model, decoding(Order.RERANK), evidence, prepared).reranker == by_hand.reranker
