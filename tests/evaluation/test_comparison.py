"""From runs to metrics, on comparisons small enough to work out by hand."""

import json

import numpy as np
import pytest

from pipeline.evaluation.comparison import (
    RunResult,
    accuracy_table,
    by_length_table,
    calibration_table,
    compare,
    length_buckets,
)
from pipeline.evaluation.results import rows, strategies
from tests.support.made_up import HALF, MOST, compared, run


def test_metrics_hold_means_over_seeds() -> None:
    metrics = compared(
        run("tandem", 0, [1, 1, 0, 0], steps=30, paired_steps=10, seconds=1.0),
        run("tandem", 7, [1, 0, 0, 0], steps=40, paired_steps=20, seconds=2.0),
    )
    found = metrics["tandem"]
    assert found["word_accuracy"]["mean"] == 3 / 8
    assert found["character_error_rate"]["mean"] == 5 / 16
    assert (found["steps"], found["paired_steps"], found["seconds"]) == (35, 15, 1.5)
    assert found["by_seed"] == {"0": 0.5, "7": 0.25}
    assert (found["items"], found["seeds"], found["confidence"]) == (4, 2, 0.95)
    assert metrics["comparisons"] == {}


def test_strategies_and_comparisons_have_a_fixed_order_whatever_that_of_the_runs() -> None:
    metrics = compared(*(run(name, 0, HALF) for name in ("later", "tandem", "two_stage", "supervised")))
    assert strategies(metrics) == ["supervised", "two_stage", "tandem", "later"]
    assert list(metrics["comparisons"]) == [
        "two_stage_vs_supervised",
        "tandem_vs_supervised",
        "later_vs_supervised",
        "tandem_vs_two_stage",
        "later_vs_two_stage",
        "later_vs_tandem",
    ]


def test_differences_have_the_sign_of_the_first_named() -> None:
    metrics = compared(run("supervised", 0, HALF), run("tandem", 0, MOST))
    found = metrics["comparisons"]["tandem_vs_supervised"]
    assert found["difference"] == 0.25
    assert 0 < found["low"] < 0.25 < found["high"]
    assert found["p_value"] == 1 / 501


def test_one_more_strategy_leaves_the_other_numbers_as_they_are() -> None:
    two = [run("supervised", 0, HALF), run("tandem", 0, MOST)]
    before, after = compared(*two), compared(*two, run("two_stage", 0, MOST[::-1]))
    assert after["tandem"] == before["tandem"]
    assert after["comparisons"]["tandem_vs_supervised"] == before["comparisons"]["tandem_vs_supervised"]


def test_seen_and_unseen_targets_are_told_apart() -> None:
    found = compared(run("tandem", 0, [1, 1, 0, 1]), seen=[True, True, False, False])["tandem"]
    assert found["seen_targets"]["items"] == 2
    assert found["seen_targets"]["word_accuracy"] == {"mean": 1.0, "low": 1.0, "high": 1.0}
    assert found["unseen_targets"]["word_accuracy"]["mean"] == 0.5


def test_accuracy_by_other_orders_is_a_mean_over_seeds() -> None:
    def ordered(seed: int, greedy: list[bool]) -> RunResult:
        return run("tandem", seed, [1, 1, 0, 0], orders={"greedy": np.array(greedy)})

    metrics = compared(ordered(0, [True, False, False, False]), ordered(1, [True, True, False, False]))
    assert metrics["tandem"]["by_order"]["greedy"]["mean"] == 3 / 8
    assert metrics["tandem"]["word_accuracy"]["mean"] == 1 / 2


def test_calibration_error_pools_the_seeds() -> None:
    # Of four predictions with confidence 0.75 two are right, of four with 0.25 one: off by 0.25 and by 0.
    runs = [
        run("tandem", 0, [1, 0, 1, 0], confidences=[0.75, 0.75, 0.25, 0.25]),
        run("tandem", 1, [1, 0, 0, 0], confidences=[0.75, 0.75, 0.25, 0.25]),
    ]
    assert compared(*runs)["tandem"]["calibration_error"] == 0.125
    curve = calibration_table(runs)
    assert curve.columns.tolist() == ["strategy", "low", "high", "confidence", "accuracy", "items"]
    assert curve[["strategy", "confidence", "accuracy", "items"]].to_numpy().tolist() == [
        ["tandem", 0.25, 0.25, 4],
        ["tandem", 0.75, 0.5, 4],
    ]


