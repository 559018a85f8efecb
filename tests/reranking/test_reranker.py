"""The reranker: it learns what counts, stays with the network unless dev says otherwise, knows how sure it is."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import approx_fprime

from pipeline.errors import UserError
from pipeline.evaluation.metrics import expected_calibration_error
from pipeline.model.inference import Hypothesis
from pipeline.reranking.features import FEATURES, FeatureMatrix
from pipeline.reranking.reranker import FEWEST_SOURCES, MODEL_SCORE, Reranker, _fit_weights, _Items, digest_of_items

LISTED, TRAINED, MODEL = (FEATURES.index(name) for name in ("listed", "trained", "log_probability"))
Lists = list[list[Hypothesis]]


def toy(
    items: int, seed: int, listed_weight: float = 4.0, candidates: int = 4
) -> tuple[FeatureMatrix, Lists, list[str], list[set[str]]]:
    """Items whose right candidate is drawn by model score and membership in the list."""
    rng = np.random.default_rng(seed)
    values = np.zeros((items * candidates, len(FEATURES)))
    values[:, MODEL] = -rng.gamma(2.0, 1.0, len(values))
    values[:, LISTED] = rng.random(len(values)) < 0.5
    scores = (values[:, MODEL] + listed_weight * values[:, LISTED]).reshape(items, candidates)
    right = np.argmax(scores + rng.gumbel(size=scores.shape), axis=1)
    logs = values[:, MODEL].reshape(items, candidates)
    order = np.argsort(-logs, axis=1)
    rows = (np.arange(items)[:, None] * candidates + order).ravel()
    lists = [[Hypothesis(f"c{i}", float(logs[item, i])) for i in order[item]] for item in range(items)]
    features = FeatureMatrix(values[rows], np.arange(items + 1) * candidates)
    return features, lists, [f"s{item}" for item in range(items)], [{f"c{i}"} for i in right]


def accuracy(reranker: Reranker, data: tuple[FeatureMatrix, Lists, list[str], list[set[str]]]) -> float:
    features, lists, _, accepted = data
    ranked = reranker.rerank(features, lists)
    return float(np.mean([row[0].text in some for row, some in zip(ranked, accepted, strict=True)]))


def test_it_learns_what_counts() -> None:
    reranker = Reranker.fit(*toy(1000, seed=0), seed=0)
    assert reranker.weights[LISTED] / reranker.weights[MODEL] == pytest.approx(4, rel=0.2)
    test = toy(1000, seed=1)
    assert accuracy(reranker, test) > accuracy(Reranker(), test) + 0.1


@pytest.mark.parametrize("items", [10, 300, 1200])
def test_it_says_which_dev_items_are_right_in_cross_validation(items: int) -> None:
    reranker = Reranker.fit(*together(items, seed=0), seed=0)
    assert np.mean([int(one) for one in reranker.right]) == reranker.accuracy
    assert len(reranker.right) == items


def test_dev_items_are_the_same_only_with_the_same_sources_and_targets_in_the_same_order() -> None:
    same = digest_of_items(["a", "b"], [{"x", "y"}, {"z"}])
    assert digest_of_items(["a", "b"], [("y", "x"), ("z",)]) == same
    others = [(["b", "a"], [{"z"}, {"x", "y"}]), (["a", "b"], [{"x"}, {"z"}]), (["a", "b"], [{"x", "y"}, {"z", "b"}])]
    assert same not in {digest_of_items(sources, accepted) for sources, accepted in others}


def test_the_gradient_is_that_of_the_likelihood() -> None:
    features, lists, sources, accepted = toy(200, seed=0)
    items = _Items.of(features, lists, sources, accepted)
    weights = _fit_weights(items, strength=1e-6)
    varying = [MODEL, LISTED]

    def loss(some: np.ndarray) -> float:
        all_ = MODEL_SCORE.copy()
        all_[varying] = some
        scores = (items.values @ all_).reshape(200, -1)
        right = items.right.reshape(200, -1)
        return float((np.log(np.exp(scores).sum(axis=1)) - scores[right]).sum())

    np.testing.assert_allclose(approx_fprime(weights[varying], loss, 1e-6), 0, atol=0.05)


def test_a_strong_pull_keeps_the_models_order_and_a_weak_one_lets_go() -> None:
    features, lists, sources, accepted = toy(200, seed=0)
    items = _Items.of(features, lists, sources, accepted)
    pulled = [_fit_weights(items, strength)[LISTED] for strength in (1e9, 100.0, 1.0)]
    assert pulled[0] == pytest.approx(0, abs=1e-4)
    assert pulled == sorted(pulled)


def test_units_of_features_do_not_matter() -> None:
    features, lists, sources, accepted = toy(200, seed=0)
    values = features.values.copy()
    values[:, LISTED] *= 1000
    weights, scaled = (
        _fit_weights(_Items.of(some, lists, sources, accepted), 10.0)
        for some in (features, FeatureMatrix(values, features.offsets))
    )
    assert scaled[LISTED] * 1000 == pytest.approx(weights[LISTED], rel=1e-3)


def test_several_right_candidates_count_together() -> None:
    features, lists, sources, accepted = toy(300, seed=0)
    both = [some | {lists[item][-1].text} for item, some in enumerate(accepted)]
    assert np.isfinite(_fit_weights(_Items.of(features, lists, sources, both), 1.0)).all()


def test_without_dev_the_models_order_stays() -> None:
    reranker = Reranker.fit(
        FeatureMatrix(np.zeros((0, len(FEATURES))), np.zeros(1, dtype=np.int64)), [], [], [], seed=0
    )
    assert reranker == Reranker()
    features, lists, *_ = toy(10, seed=0)
    assert [[choice.text for choice in row] for row in reranker.rerank(features, lists)] == [
        [candidate.text for candidate in row] for row in lists
    ]


@pytest.mark.parametrize("items", [1, FEWEST_SOURCES - 1])
def test_with_a_tiny_dev_the_models_order_stays(items: int) -> None:
    reranker = Reranker.fit(*toy(items, seed=0), seed=0)
    assert reranker.weights == tuple(MODEL_SCORE)
    assert reranker.strength is None


def test_a_source_that_comes_again_and_again_is_one() -> None:
    features, lists, _, accepted = toy(500, seed=0)
    assert Reranker.fit(features, lists, ["same"] * 500, accepted, seed=0).strength is None


def together(items: int, seed: int) -> tuple[FeatureMatrix, Lists, list[str], list[set[str]]]:
    """Items whose right candidate is the one that is either listed or trained, not both and not neither."""
    features, lists, sources, _ = toy(items, seed)
    rng = np.random.default_rng(seed)
    listed = rng.random((items, 4)) < 0.5
    odd = rng.integers(4, size=items)
    trained = listed ^ (np.arange(4) == odd[:, None])
    features.values[:, LISTED], features.values[:, TRAINED] = listed.ravel(), trained.ravel()
    return features, lists, sources, [{row[place].text} for row, place in zip(lists, odd, strict=True)]


def test_trees_learn_what_counts_only_together_where_dev_is_large() -> None:
    reranker = Reranker.fit(*together(1200, seed=0), seed=0)
    assert reranker.trees is not None
    test = together(300, seed=1)
    assert accuracy(replace(reranker, trees=None), test) < 0.7
    assert accuracy(reranker, test) > 0.95
    assert Reranker.fit(*together(900, seed=0), seed=0).trees is None


def test_trees_that_gain_no_more_than_chance_are_left_out() -> None:
    assert Reranker.fit(*toy(1200, seed=0), seed=0).trees is None


def test_won_and_lost_items_are_weighed_against_chance() -> None:
    features = FeatureMatrix(np.zeros((40, len(FEATURES))), np.arange(21) * 2)
    lists = [[Hypothesis("a", 0.0), Hypothesis("b", 0.0)]] * 20
    items = _Items.of(features, lists, [str(item) for item in range(20)], [{"b"}] * 7 + [{"a"}] * 13)
    first = np.tile([1.0, 0.0], 20)
    won = first.copy()
    won[:14:2] = -1.0  # the second candidate of the seven items where it is right: 7 > sqrt(7)
    assert items.clearly_better(won, than=first)
    assert not items.clearly_better(first, than=won)
    mixed = won.copy()
    mixed[14:22:2] = -1.0  # and four where it is wrong: 7 - 4 < sqrt(11)
    assert not items.clearly_better(mixed, than=first)


def test_where_nothing_beats_the_models_order_it_stays() -> None:
    features, lists, sources, _ = toy(200, seed=0)
    first = [{row[0].text} for row in lists]
    assert Reranker.fit(features, lists, sources, first, seed=0).weights == tuple(MODEL_SCORE)


def test_where_no_candidate_is_right_the_models_order_stays() -> None:
    features, lists, sources, _ = toy(200, seed=0)
    reranker = Reranker.fit(features, lists, sources, [{"?"}] * 200, seed=0)
    assert reranker.weights == tuple(MODEL_SCORE)
    assert reranker.accuracy == 0


def test_confidence_keeps_its_word_on_new_items_even_where_lists_lack_the_right_candidate() -> None:
    def with_misses(seed: int) -> tuple[FeatureMatrix, Lists, list[str], list[set[str]]]:
        features, lists, sources, accepted = toy(3000, seed)
        return features, lists, sources, [some if item % 4 else {"?"} for item, some in enumerate(accepted)]

    reranker = Reranker.fit(*with_misses(0), seed=0)
    features, lists, _, accepted = with_misses(1)
    first = [row[0] for row in reranker.rerank(features, lists)]
    confidences = [choice.confidence for choice in first]
    correct = [choice.text in some for choice, some in zip(first, accepted, strict=True)]
    assert expected_calibration_error(confidences, correct) < 0.05
    assert np.mean(confidences) == pytest.approx(np.mean(correct), abs=0.03)


def test_confidence_falls_from_place_to_place() -> None:
    data = toy(300, seed=0)
    for row in Reranker.fit(*data, seed=0).rerank(data[0], data[1]):
        confidences = [choice.confidence for choice in row]
        assert confidences == sorted(confidences, reverse=True)
        assert all(0 <= confidence <= 1 for confidence in confidences)


def test_equal_candidates_keep_their_order() -> None:
    lists = [[Hypothesis("a", -1.0), Hypothesis("b", -1.0)]]
    [row] = Reranker().rerank(FeatureMatrix(np.zeros((2, len(FEATURES))), np.array([0, 2])), lists)
    assert [choice.text for choice in row] == ["a", "b"]


def test_the_same_seed_gives_the_same_reranker() -> None:
    assert Reranker.fit(*toy(200, seed=0), seed=3) == Reranker.fit(*toy(200, seed=0), seed=3)


@pytest.mark.parametrize("items", [0, 300, 1200])
def test_save_then_load_is_the_identity(items: int, tmp_path: Path) -> None:
    reranker = Reranker.fit(*together(items, seed=0), seed=0) if items else Reranker()
    reranker.save(tmp_path / "reranker.json")
    loaded = Reranker.load(tmp_path / "reranker.json")
    assert replace(loaded, trees=None) == replace(reranker, trees=None)
    features, lists, _, _ = toy(50, seed=1)
    assert loaded.rerank(features, lists) == reranker.rerank(features, lists)


def test_a_file_that_does_not_say_which_items_are_right_is_one_of_before(tmp_path: Path) -> None:
    reranker = Reranker.fit(*toy(50, seed=0), seed=0)
    reranker.save(tmp_path / "reranker.json")
    content = json.loads((tmp_path / "reranker.json").read_text())
    for name in ("items", "right"):
        del content[name]
    (tmp_path / "reranker.json").write_text(json.dumps(content))
    assert Reranker.load(tmp_path / "reranker.json") == replace(reranker, items="", right="")
    (tmp_path / "reranker.json").write_text(json.dumps(content | {"right": "012"}))
    with pytest.raises(UserError, match="it does not say which dev items are right"):
        Reranker.load(tmp_path / "reranker.json")


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"weights": {"length": 1.0}}'])
def test_a_damaged_file_is_named(content: str, tmp_path: Path) -> None:
    (tmp_path / "reranker.json").write_text(content)
    with pytest.raises(UserError, match=r"reranker\.json is not a reranker"):
        Reranker.load(tmp_path / "reranker.json")
