"""From runs to metrics, curves, examples and words, on comparisons small enough to work out by hand."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.alphabet import Symbols
from pipeline.comparison import (
    Metrics,
    RunResult,
    accuracy_table,
    by_length_table,
    compare,
    examples,
    length_buckets,
    strategies,
    table,
    verdict,
)
from pipeline.curves import curves_table, mean_curve
from pipeline.markdown import escape, markdown_table, p_value_text, points
from pipeline.scoring import score


def run(strategy: str, seed: int, right: Sequence[int], **changes: Any) -> RunResult:
    """A run on the items 00, 01, 02, ...: `right` says which it got; wrong is one symbol of two."""
    targets = [f"{item:02}" for item in range(len(right))]
    predictions = [target if is_right else f"x{target[1]}" for target, is_right in zip(targets, right, strict=True)]
    scores = score(predictions, targets, [{target} for target in targets], Symbols.CHARACTERS)
    sources = [f"source {target}" for target in targets]
    values = {"updates": 20, "paired_updates": 10, "seconds": 1.0, **changes}
    return RunResult(strategy, seed, sources, targets, predictions, scores, **values)


def history(*accuracies: float, every: int = 10) -> pd.DataFrame:
    updates = every * np.arange(1, len(accuracies) + 1)
    return pd.DataFrame({"update": updates, "dev_word_accuracy": accuracies, "dev_character_error_rate": 0.5})


def compared(*results: RunResult, seen: Sequence[bool] | None = None, **settings: Any) -> Metrics:
    items = len(results[0].targets)
    lengths = [2] * items
    return compare(results, [False] * items if seen is None else seen, lengths, **{"resamples": 500, **settings})


HALF = [1, 1, 0, 0] * 25
MOST = [1, 1, 1, 0] * 25


def test_metrics_hold_means_over_seeds() -> None:
    metrics = compared(
        run("tandem", 0, [1, 1, 0, 0], updates=30, paired_updates=10, seconds=1.0),
        run("tandem", 7, [1, 0, 0, 0], updates=40, paired_updates=20, seconds=2.0),
    )
    found = metrics["tandem"]
    assert found["word_accuracy"]["mean"] == 3 / 8
    assert found["character_error_rate"]["mean"] == 5 / 16
    assert (found["updates"], found["paired_updates"], found["seconds"]) == (35, 15, 1.5)
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
    ],
)
def test_runs_that_cannot_be_compared_are_refused(results: list[RunResult], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compare(results, [False] * 100, [1] * 100)


def test_marks_and_lengths_must_be_those_of_the_items() -> None:
    with pytest.raises(ValueError, match="100 test items, but 99 marks"):
        compare([run("tandem", 0, HALF)], [False] * 99, [1] * 100)


def test_mean_curve_goes_on_with_the_best_value_of_a_seed_that_stopped() -> None:
    runs = [
        run("tandem", 0, HALF, history=history(0.1, 0.5, 0.3)),  # stopped at 30, keeps the weights of 20
        run("tandem", 1, HALF, history=history(0.1, 0.3, 0.3, 0.7)),
    ]
    curve = mean_curve(runs)
    assert list(curve.index) == [10, 20, 30, 40]
    assert curve.tolist() == pytest.approx([0.1, 0.4, 0.3, 0.6])


def test_curves_table_has_one_column_per_strategy_and_no_blanks_after_a_stop() -> None:
    found = curves_table(
        [
            run("tandem", 0, HALF, history=history(0.1, 0.2, 0.3, 0.4)),
            run("supervised", 0, HALF, history=history(0.2, 0.1)),
        ]
    )
    assert found.to_dict("list") == {
        "update": [10, 20, 30, 40],
        "supervised": [0.2, 0.1, 0.2, 0.2],
        "tandem": [0.1, 0.2, 0.3, 0.4],
    }


def test_curves_skip_rows_without_an_evaluation_and_runs_without_any() -> None:
    blank = pd.DataFrame({"update": [5, 10], "dev_word_accuracy": [np.nan, 0.5]})
    found = curves_table([run("tandem", 0, HALF, history=blank), run("supervised", 0, HALF)])
    assert found["update"].tolist() == [10]
    assert found["tandem"].tolist() == [0.5]
    assert found["supervised"].isna().all()


def test_tables_for_plots_are_flat() -> None:
    metrics = compared(run("supervised", 0, HALF), run("tandem", 0, MOST))
    assert list(accuracy_table(metrics).columns) == ["strategy", "word_accuracy", "low", "high"]
    assert accuracy_table(metrics)["word_accuracy"].tolist() == [0.5, 0.75]
    lengths = by_length_table(metrics)
    assert list(lengths.columns) == ["strategy", "from", "to", "items", "word_accuracy", "low", "high"]
    assert lengths["items"].tolist() == [100, 100]


def test_examples_are_those_won_then_those_lost() -> None:
    found = examples(
        [
            *(run("supervised", seed, [1, 0, 0, 1, 1]) for seed in range(3)),
            *(run("tandem", seed, [1, 1, 0, 0, 1]) for seed in range(3)),
        ]
    )
    assert found[["item", "outcome"]].to_numpy().tolist() == [[1, "won"], [3, "lost"]]
    assert found.loc[0, "supervised_prediction"] == "x1"
    assert found.loc[0, "tandem_prediction"] == "01"
    assert found.loc[1, "tandem_accuracy"] == 0


def test_examples_that_differ_in_more_seeds_come_first() -> None:
    results = [run("supervised", seed, [0, 0]) for seed in range(3)]
    results += [run("tandem", 0, [0, 1]), run("tandem", 1, [1, 1]), run("tandem", 2, [1, 1])]
    assert examples(results)["item"].tolist() == [1, 0]


def test_a_repeated_item_is_one_example() -> None:
    def twice(strategy: str, right: int) -> RunResult:
        once = run(strategy, 0, [right])
        return replace(
            once,
            sources=[*once.sources] * 2,
            targets=[*once.targets] * 2,
            predictions=[*once.predictions] * 2,
            scores=pd.concat([once.scores] * 2, ignore_index=True),
        )

    assert examples([twice("supervised", 0), twice("tandem", 1)])["item"].tolist() == [0]


def test_an_item_is_no_example_where_no_majority_changes() -> None:
    results = [run("supervised", seed, [0]) for seed in range(2)] + [run("tandem", 0, [1]), run("tandem", 1, [0])]
    assert examples(results).empty


def test_a_prediction_shown_is_one_of_the_majority() -> None:
    results = [run("supervised", seed, [1]) for seed in range(3)]
    results += [run("tandem", 0, [1]), run("tandem", 1, [0]), run("tandem", 2, [0])]
    assert examples(results).loc[0, "tandem_prediction"] == "x0"


@pytest.mark.parametrize(("limit", "outcomes"), [(4, (2, 2)), (5, (3, 2)), (8, (6, 2)), (1, (1, 0)), (20, (10, 2))])
def test_examples_are_balanced_as_far_as_there_are_enough(limit: int, outcomes: tuple[int, int]) -> None:
    results = [run("supervised", 0, [0] * 10 + [1] * 2), run("tandem", 0, [1] * 10 + [0] * 2)]
    found = examples(results, limit)["outcome"].value_counts()
    assert (found.get("won", 0), found.get("lost", 0)) == outcomes


def test_verdict_says_what_is_won_and_what_may_be_luck() -> None:
    # Against two_stage 25 items won and none lost; against supervised one won and none lost.
    almost = [0, *MOST[1:]]
    metrics = compared(run("tandem", 0, MOST), run("two_stage", 0, HALF), run("supervised", 0, almost))
    found = verdict(metrics)
    assert found.startswith("On 100 test items and 1 seed, tandem beats two_stage by 25.0 points of word accuracy (95%")
    assert "tandem and supervised cannot be told apart (+1.0 points" in found
    assert "paired updates" not in found


def test_verdict_says_when_tandem_loses() -> None:
    assert "tandem loses to supervised by 25.0 points" in verdict(
        compared(run("tandem", 0, HALF), run("supervised", 0, MOST))
    )


def test_verdict_names_the_best_of_further_strategies_from_the_side_of_tandem() -> None:
    metrics = compared(run("tandem", 0, HALF), run("weak", 0, HALF), run("strong", 0, MOST))
    assert "tandem loses to strong by 25.0 points of word accuracy (95% interval -" in verdict(metrics)
    assert "weak" not in verdict(metrics)


def test_verdict_says_when_budgets_differ() -> None:
    metrics = compared(run("tandem", 0, MOST, paired_updates=12), run("supervised", 0, HALF, paired_updates=9))
    assert verdict(metrics).endswith("; the paired updates spent differ (supervised 9, tandem 12).")


def test_verdict_of_a_single_strategy_compares_nothing() -> None:
    assert "nothing to compare it with" in verdict(compared(run("supervised", 0, HALF)))


def test_table_shows_per_cent_and_points() -> None:
    metrics = compared(run("supervised", 0, HALF), run("tandem", 0, MOST, updates=12_000, seconds=61.7))
    lines = table(metrics).splitlines()
    assert "word accuracy, % (95% interval)" in lines[0]
    assert lines[2].startswith("| supervised |")
    assert " 75.0 (" in lines[3]
    assert [cell.strip() for cell in lines[3].split("|")[4:7]] == ["10", "12,000", "62"]
    assert lines[-1].startswith("| tandem vs supervised |")
    assert "+25.0 (+" in lines[-1]


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("two_stage", "two_stage"),
        ("_a_ b", r"\_a\_ b"),
        ("a|b", r"a\|b"),
        ("$x$ *y* `z`", r"\$x\$ \*y\* \`z\`"),
        ("<script>&amp;", "&lt;script&gt;&amp;amp;"),
        ("a\nb\x00\ud800\u202e", "a\ufffdb\ufffd\ufffd\ufffd"),
        ("", "*(empty)*"),
        ("naïve 漢字 👍🏽", "naïve 漢字 👍🏽"),
    ],
)
def test_any_text_is_literal_in_markdown(text: str, escaped: str) -> None:
    assert escape(text) == escaped


def test_markdown_table_is_aligned() -> None:
    assert markdown_table(["name", "n"], [["a", "1,000"], ["long|er", "2"]]) == (
        "| name     |     n |\n| -------- | ----: |\n| a        | 1,000 |\n| long\\|er |     2 |\n"
    )


def test_small_numbers_read_well() -> None:
    assert [points(value) for value in (0.0194, -0.0194, -0.0001, 0.0)] == ["+1.9", "-1.9", "0.0", "0.0"]
    assert [p_value_text(value) for value in (0.61234, 0.0123, 1 / 10_001)] == ["0.61", "0.012", "≤ 0.0001"]
