"""What a threshold of confidence covers, and how often that is right: numbers worked out by hand."""

import numpy as np
import pytest

from pipeline.evaluation.coverage import COLUMNS, THRESHOLDS, coverage_table
from pipeline.evaluation.metrics import Resampling
from tests.support.made_up import HALF, MOST, run

RESAMPLING = Resampling(resamples=2000)


def test_shares_are_counted_over_all_seeds() -> None:
    sure = run("tandem", 0, [1, 1, 0, 0], confidences=[0.99, 0.9, 0.9, 0.1])
    unsure = run("tandem", 1, [1, 0, 0, 0], confidences=[0.7, 0.6, 0.2, 0.1])
    table = coverage_table([sure, unsure], RESAMPLING).set_index("at_least")
    assert (8 * table["coverage"]).tolist() == [8, 5, 5, 4, 3, 3, 3, 1, 1, 1]
    assert table["accuracy"][[0.0, 0.5, 0.7, 0.9, 0.99]].tolist() == [3 / 8, 3 / 5, 3 / 4, 2 / 3, 1]


def test_without_a_threshold_it_is_the_word_accuracy_with_its_interval() -> None:
    runs = [run("tandem", seed, right, confidences=np.linspace(0, 1, 100)) for seed, right in enumerate((HALF, MOST))]
    first = coverage_table(runs, RESAMPLING).iloc[0]
    expected = RESAMPLING.word_accuracy([HALF, MOST])
    assert (first["coverage"], first["coverage_low"], first["coverage_high"]) == (1, 1, 1)
    assert first["accuracy"] == expected.mean
    assert (first["accuracy_low"], first["accuracy_high"]) == pytest.approx((expected.low, expected.high), abs=0.01)


def test_intervals_are_wider_where_less_is_covered() -> None:
    table = coverage_table([run("tandem", 0, HALF, confidences=np.linspace(0, 1, 100))], RESAMPLING)
    assert list(table) == COLUMNS
    assert table["at_least"].tolist() == list(THRESHOLDS)
    assert table["coverage"].is_monotonic_decreasing
    widths = table["accuracy_high"] - table["accuracy_low"]
    assert widths.iloc[0] < widths[table["at_least"] == 0.8].item()
    for part in ("coverage", "accuracy"):
        assert (table[f"{part}_low"] <= table[part]).all()
        assert (table[part] <= table[f"{part}_high"]).all()


def test_thresholds_that_leave_nothing_have_no_row_and_unknown_confidences_no_table() -> None:
    assert coverage_table([run("tandem", 0, HALF, confidences=[0.75] * 100)], RESAMPLING)["at_least"].max() == 0.7
    assert coverage_table([run("tandem", 0, HALF)], RESAMPLING).empty
