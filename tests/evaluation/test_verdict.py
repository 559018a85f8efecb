"""What is concluded from several differences: Holm's correction, intervals that agree with it, answers, plans."""

import numpy as np
import pytest

from pipeline.evaluation.results import BETTER, UNDECIDED, WORSE
from pipeline.evaluation.variation import Estimate, Variation
from pipeline.evaluation.verdict import answer, as_json, family, from_json, plan

pytestmark = pytest.mark.usefixtures("warnings_are_errors")


def estimate(difference: float, items: int = 400, seed: int = 0) -> Estimate:
    rng = np.random.default_rng(seed)
    return Estimate.of(rng.random((3, items)) < 0.5 + difference, -1 * (rng.random((3, items)) < 0.5))


def test_p_values_are_corrected_by_holms_method() -> None:
    estimates = [estimate(0.12), estimate(0.0, seed=1), estimate(0.07, seed=2), estimate(-0.08, seed=3)]
    rows = family(estimates, 0.95)
    ordered = sorted(rows, key=lambda row: row["p_value"])
    expected = np.maximum.accumulate([(4 - place) * row["p_value"] for place, row in enumerate(ordered)])
    assert [row["p_adjusted"] for row in ordered] == pytest.approx(np.minimum(expected, 1))
    assert [row["p_value"] for row in rows] == [float(one.p_value) for one in estimates]


def test_of_one_difference_nothing_is_corrected() -> None:
    (row,) = family([estimate(0.05)], 0.9)
    assert row["p_adjusted"] == row["p_value"]
    assert row["level"] == pytest.approx(0.9)


@pytest.mark.parametrize("confidence", [0.5, 0.8, 0.95, 0.999])
def test_interval_answer_and_corrected_p_value_never_contradict_each_other(confidence: float) -> None:
    answers = set()
    for seed in range(40):
        rng = np.random.default_rng(seed)
        rows = family([estimate(rng.normal(0, 0.05), items, seed) for items in (1, 2, 9, 80, 400)], confidence)
        for row in rows:
            decided = row["p_adjusted"] <= round(1 - confidence, 9)
            assert decided == (row["low"] > 0 or row["high"] < 0)
            assert row["answer"] == answer(row["difference"], row["p_adjusted"], confidence)
            assert {BETTER: row["low"] > 0, WORSE: row["high"] < 0, UNDECIDED: not decided}[row["answer"]]
            answers.add(row["answer"])
    assert UNDECIDED in answers


def test_the_probability_of_a_better_training_is_on_the_side_of_the_difference() -> None:
    for row in family([estimate(0.1), estimate(-0.1)], 0.95):
        assert (row["probability"] > 0.5) == (row["difference"] > 0)


def test_with_one_seed_nothing_is_said_of_new_trainings() -> None:
    (row,) = family([Estimate.of(np.array([[1, 1, 1, 0]]), np.array([[0, -1, 0, 0]]))], 0.95)
    assert row["probability"] is None


# Seeds vary by 1 point on each side; an item's difference and an answer by 40 points.
VARIATION = Variation(0.16, np.array([1e-4, 1e-4]), np.array([0.16, 0.16]))


def test_a_plan_names_the_smallest_numbers_that_suffice() -> None:
    planned = plan(VARIATION, 0.95, 0.03, items=500, seeds=3)
    for seeds, items in planned["items"].items():
        if items is not None:
            assert VARIATION.detectable(items, seeds, 0.95) <= 0.03 < VARIATION.detectable(items - 1, seeds, 0.95)
    assert list(planned["items"]) == [2, 3, 5, 10, 20]
    known = [items for items in planned["items"].values() if items is not None]
    assert known == sorted(known, reverse=True)


def test_no_number_of_items_makes_up_for_seeds_that_vary() -> None:
    planned = plan(VARIATION, 0.95, 0.015, items=500, seeds=3)
    assert planned["items"][3] is None
    assert planned["items"][20] is not None
    assert VARIATION.detectable(10**9, 3, 0.95) > 0.015


def test_no_number_of_seeds_makes_up_for_items_that_are_few() -> None:
    planned = plan(VARIATION, 0.95, 0.03, items=100, seeds=3)
    assert planned["seeds"] is None
    assert plan(VARIATION, 0.95, 0.03, items=10_000, seeds=3)["seeds"] is not None


def test_a_plan_with_a_single_seed_is_one_of_items() -> None:
    alone = Variation(0.2, np.zeros(2), np.zeros(2))
    planned = plan(alone, 0.95, 0.02, items=500, seeds=1)
    assert planned["seeds"] is None
    # (1.96 + 0.84)**2 * 0.2 / 0.02**2 = 3,925 items, by the normal approximation.
    assert planned["items"] == {1: pytest.approx(3925, rel=0.05)}


def test_variances_are_the_same_after_metrics_json() -> None:
    again = from_json(as_json(VARIATION))
    assert again.detectable(500, 3, 0.95) == VARIATION.detectable(500, 3, 0.95)
