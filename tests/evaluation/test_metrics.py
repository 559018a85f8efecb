"""Accuracies, error rates, intervals and tests against numbers worked out by hand."""

import resource

import numpy as np
import pytest
from scipy import stats

from pipeline.evaluation.metrics import Resampling

pytestmark = pytest.mark.usefixtures("warnings_are_errors")

word_accuracy, character_error_rate, paired_difference = (
    Resampling().word_accuracy,
    Resampling().character_error_rate,
    Resampling().paired_difference,
)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_word_accuracy_is_the_mean_over_seeds_and_items() -> None:
    assert word_accuracy([[True, False, True, True], [True, False, False, True]]).mean == 5 / 8


def test_character_error_rate_is_all_edits_over_all_symbols() -> None:
    assert character_error_rate([[1, 0], [3, 0]], [[4, 6], [4, 6]]).mean == 4 / 20


def test_character_error_rate_of_empty_targets_is_a_number() -> None:
    assert character_error_rate([[0, 2]], [[0, 0]]).mean == 2.0


def test_interval_agrees_with_the_normal_approximation() -> None:
    correct = np.arange(2000)[None] < 600  # 30% right: a standard error of sqrt(.3 * .7 / 2000) = 0.01025
    interval = word_accuracy(correct)
    assert interval.mean == 0.3
    assert interval.low == pytest.approx(0.3 - 1.96 * 0.01025, abs=0.001)
    assert interval.high == pytest.approx(0.3 + 1.96 * 0.01025, abs=0.001)


def test_interval_is_that_of_scipys_bootstrap(rng: np.random.Generator) -> None:
    lengths = rng.integers(1, 12, size=300)
    edits = rng.binomial(lengths, 0.3)
    interval = character_error_rate(edits[None], lengths[None])
    expected = stats.bootstrap(
        (edits, lengths),
        lambda edits, lengths, axis=-1: edits.sum(axis=axis) / lengths.sum(axis=axis),
        paired=True,
        method="percentile",
        n_resamples=10_000,
        rng=rng,
    ).confidence_interval
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high), abs=0.001)


def test_copies_of_a_seed_leave_the_interval_as_wide() -> None:
    correct = np.arange(500)[None] % 3 == 0
    one, three = (Resampling(seed=1).word_accuracy(np.repeat(correct, n, axis=0)) for n in (1, 3))
    assert three.low == pytest.approx(one.low)
    assert three.high == pytest.approx(one.high)


def test_interval_narrows_with_less_confidence() -> None:
    correct = np.arange(500)[None] % 2 == 0
    wide, narrow = (Resampling(confidence=c).word_accuracy(correct) for c in (0.95, 0.5))
    assert wide.low < narrow.low < narrow.high < wide.high


@pytest.mark.parametrize("items", [1, 2, 500])
@pytest.mark.parametrize("right", [True, False])
def test_interval_has_no_width_where_all_items_agree(items: int, right: bool) -> None:
    interval = word_accuracy(np.full((3, items), right))
    assert (interval.mean, interval.low, interval.high) == (right, right, right)


def test_the_same_seed_gives_the_same_interval() -> None:
    correct = np.arange(100)[None] % 3 == 0
    assert Resampling(seed=7).word_accuracy(correct) == Resampling(seed=7).word_accuracy(correct)


def test_no_items_and_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\[seeds, items\]"):
        word_accuracy(np.ones((3, 0)))
    with pytest.raises(ValueError, match=r"\[seeds, items\]"):
        word_accuracy([True, False])
    with pytest.raises(ValueError, match="cannot be paired"):
        paired_difference([[True, False]], [[True]])


def test_difference_is_that_of_the_mean_accuracies_whatever_the_numbers_of_seeds() -> None:
    found = paired_difference([[1, 1, 0, 0]], [[1, 0, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0]])
    assert found.difference == pytest.approx(2 / 4 - 2 / 12)


def test_p_value_of_few_items_is_the_share_of_swaps() -> None:
    # Four items, all won: 2 of the 16 ways to swap, none and all, give a difference as large.
    assert paired_difference([[1, 1, 1, 1]], [[0, 0, 0, 0]]).p_value == pytest.approx(2 / 16, abs=0.015)
    # Three won, one lost: sums of 4 signs reach 2 in either direction in 2 * (1 + 4) of 16 ways.
    assert paired_difference([[1, 1, 1, 0]], [[0, 0, 0, 1]]).p_value == pytest.approx(10 / 16, abs=0.02)


def test_p_value_is_that_of_scipy_where_seeds_make_differences_of_many_sizes(rng: np.random.Generator) -> None:
    correct, baseline = rng.random((3, 200)) < 0.55, rng.random((2, 200)) < 0.5
    expected = stats.permutation_test(
        (correct.mean(axis=0), baseline.mean(axis=0)),
        lambda a, b, axis: np.mean(a - b, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=9999,
        rng=rng,
    ).pvalue
    assert paired_difference(correct, baseline).p_value == pytest.approx(expected, abs=0.02)


def test_p_value_agrees_with_the_sign_test() -> None:
    # 60 items won, 40 lost, 900 equal. The exact two-sided sign test gives 0.0569.
    correct = np.arange(1000)[None] < 60
    baseline = (np.arange(1000)[None] >= 60) & (np.arange(1000)[None] < 100)
    found = paired_difference(correct, baseline)
    assert found.p_value == pytest.approx(0.0569, abs=0.008)
    assert found.difference == pytest.approx(0.02)
    assert found.low < 0.02 < found.high


def test_p_value_is_never_zero() -> None:
    assert Resampling(resamples=999).paired_difference(np.ones((1, 500)), np.zeros((1, 500))).p_value == 1 / 1000


def test_equal_strategies_differ_by_nothing() -> None:
    correct = np.arange(300)[None] % 2 == 0
    found = paired_difference(correct, np.repeat(correct, 3, axis=0))
    assert (found.difference, found.low, found.high, found.p_value) == (0, 0, 0, 1)


def test_swapping_the_strategies_turns_the_difference_around() -> None:
    draw = np.random.default_rng(3)
    a, b = draw.random((3, 400)) < 0.6, draw.random((2, 400)) < 0.5
    forth, back = (paired_difference(x, y) for x, y in ((a, b), (b, a)))
    assert forth.difference == -back.difference
    assert forth.low == pytest.approx(-back.high, abs=1e-3)
    assert forth.p_value == pytest.approx(back.p_value, abs=0.01)


def test_p_values_are_uniform_where_strategies_are_equally_good() -> None:
    draw = np.random.default_rng(5)
    values = [
        Resampling(resamples=199, seed=seed).paired_difference(*(draw.random((2, 3, 200)) < 0.5)).p_value
        for seed in range(200)
    ]
    assert 0.01 <= np.mean(np.array(values) <= 0.05) <= 0.10
    assert 0.4 <= np.mean(values) <= 0.6


def test_large_test_sets_are_resampled_in_little_memory(rng: np.random.Generator) -> None:
    correct = rng.random((3, 100_000)) < 0.3
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    Resampling(resamples=200).paired_difference(correct, ~correct)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000  # kB
