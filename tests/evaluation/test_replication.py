"""In how many data sets a strategy is better: partial conjunctions worked out by hand, and their errors."""

import numpy as np
import pytest
from scipy import stats

from pipeline.errors import UserError
from pipeline.evaluation.replication import Replication, at_least, found, two_level
from tests.support.made_up import HALF, MOST, compared, run


def test_bonferronis_count_by_hand() -> None:
    # 4 * 0.001, 3 * 0.01 and 2 * 0.02 are at most 0.05, 1 * 0.3 is not.
    assert at_least([0.02, 0.001, 0.3, 0.01], 0.05) == 3
    assert found([0.02, 0.001, 0.3, 0.01], 0.05).tolist() == [True, True, False, True]
    # 4 * 0.02 is above 0.05, so the others count for nothing.
    assert at_least([0.02, 0.02, 0.02, 0.02], 0.05) == 0


def test_fishers_count_by_hand() -> None:
    # For u = 1: -2 * sum(log(0.02)) = 31.3 on 8 degrees of freedom, p = 0.0001; for u = 4: 0.02 itself.
    assert at_least([0.02, 0.02, 0.02, 0.02], 0.05, independent=True) == 4
    assert at_least([0.02, 0.02, 0.02, 0.9], 0.05, independent=True) == 2  # u = 3: 0.02 and 0.9 together have 0.09
    assert stats.combine_pvalues([0.02, 0.9]).pvalue == pytest.approx(0.09, abs=0.005)


@pytest.mark.parametrize("independent", [True, False])
def test_a_count_is_too_large_at_most_as_often_as_allowed(independent: bool) -> None:
    rng, true = np.random.default_rng(0), 2
    counts = [
        at_least([*rng.uniform(0, 1e-6, size=true), *rng.uniform(size=4)], 0.05, independent) for _ in range(2_000)
    ]
    assert np.mean(np.array(counts) > true) <= 0.06
    assert np.mean(np.array(counts) >= true) > 0.99


def test_strategies_are_compared_in_the_direction_asked_for() -> None:
    forth = compared(run("two_stage", 0, HALF), run("tandem", 0, MOST))
    back = compared(run("tandem", 0, MOST), run("two_stage", 0, HALF))
    for metrics in (forth, back):
        assert two_level(metrics, "tandem", "two_stage")["difference"] == 0.25
        assert two_level(metrics, "two_stage", "tandem")["high"] < 0
        assert two_level(metrics, "two_stage", "tandem")["answer"] == "worse"
    replication = Replication.of({"a": forth, "b": back}, "tandem", "two_stage")
    assert at_least(replication.p_values(), replication.error) == 2
    assert at_least(replication.p_values(of_better=False), replication.error) == 0


def test_a_comparison_without_one_of_the_strategies_is_named() -> None:
    both = compared(run("two_stage", 0, HALF), run("tandem", 0, MOST))
    other = compared(run("supervised", 0, HALF), run("tandem", 0, MOST))
    with pytest.raises(UserError, match=r"b does not compare tandem with two_stage \(compared: supervised, tandem\)"):
        Replication.of({"a": both, "b": other})
