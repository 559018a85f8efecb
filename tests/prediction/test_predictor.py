"""Predictors: ranked predictions in each order, and rerankers fitted on dev."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.config.params import Decoding, Order
from pipeline.data.prepared import Prepared
from pipeline.model.inference import TrainedModel
from pipeline.prediction.predictor import PredictionOptions, Predictor
from pipeline.reranking.features import FeatureExtractor
from tests.conftest import PROJECT
from tests.support.small_project import make_project
from tests.support.untrained import SOURCES, save_untrained, swapped_words

RERANK = Decoding(order=Order.RERANK, beam_width=3, neighbours=4, ensemble=False, seed=0)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return swapped_words(tmp_path_factory.mktemp("prepared"))


@pytest.fixture(scope="module")
def predictor(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    """An untrained model; nothing is fitted."""
    folder = tmp_path_factory.mktemp("run")
    save_untrained(folder, prepared)
    return Predictor(TrainedModel.load(folder), RERANK, FeatureExtractor.learn(prepared, held_out=False))


def test_without_a_fitted_reranker_candidates_stay_in_the_order_of_the_models_scores(predictor: Predictor) -> None:
    rows = predictor.predict(SOURCES, predictor.options(n_best=100, beam_width=3))
    for row, hypotheses in zip(rows, predictor.model.predict(SOURCES, 100), strict=True):
        scores = [one.log_probability for one in row]
        assert scores == sorted(scores, reverse=True)
        assert {one.text for one in hypotheses} <= {one.text for one in row}


def test_a_reranker_learns_from_dev_that_the_pairs_know_better(prepared: Prepared, predictor: Predictor) -> None:
    dev, test = prepared.train[:40], prepared.train[40:]
    unfitted = replace(predictor, decoding=replace(RERANK, neighbours=0))
    fitted = unfitted.fitted(dev)
    sources = [example.source for example in test]
    right = [
        np.mean([row[0].text == example.target for row, example in zip(one.predict(sources), test, strict=True)])
        for one in (unfitted, fitted)
    ]
    assert right[0] < 0.2
    assert right[1] > 0.9
    assert all(0 <= one.confidence <= 1 for row in fitted.predict(SOURCES) for one in row)


def test_greedy_predictions_are_those_of_the_model_alone(predictor: Predictor) -> None:
    greedy = predictor.predict(SOURCES, PredictionOptions(Order.GREEDY))
    assert [[(one.text, one.log_probability) for one in row] for row in greedy] == [
        [(one.text, one.log_probability) for one in row] for row in predictor.model.predict(SOURCES)
    ]


def test_without_reranking_the_probability_is_the_confidence(predictor: Predictor) -> None:
    for row in predictor.predict(SOURCES, PredictionOptions(Order.BEAM, 3, 3)):
        assert len(row) == 3
        confidences = [one.confidence for one in row]
        assert confidences == sorted(confidences, reverse=True)
        assert confidences == pytest.approx([np.exp(one.log_probability) for one in row])


@pytest.mark.parametrize("order", list(Order))
def test_only_reranking_learns_from_dev(prepared: Prepared, predictor: Predictor, order: Order) -> None:
    features = predictor.features if order is Order.RERANK else None
    fitted = Predictor(predictor.model, replace(RERANK, order=order), features).fitted(prepared.dev)
    assert (fitted.reranker.accuracy is not None) == (order is Order.RERANK)
    right = [one == "1" for one in fitted.reranker.right]  # is known in every order
    assert len(right) == len(prepared.dev)
    if order is not Order.RERANK:
        ranked = fitted.predict([example.source for example in prepared.dev])
        assert right == [row[0].text in item.accepted for row, item in zip(ranked, prepared.dev, strict=True)]


def test_of_very_many_dev_items_an_even_selection_is_learned(
    prepared: Prepared, predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.prediction.predictor.DEV_ITEMS", 3)
    selected, *others = ([prepared.dev[place] for place in places] for places in ([0, 2, 5], [0, 2, 4], [0, 1, 5]))
    by_selection, by_all = (predictor.fitted(items).reranker for items in (selected, prepared.dev[:6]))
    assert by_selection == by_all
    assert not any(predictor.fitted(items).reranker.items == by_all.items for items in others)


@pytest.mark.parametrize("order", list(Order))
def test_predictions_in_each_order_are_those_of_each_order(predictor: Predictor, order: Order) -> None:
    ranked = replace(predictor, decoding=replace(RERANK, order=order)).predict_in_each_order(SOURCES)
    assert list(ranked) == list(Order)[: list(Order).index(order) + 1]
    for each, candidates in ranked.items():
        asked = PredictionOptions.resolve(RERANK, each)
        assert [row[:1] for row in candidates] == predictor.predict(SOURCES, asked)
    assert all(len(row) >= RERANK.beam_width for row in ranked[order]) or order is Order.GREEDY


def test_what_is_listed_is_known_only_where_no_targets_were_held_out(prepared: Prepared, predictor: Predictor) -> None:
    (listed, *_) = sorted(prepared.among_unpaired(example.target for example in prepared.train))
    assert predictor.listed([listed, f"{listed}abcabc", f"{listed}\N{CAT FACE}"]) == [True, False, False]
    held_out = replace(predictor, features=FeatureExtractor.learn(prepared, held_out=True))
    assert held_out.listed([listed]) == replace(predictor, features=None).listed([listed]) == [None]


def test_no_sources_have_no_predictions(predictor: Predictor) -> None:
    assert predictor.predict([]) == []


@pytest.mark.parametrize("options", [[], ["--ensemble", "--alignment"], ["--order", "greedy"]])
def test_a_few_sources_are_predicted_without_importing_tensorflow_or_what_fits_draws_or_tracks(
    tmp_path: Path, options: list[str]
) -> None:
    make_project(tmp_path)
    code = f"""if True:
        import sys
        sys.path.insert(0, {str(PROJECT)!r})
        from pipeline.cli import main
        sys.argv = ["tandem", "predict", "F AO", "K", *{options!r}]
        try:
            main()
        finally:
            unwanted = "tensorflow", "keras", "sklearn", "scipy", "pandas", "pyarrow", "matplotlib", "mlflow"
            print([name for name in unwanted if name in sys.modules])
    """
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, check=True, text=True)
    *predictions, unwanted = done.stdout.splitlines()
    assert len(predictions) == 3
    assert unwanted == "[]"
