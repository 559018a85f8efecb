"""From runs to metrics, on comparisons small enough to work out by hand."""

import json
from dataclasses import replace

import numpy as np
import pytest

from pipeline.evaluation.comparison import (
    RunResult,
    calibration_table,
    compare,
    length_buckets,
)
from pipeline.evaluation.metrics import Resampling
from pipeline.evaluation.results import accuracy_table, rows, strategies
from tests.support.made_up import HALF, MOST, SHIPPED, compared, run


def test_metrics_hold_means_over_seeds() -> None:
    metrics = compared(
        run("tandem", 0, [1, 1, 0, 0], steps=30, paired_steps=10),
        run("tandem", 7, [1, 0, 0, 0], steps=40, paired_steps=20),
    )
    found = metrics["tandem"]
    assert found["word_accuracy"]["mean"] == 3 / 8
    assert found["character_error_rate"]["mean"] == 5 / 16
    assert (found["steps"], found["paired_steps"]) == (35, 15)
    assert found["by_seed"] == {"0": 0.5, "7": 0.25}
    assert (found["items"], found["seeds"], found["confidence"]) == (4, 2, 0.95)
    assert metrics["comparisons"] == {}


def test_strategies_keep_their_order_and_each_is_compared_with_all_before_it() -> None:
    metrics = compared(*(run(name, 0, HALF) for name in ("mine", "supervised", "tandem")))
    assert strategies(metrics) == ["mine", "supervised", "tandem"]
    assert list(metrics["comparisons"]) == ["supervised_vs_mine", "tandem_vs_mine", "tandem_vs_supervised"]


def test_differences_have_the_sign_of_the_first_named() -> None:
    metrics = compared(run("supervised", 0, HALF), run("tandem", 0, MOST))
    found = metrics["comparisons"]["tandem_vs_supervised"]
    assert found["difference"] == 0.25
    assert 0 < found["low"] < 0.25 < found["high"]
    assert found["p_value"] == 1 / 501


def test_an_ingredient_buys_the_difference_of_strategies_that_have_nothing_else_apart() -> None:
    metrics = compared(*(run(name, 0, MOST if "tandem" in name else HALF) for name in SHIPPED))
    bought = [(row["ingredient"], row["with"], row["without"]) for row in metrics["ingredients"]]
    assert bought == [
        ("synthetic", "augmented", "supervised"),
        ("synthetic", "tandem", "alternating"),
        ("autoencode", "alternating", "supervised"),
        ("autoencode", "tandem", "augmented"),
        ("pretrained", "two_stage", "augmented"),
    ]
    assert [row["difference"] for row in metrics["ingredients"]] == [0, 0.25, 0, 0.25, 0]


def test_reranker_and_ensemble_are_what_they_add_to_the_same_trainings() -> None:
    beam = {"beam": np.array(HALF, dtype=bool)}
    runs = [run("tandem", seed, MOST, reranked=True, orders=beam) for seed in (0, 1)]
    listed = [True, True, False, False] * 25  # the reranker gains on every third of four items, none of them listed
    metrics = compared(*runs, listed=listed, ensembles=[run("tandem", 0, [1] * 100)])
    bought = {row["ingredient"]: (row["difference"], row["probability"] is None) for row in metrics["ingredients"]}
    assert bought == {
        "reranker": (0.25, False),
        "reranker_listed": (0.0, False),
        "reranker_unlisted": (0.5, False),
        "ensemble": (0.25, True),
    }


def test_the_list_is_what_it_adds_to_the_reranker_of_the_same_trainings() -> None:
    orders = {"without_list": np.array(HALF, dtype=bool)}
    metrics = compared(*(run("tandem", seed, MOST, reranked=True, orders=orders) for seed in (0, 1)))
    (row,) = metrics["ingredients"]
    assert (row["ingredient"], row["without"], row["difference"]) == ("list", "tandem without it", 0.25)