def test_without_confidences_there_is_no_calibration_error() -> None:
    assert compared(run("tandem", 0, HALF))["tandem"]["calibration_error"] is None
    assert calibration_table([run("tandem", 0, HALF)]).empty


def test_ensembles_and_controls_are_rows_and_no_strategies() -> None:
    metrics = compared(
        run("supervised", 0, HALF),
        run("tandem", 0, HALF),
        ensembles=[run("tandem", 0, MOST, steps=60)],
        controls=[run("lookup", 0, [0] * 100)],
    )
    assert strategies(metrics) == ["supervised", "tandem"]
    assert list(metrics["comparisons"]) == ["tandem_vs_supervised"]
    assert metrics["ensembles"]["tandem"]["word_accuracy"]["mean"] == 0.75
    assert metrics["ensembles"]["tandem"]["steps"] == 60
    assert list(rows(metrics)) == ["lookup", "supervised", "tandem", "tandem, ensemble"]
    assert accuracy_table(metrics)["word_accuracy"].tolist() == [0, 0.5, 0.5, 0.75]


def test_a_side_without_items_is_null() -> None:
    assert compared(run("tandem", 0, HALF))["tandem"]["seen_targets"] is None
    assert compared(run("tandem", 0, HALF), seen=[True] * 100)["tandem"]["unseen_targets"] is None


def test_metrics_are_strict_json_even_for_a_single_item() -> None:
    metrics = compared(run("supervised", 0, [0]), run("tandem", 0, [1]))
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics


def test_length_buckets_hold_about_equally_many_items() -> None:
    assert length_buckets(list(range(1, 11)) * 3) == [(1, 2), (3, 4), (5, 6), (7, 8), (9, 10)]


def test_length_buckets_never_split_a_length() -> None:
    assert length_buckets([3] * 9) == [(3, 3)]
    assert length_buckets([1] + [4] * 8 + [9]) == [(1, 4), (9, 9)]


def test_accuracy_by_source_length_covers_every_item_once() -> None:
    lengths = [1, 1, 2, 2, 3, 3, 4, 4, 9, 9]
    metrics = compare([run("tandem", 0, [1, 1, 1, 0, 1, 0, 1, 0, 0, 0])], [False] * 10, lengths, resamples=100)
    buckets = metrics["tandem"]["by_source_length"]
    assert [(bucket["from"], bucket["to"], bucket["items"]) for bucket in buckets] == [
        (1, 1, 2),
        (2, 2, 2),
        (3, 3, 2),
        (4, 4, 2),
        (9, 9, 2),
    ]
    assert [bucket["word_accuracy"]["mean"] for bucket in buckets] == [1, 0.5, 0.5, 0.5, 0]


@pytest.mark.parametrize(
    ("results", "message"),
    [
        ([], "no runs"),
        ([run("tandem", 0, HALF), run("tandem", 0, HALF)], "two runs of one seed"),
        ([run("tandem", 0, HALF), run("tandem", 1, [1])], "other items"),
        ([run("comparisons", 0, HALF)], "cannot be named"),
        ([run("ensembles", 0, HALF)], "cannot be named"),
    ],
)
def test_runs_that_cannot_be_compared_are_refused(results: list[RunResult], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compare(results, [False] * 100, [1] * 100)


def test_marks_and_lengths_must_be_those_of_the_items() -> None:
    with pytest.raises(ValueError, match="100 test items, but 99 marks"):
        compare([run("tandem", 0, HALF)], [False] * 99, [1] * 100)


def test_tables_for_plots_are_flat() -> None:
    metrics = compared(run("supervised", 0, HALF), run("tandem", 0, MOST))
    assert list(accuracy_table(metrics).columns) == ["strategy", "word_accuracy", "low", "high"]
    assert accuracy_table(metrics)["word_accuracy"].tolist() == [0.5, 0.75]
    lengths = by_length_table(metrics)
    assert list(lengths.columns) == ["strategy", "from", "to", "items", "word_accuracy", "low", "high"]
    assert lengths["items"].tolist() == [100, 100]
