"""What is said of a comparison: the verdict, the tables."""

import numpy as np

from pipeline.report.markdown import percent
from pipeline.report.tables import calibration_errors, table, verdict
from tests.support.made_up import HALF, MOST, compared, run


def test_verdict_says_what_is_won_and_what_may_be_luck() -> None:
    # Against two_stage 25 items won and none lost; against supervised one won and none lost.
    almost = [0, *MOST[1:]]
    metrics = compared(run("tandem", 0, MOST), run("two_stage", 0, HALF), run("supervised", 0, almost))
    found = verdict(metrics)
    assert found.startswith("On 100 test items and 1 seed, tandem beats two_stage by 25.0 points of word accuracy (95%")
    assert "tandem and supervised cannot be told apart (+1.0 points" in found
    assert "paired steps" not in found


def test_verdict_says_when_tandem_loses() -> None:
    assert "tandem loses to supervised by 25.0 points" in verdict(
        compared(run("tandem", 0, HALF), run("supervised", 0, MOST))
    )


def test_verdict_names_the_best_of_further_strategies_from_the_side_of_tandem() -> None:
    metrics = compared(run("tandem", 0, HALF), run("weak", 0, HALF), run("strong", 0, MOST))
    assert "tandem loses to strong by 25.0 points of word accuracy (95% interval -" in verdict(metrics)
    assert "weak" not in verdict(metrics)


def test_verdict_says_when_budgets_differ() -> None:
    metrics = compared(run("tandem", 0, MOST, paired_steps=12), run("supervised", 0, HALF, paired_steps=9))
    assert verdict(metrics).endswith("; the paired steps spent differ (supervised 9, tandem 12).")


def test_verdict_of_a_single_strategy_compares_nothing() -> None:
    assert "nothing to compare it with" in verdict(compared(run("supervised", 0, HALF)))


def test_table_shows_per_cent_and_points() -> None:
    metrics = compared(run("supervised", 0, HALF), run("tandem", 0, MOST, steps=12_000, seconds=61.7))
    lines = table(metrics).splitlines()
    assert "word accuracy, % (95% interval)" in lines[0]
    assert lines[2].startswith("| supervised |")
    assert " 75.0 (" in lines[3]
    assert [cell.strip() for cell in lines[3].split("|")[5:8]] == ["10", "12,000", "62"]
    assert lines[-1].startswith("| tandem vs supervised |")
    assert "+25.0 (+" in lines[-1]


def test_table_has_controls_first_and_ensembles_last_and_greedy_accuracies_where_they_are_known() -> None:
    metrics = compared(
        run("tandem", 0, MOST, orders={"greedy": np.array([True, False] * 50)}),
        ensembles=[run("tandem", 0, [1] * 100)],
        controls=[run("lookup", 0, [0] * 100, steps=0)],
    )
    cells = [[cell.strip() for cell in line.split("|")[1:4]] for line in table(metrics).splitlines()[2:]]
    assert cells == [
        ["lookup", "0.0 (0.0 to 0.0)", "–"],
        ["tandem", percent(metrics["tandem"]["word_accuracy"]), "50.0"],
        ["tandem, ensemble", "100.0 (100.0 to 100.0)", "–"],
    ]


def test_calibration_errors_are_those_of_what_has_confidences() -> None:
    metrics = compared(run("supervised", 0, HALF), run("tandem", 0, HALF, confidences=[0.75] * 100))
    assert calibration_errors(metrics).splitlines()[2:] == ["| tandem   |                               25.0 |"]
