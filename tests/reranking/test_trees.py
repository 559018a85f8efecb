"""Boosted trees: what scikit-learn fitted is what the arrays compute, and a damaged file does no harm."""

import json
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier

from pipeline.reranking.trees import Trees


@pytest.fixture(scope="module")
def data() -> tuple[np.ndarray, np.ndarray]:
    rows = np.random.default_rng(0).normal(size=(400, 3))
    return rows, rows[:, 0] * rows[:, 1] > 0


@pytest.fixture(scope="module")
def trees(data: tuple[np.ndarray, np.ndarray]) -> Trees:
    rows, right = data
    return Trees.fit(rows, right.astype(float), (~right).astype(float), seed=0)


def content(trees: Trees) -> dict[str, Any]:
    return json.loads(json.dumps(vars(trees), default=np.ndarray.tolist))


def test_two_columns_that_count_only_together_are_learned(trees: Trees) -> None:
    rows = np.random.default_rng(1).normal(size=(400, 3))
    assert np.mean((trees(rows) > 0) == (rows[:, 0] * rows[:, 1] > 0)) > 0.85


def test_the_arrays_compute_what_scikit_learn_does(
    data: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted = []

    class Kept(HistGradientBoostingClassifier):
        def fit(self, *args: Any, **kwargs: Any) -> Any:
            fitted.append(self)
            return super().fit(*args, **kwargs)

    monkeypatch.setattr("sklearn.ensemble.HistGradientBoostingClassifier", Kept)
    rows, right = data
    trees = Trees.fit(rows, right.astype(float), (~right).astype(float), seed=0)
    np.testing.assert_allclose(trees(rows), fitted[0].decision_function(rows), atol=1e-9)


def test_weights_of_one_change_no_bit(
    trees: Trees, data: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.reranking.trees.BINNED_ROWS", 0)
    rows, right = data
    assert content(Trees.fit(rows, right.astype(float), (~right).astype(float), seed=0)) == content(trees)


def test_a_row_that_was_both_counts_for_both(data: tuple[np.ndarray, np.ndarray]) -> None:
    rows, _ = data
    trees = Trees.fit(rows, np.full(len(rows), 3.0), np.full(len(rows), 1.0), seed=0)
    np.testing.assert_allclose(trees(rows), np.log(3), atol=0.02)


def test_rows_of_one_kind_are_refused(data: tuple[np.ndarray, np.ndarray]) -> None:
    rows, _ = data
    with pytest.raises(ValueError, match="some of which were right and some wrong"):
        Trees.fit(rows, np.ones(len(rows)), np.zeros(len(rows)), seed=0)


def test_the_same_through_json(data: tuple[np.ndarray, np.ndarray], trees: Trees) -> None:
    loaded = Trees.of_content(content(trees), columns=3)
    np.testing.assert_array_equal(loaded(data[0]), trees(data[0]))


@pytest.mark.parametrize(
    ("part", "value"),
    [("left", 10**6), ("right", -1), ("left", 0), ("columns", 3), ("roots", 10**6), ("thresholds", "x")],
)
def test_trees_that_do_not_hang_together_are_refused(trees: Trees, part: str, value: Any) -> None:
    changed = content(trees)
    changed[part][1 if part == "roots" else int(np.flatnonzero(trees.left != np.arange(len(trees.left)))[1])] = value
    with pytest.raises(ValueError, match=r"do not hang together|no roots|could not convert"):
        Trees.of_content(changed, columns=3)