def test_without_a_reranker_it_buys_nothing() -> None:
    runs = [run("tandem", seed, MOST, orders={"beam": np.array(MOST, dtype=bool)}) for seed in (0, 1)]
    assert compared(*runs)["ingredients"] == []


def test_trained_symbols_are_means_over_seeds() -> None:
    assert compared(run("tandem", 0, HALF, symbols=10), run("tandem", 1, HALF, symbols=20))["tandem"]["symbols"] == 15


def test_the_trained_models_alone_stand_beside_the_difference_for_new_seeds() -> None:
    rng = np.random.default_rng(0)
    runs = [
        run(name, seed, (rng.random(100) < share).astype(int).tolist())
        for name, shares in (("two_stage", (0.3, 0.5, 0.7)), ("tandem", (0.5, 0.7, 0.9)))
        for seed, share in enumerate(shares)
    ]
    found = compared(*runs)["comparisons"]["tandem_vs_two_stage"]
    assert found["low"] > 0  # of these trainings
    assert found["two_level"]["low"] < 0  # which vary too much to speak of others
    assert found["two_level"]["difference"] == pytest.approx(found["difference"])


def test_strategies_with_unequal_budgets_show_no_ingredient() -> None:
    settings = SHIPPED | {"augmented": replace(SHIPPED["augmented"], steps=999)}
    runs = [run(name, 0, HALF) for name in ("supervised", "augmented", "alternating")]
    metrics = compared(*runs, settings=settings)
    assert [row["ingredient"] for row in metrics["ingredients"]] == ["autoencode"]


@pytest.mark.parametrize(
    ("names", "focus", "rivals"),
    [
        (["supervised", "augmented", "two_stage", "alternating", "tandem"], "tandem", ["two_stage"]),
        (["tandem", "two_stage", "supervised"], "two_stage", ["tandem"]),
        (["supervised", "two_stage", "tandem", "mine"], "mine", ["two_stage", "tandem"]),
        (["supervised", "alternating"], "alternating", []),
        (["tandem", "mine", "supervised"], "mine", ["tandem"]),
    ],
)
def test_the_verdict_is_between_strategies_of_the_same_materials(
    names: list[str], focus: str, rivals: list[str]
) -> None:
    settings = SHIPPED | {"mine": replace(SHIPPED["tandem"], steps=500)}
    metrics = compared(*(run(name, 0, HALF) for name in names), settings=settings)
    assert (metrics["verdict"]["focus"], metrics["verdict"]["rivals"]) == (focus, rivals)


def test_one_more_strategy_leaves_the_other_numbers_as_they_are() -> None:
    two = [run("supervised", 0, HALF), run("tandem", 0, MOST)]
    before, after = compared(*two), compared(*two, run("two_stage", 0, MOST[::-1]))
    assert after["tandem"] == before["tandem"]
    assert after["comparisons"]["tandem_vs_supervised"] == before["comparisons"]["tandem_vs_supervised"]


def test_listed_and_unlisted_targets_are_told_apart() -> None:
    found = compared(run("tandem", 0, [1, 1, 0, 1]), listed=[True, True, False, False])["tandem"]
    assert found["listed_targets"]["items"] == 2
    assert found["listed_targets"]["word_accuracy"] == {"mean": 1.0, "low": 1.0, "high": 1.0}
    assert found["unlisted_targets"]["word_accuracy"]["mean"] == 0.5


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
    assert compared(run("tandem", 0, HALF))["tandem"]["listed_targets"] is None
    assert compared(run("tandem", 0, HALF), listed=[True] * 100)["tandem"]["unlisted_targets"] is None


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
    metrics = compare(
        [run("tandem", 0, [1, 1, 1, 0, 1, 0, 1, 0, 0, 0])], [False] * 10, lengths, resampling=Resampling(resamples=100)
    )
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
        ([run("tandem", 0, HALF), run("tandem", 1, [1])], "other test items"),
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
