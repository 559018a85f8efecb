"""Differences for new items and new seeds, where the truth is known: coverage, false positives, power."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.coverage import Truth, covered, covered_by_bootstrap
from pipeline.evaluation.variation import Estimate, Variation

pytestmark = pytest.mark.usefixtures("warnings_are_errors")

TESTS, SAMPLED = 6_000, 2_000
SPREADS = [0.0, 0.02, 0.08]  # with 200 items, whose difference has a standard error of some 2 points: none to most


@pytest.mark.parametrize("seeds", [3, 5, 10])
@pytest.mark.parametrize("spread", SPREADS)
def test_95_per_cent_of_the_intervals_contain_the_difference(seeds: int, spread: float) -> None:
    truth = Truth(200, seeds, (spread, spread), difference=0.06)
    assert 0.93 <= covered(truth, TESTS, np.random.default_rng(0)) <= 0.97


@pytest.mark.parametrize("seeds", [3, 5, 10])
@pytest.mark.parametrize("spread", SPREADS)
def test_equal_strategies_are_told_apart_in_at_most_one_of_twenty_tests(seeds: int, spread: float) -> None:
    truth = Truth(200, seeds, (spread, spread))
    assert 1 - covered(truth, TESTS, np.random.default_rng(1)) <= 0.055


def test_it_holds_for_small_tests_and_where_the_seeds_of_one_strategy_alone_vary() -> None:
    for truth in (Truth(50, 3, (0.0, 0.0), 0.1, 0.8), Truth(200, 3, (0.03, 0.0), 0.06), Truth(100, 5, (0.03, 0.0))):
        assert 0.93 <= covered(truth, TESTS, np.random.default_rng(2)) <= 0.972


@pytest.mark.parametrize("samples", [3, 5, 10])
@pytest.mark.parametrize(("spread", "seeds"), [(0.0, 0.02), (0.02, 0.02), (0.05, 0.0)])
def test_intervals_over_samples_hold_for_new_samples_seeds_and_items(samples: int, spread: float, seeds: float) -> None:
    truth = Truth(100, 3, (seeds, seeds), 0.06, samples=samples, sample_spread=spread)
    assert 0.93 <= covered(truth, SAMPLED, np.random.default_rng(0)) <= 0.975
    same = replace(truth, difference=0.0)
    assert 1 - covered(same, SAMPLED, np.random.default_rng(1)) <= 0.06


def test_one_sample_says_nothing_of_others() -> None:
    truth = Truth(100, 3, (0.0, 0.0), samples=3, sample_spread=0.05)
    assert 1 - covered(truth, SAMPLED, np.random.default_rng(1), only_first=True) > 0.15


def test_each_sample_counts_as_one_training_that_is_the_mean_of_its_seeds() -> None:
    scores = np.random.default_rng(3).integers(-1, 2, (4, 3, 100))
    found, known = Estimate.of_samples(scores), Estimate.of(scores.mean(axis=1))
    assert (found.difference, found.seeds) == (known.difference, (4,))
    assert found.variation.training == known.variation.training
    assert found.p_value > known.p_value  # by caution


@pytest.mark.parametrize("levels", [1, 2])
def test_the_bootstrap_is_too_narrow_with_three_seeds_that_vary(levels: int) -> None:
    assert covered_by_bootstrap(Truth(200, 3, (0.08, 0.08)), 500, np.random.default_rng(3), levels) < 0.88


@pytest.mark.parametrize(("seeds", "spread"), [(3, 0.0), (3, 0.03), (5, 0.03), (10, 0.03)])
def test_a_detectable_difference_is_found_in_80_per_cent_of_the_tests(seeds: int, spread: float) -> None:
    rng, truth = np.random.default_rng(4), Truth(200, seeds, (spread, spread))
    better, other = truth.draw(TESTS, rng)
    variation = Estimate.of(better, -other).variation
    true = Variation(*(np.mean(each, axis=-1) for each in (variation.item, variation.training, variation.residual)))
    detectable = true.detectable(200, seeds, level=0.95)
    better, other = Truth(200, seeds, truth.spread, detectable).draw(TESTS, rng)
    found = Estimate.of(better, -other)
    assert np.mean((found.p_value < 0.05) & (found.difference > 0)) == pytest.approx(0.8, abs=0.03)


def test_a_new_training_is_better_as_often_as_its_probability_says() -> None:
    rng, truth = np.random.default_rng(5), Truth(300, 4, (0.02, 0.02), difference=0.02)
    better, other = truth.draw(2_000, rng)
    found = Estimate.of(better, -other)
    new = rng.normal(0.02, 0.02 * np.sqrt(2), size=2_000)  # the difference of one more training of each
    ahead = Estimate(found.difference - new, found.variation, found.items, found.seeds).probability
    for probability in (0.1, 0.5, 0.9):
        assert np.mean(ahead < probability) == pytest.approx(probability, abs=0.03)


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (3, 1), (2, 2), (3, 40)])
def test_interval_and_p_value_never_contradict_each_other(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(6)
    for level in (0.5, 0.9, 0.95, 0.999):
        found = Estimate.of(rng.random((500, *shape)) < 0.7, -1.0 * (rng.random((500, *shape)) < 0.4))
        low, high = found.interval(level)
        assert np.array_equal(found.p_value < 1 - level, (low > 0) | (high < 0))


def test_few_answers_that_agree_prove_nothing() -> None:
    for items, decides in ((1, False), (2, False), (4, False), (5, False), (8, True)):
        found = Estimate.of(np.ones((1, items)), np.zeros((1, items)))
        assert (found.p_value < 0.05) == decides


def test_variances_are_those_of_the_analysis_of_variance() -> None:
    # Two trainings that get 3 and 1 of 4 items: between their accuracies (1/4)**2 * 2, the residual below.
    scores = np.array([[1, 1, 1, 0], [1, 0, 0, 0]])
    residual = ((scores - scores.mean(axis=0) - scores.mean(axis=1, keepdims=True) + 0.5) ** 2).sum() / 3
    found = Estimate.of(scores).variation
    assert found.residual == pytest.approx([residual])
    assert found.training == pytest.approx([1 / 8 - residual / 4])
    assert found.item == pytest.approx(max(scores.mean(axis=0).var(ddof=1) - residual / 2, 0))


def test_of_a_single_seed_only_items_are_known() -> None:
    one, other = np.array([[1, 1, 0, 1, 0, 1, 1, 1]]), np.array([[0, 1, 0, 1, 1, 0, 0, 1]])
    found = Estimate.of(one, -other)
    assert not found.knows_seeds
    assert found.p_value == pytest.approx(Estimate.of(one - other).p_value)


def test_a_difference_turned_round_says_the_same() -> None:
    rng = np.random.default_rng(7)
    one, other = rng.random((3, 50)) < 0.6, rng.random((4, 50)) < 0.4
    found, turned = Estimate.of(one, -1 * other), Estimate.of(1 * other, -1 * one)
    assert (-turned).difference == pytest.approx(found.difference)
    assert turned.p_value == pytest.approx(found.p_value)
    assert turned.probability == pytest.approx(1 - found.probability)


def test_tables_of_different_items_are_refused() -> None:
    with pytest.raises(ValueError, match="same items"):
        Estimate.of(np.ones((2, 3)), np.ones((2, 4)))
