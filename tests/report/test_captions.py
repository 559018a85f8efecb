"""Sentences about a comparison, against numbers that can be worked out by hand."""

import pandas as pd

from pipeline.evaluation.comparison import RunResult, curves_table, histories_table
from pipeline.report import captions
from tests.support.made_up import HALF, MOST, compared, history, run


def test_the_headline_is_about_the_strategies_of_the_verdict() -> None:
    beaten, winner = run("two_stage", 0, HALF), run("tandem", 0, MOST)
    best = run("augmented", 0, [1] * 100)
    assert captions.headline(compared(beaten, best, winner)) == "tandem beats two_stage by 25.0 points"
    assert captions.headline(compared(winner, beaten)) == "two_stage loses to tandem by 25.0 points"
    same = compared(run("two_stage", 0, HALF), run("tandem", 0, HALF))
    assert captions.headline(same) == "tandem and two_stage cannot be told apart"


def test_without_a_verdict_the_headline_names_the_best_strategy() -> None:
    metrics = compared(run("supervised", 0, HALF), run("tandem", 0, MOST))
    assert captions.headline(metrics) == "tandem is best: it gets 75.0% right"


def test_the_best_strategy_need_not_be_the_one_in_focus() -> None:
    metrics = compared(run("supervised", 0, MOST), run("tandem", 0, HALF))
    assert captions.headline(metrics) == "supervised is best: it gets 75.0% right"


def test_strategies_between_which_the_test_does_not_decide_share_the_headline() -> None:
    two = compared(run("supervised", 0, MOST), run("tandem", 0, MOST))
    assert captions.headline(two) == "No clear winner between supervised and tandem"
    results = [run("supervised", 0, HALF), run("alternating", 0, MOST), run("tandem", 0, MOST)]
    assert captions.headline(compared(*results)) == "No clear winner between alternating and tandem"
    results = [run(name, 0, MOST) for name in ("supervised", "alternating", "tandem")]
    assert captions.headline(compared(*results)) == "No clear winner among supervised, alternating and tandem"


def test_a_strategy_alone_has_nothing_to_win() -> None:
    assert captions.headline(compared(run("tandem", 0, MOST))) == "tandem gets 75.0% right"


def curves(*runs: RunResult) -> str:
    return captions.learning_curves(curves_table(runs), histories_table(runs))


def test_learning_curves_say_what_was_reached_and_what_was_still_rising() -> None:
    flat = run("supervised", 0, HALF, history=history(0.1, 0.3, 0.3, 0.3, 0.3))
    rising = run("tandem", 0, HALF, history=history(0.1, 0.2, 0.3, 0.4, 0.5))
    reached = "Words of the development set right at the best evaluation, mean of the seeds: supervised 30.0%"
    assert curves(flat) == f"{reached}."
    assert curves(flat, rising) == (
        f"{reached}, tandem 50.0%. tandem was still rising at the end, so more steps may help."
    )
    assert curves(run("tandem", 0, HALF)) == "There are no learning curves."


def test_numbers_of_pairs_are_compared_from_the_fewest_to_the_most() -> None:
    rows = pd.DataFrame(
        [("tandem", 1000, 0.5), ("tandem", 100, 0.25), ("tandem", 500, 0.3), ("supervised", 100, 0.1)],
        columns=["strategy", "pairs", "word_accuracy"],
    )
    assert captions.by_pairs(rows) == "Right with 100 and with 1,000 pairs: tandem 25.0% and 50.0%."


def test_the_most_frequent_mistakes_are_named() -> None:
    table = pd.DataFrame(
        [("tandem", "e", "", 100), ("tandem", "", "e", 5), ("tandem", "a", "o", 3), ("tandem", "x", "y", 1)],
        columns=["strategy", "target", "written", "count"],
    )
    sentence = captions.confusions(table, "tandem", runs=2).replace("\u2068", "").replace("\u2069", "")
    assert sentence == (
        "In one run over the test set tandem leaves out “e” 50 times, inserts “e” 2.5 times and writes “o” for “a” "
        "1.5 times."
    )


def test_calibration_names_what_is_known_and_what_is_not() -> None:
    certain = run("tandem", 0, HALF, confidences=[0.75] * len(HALF))  # half are right
    metrics = compared(run("supervised", 0, HALF), certain)
    assert captions.calibration(metrics) == (
        "Off on average, in points (expected calibration error): tandem 25.0. Without confidences: supervised."
    )


def test_coverage_says_what_a_threshold_leaves_and_how_often_that_is_right() -> None:
    rows = [(0.0, 1.0, 0.5), (0.7, 0.75, 0.6), (0.8, 0.5, 0.8), (0.95, 0.25, 1.0)]
    table = pd.DataFrame(rows, columns=["at_least", "coverage", "accuracy"]).assign(accuracy_low=0.4, accuracy_high=1.0)
    assert captions.coverage(table, "tandem") == (
        "Of all predictions tandem gets 50.0% right. "
        "With --at-least 0.8 it predicts 50.0% of the items, and of these 80.0% (40.0 to 100.0) are right. "
        "With --at-least 0.95 it predicts 25.0% of the items, and of these 100.0% (40.0 to 100.0) are right."
    )
    assert captions.coverage(table[:2], "tandem") == "Of all predictions tandem gets 50.0% right."
