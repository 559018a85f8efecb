"""Calibration: fitted confidences, the reliability curve and the expected calibration error."""

import numpy as np
import pytest
from scipy.special import expit, logit

from pipeline.evaluation.metrics import expected_calibration_error, reliability_curve
from pipeline.reranking.reranker import Calibration


def test_the_reliability_curve_by_hand() -> None:
    curve = reliability_curve([0.1, 0.5, 0.9, 1.0, 0.8], [False, True, True, True, False], bins=2)
    assert curve["low"].tolist() == [0.0, 0.5]
    assert curve["high"].tolist() == [0.5, 1.0]
    assert curve["confidence"].tolist() == pytest.approx([0.3, 0.9])
    assert curve["accuracy"].tolist() == pytest.approx([0.5, 2 / 3])
    assert curve["items"].tolist() == [2, 3]


def test_the_expected_calibration_error_by_hand() -> None:
    found = expected_calibration_error([0.1, 0.5, 0.9, 1.0, 0.8], [False, True, True, True, False], bins=2)
    assert found == pytest.approx(2 / 5 * 0.2 + 3 / 5 * (0.9 - 2 / 3))


def test_confidences_that_keep_their_word_have_no_error() -> None:
    assert expected_calibration_error([0.75] * 4 + [0.0], [True, True, True, False, False]) == pytest.approx(0)


def test_intervals_without_items_are_left_out() -> None:
    assert reliability_curve([0.05, 0.95], [False, True])["items"].tolist() == [1, 1]


@pytest.mark.parametrize("wrong", [[1.2], [-0.1], [float("nan")]])
def test_a_confidence_is_a_probability(wrong: list[float]) -> None:
    with pytest.raises(ValueError, match="outside"):
        reliability_curve(wrong, [True])


def test_overconfidence_is_found_and_undone() -> None:
    rng = np.random.default_rng(0)
    true = rng.uniform(0.05, 0.95, 20_000)
    right = rng.random(len(true)) < true
    claimed = expit(2 * logit(true) + 1)
    fitted = Calibration.fit(claimed, right)
    assert fitted.slope == pytest.approx(0.5, abs=0.03)
    assert fitted.intercept == pytest.approx(-0.5, abs=0.05)
    assert expected_calibration_error(fitted(claimed), right) < 0.02 < expected_calibration_error(claimed, right)


@pytest.mark.parametrize("right", [[True, True], [False, False]])
def test_nothing_to_tell_apart_changes_nothing(right: list[bool]) -> None:
    assert Calibration.fit(np.array([0.3, 0.9]), np.array(right)) == Calibration()


def test_a_calibration_never_turns_the_order_around() -> None:
    fitted = Calibration.fit(np.array([0.1, 0.2, 0.8, 0.9]), np.array([True, True, False, False]))
    assert fitted.slope == 0
