"""A comparison as text: the verdict, the tables, any text as markdown."""

import re
from pathlib import Path

import numpy as np
import pytest

from pipeline.report.costs import Costs
from pipeline.report.tables import (
    comparison,
    escape,
    how_to_read,
    listed_share,
    markdown_table,
    p_value_text,
    percent,
    points,
    probability_text,
    table,
    verdict,
    visible,
)
from tests.conftest import Call
from tests.support.made_up import HALF, MOST, compared, evaluation, run


def test_the_verdict_compares_strategies_of_the_same_materials() -> None:
    metrics = compared(run("two_stage", 0, HALF), run("augmented", 0, HALF), run("tandem", 0, MOST))
    sentence = "On 100 test items and 1 seed, tandem beats two_stage by 25.0 points of word accuracy (95% interval +"
    assert verdict(metrics).startswith(sentence)
    assert "augmented" not in verdict(metrics)


def test_the_verdict_says_what_may_be_luck() -> None:
    metrics = compared(run("two_stage", 0, [0, *MOST[1:]]), run("tandem", 0, MOST))
    assert "tandem cannot be told apart from two_stage (+1.0 points, 95% interval" in verdict(metrics)


def test_the_verdict_says_when_the_focus_loses() -> None:
    assert "tandem loses to two_stage by 25.0 points" in verdict(
        compared(run("two_stage", 0, MOST), run("tandem", 0, HALF))
    )


def test_the_verdict_names_another_strategy_with_the_highest_accuracy() -> None:
    most = run("augmented", 0, [1, *[1, 1, 0] * 33])
    pair = [run("two_stage", 0, [0] * 100), run("tandem", 0, HALF)]
    assert "; augmented has the highest accuracy and beats tandem by 17.0 points" in verdict(compared(*pair, most))
    slightly = run("augmented", 0, [1, 1, 1, *HALF[3:]])
    assert "augmented has the highest accuracy and cannot be told apart from tandem (+1.0 points" in verdict(
        compared(*pair, slightly)
    )


def test_without_strategies_of_the_same_materials_the_best_is_compared_with_the_next() -> None:
    metrics = compared(
        *(run(name, 0, right) for name, right in (("weak", [0] * 100), ("strong", MOST), ("mine", HALF)))
    )
    assert "seed, strong beats mine by 25.0 points" in verdict(metrics)
    assert "; strong beats weak by 75.0 points" in verdict(metrics)


def test_the_verdict_says_when_budgets_differ() -> None:
    metrics = compared(run("two_stage", 0, HALF, paired_steps=9), run("tandem", 0, MOST, paired_steps=12))
    assert verdict(metrics).endswith("; their paired steps differ (two_stage 9, tandem 12).")


def test_the_verdict_of_a_single_strategy_compares_nothing() -> None:
    assert "no other was trained" in verdict(compared(run("supervised", 0, HALF)))


def test_the_main_table_shows_per_cent_steps_and_seconds() -> None:
    metrics = compared(run("supervised", 0, HALF), run("tandem", 0, MOST, steps=12_000))
    lines = table(metrics, Costs({"tandem": 61.7})).splitlines()
    assert "word accuracy, % (95% interval)" in lines[0]
    assert lines[2].startswith("| supervised |")
    assert " 75.0 (" in lines[3]
    assert [cell.strip() for cell in lines[2].split("|")[6:10]] == ["10", "20", "0", "–"]
    assert [cell.strip() for cell in lines[3].split("|")[6:10]] == ["10", "12,000", "0", "62"]
    assert "seconds" not in table(metrics)


def test_below_it_stands_what_each_ingredient_buys() -> None:
    lines = table(compared(run("supervised", 0, HALF), run("augmented", 0, MOST))).splitlines()
    assert [cell.strip() for cell in lines[-1].split("|")[1:3]] == ["made-up pairs", "augmented - supervised"]
    assert "+25.0 (+" in lines[-1]


def test_the_headline_says_how_many_targets_are_listed() -> None:
    metrics = compared(run("tandem", 0, HALF), listed=[True] * 46 + [False] * 54)
    assert listed_share(metrics).startswith(
        "Accuracies are those on all 100 test items, of which 46% have a target that"
    )
    assert "0% have" in listed_share(compared(run("tandem", 0, HALF)))


def test_tandem_compare_prints_the_table_and_the_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Call
) -> None:
    monkeypatch.chdir(tmp_path)
    made = evaluation([run("two_stage", 0, HALF), run("tandem", 0, MOST)])
    made.save()
    code, output, error = call("compare")
    assert (code, error) == (0, "")
    assert output == f"{table(made.metrics)}\n{how_to_read(made.metrics)}\n\n{verdict(made.metrics)}\n"


def test_the_verdict_shows_corrected_p_values_where_it_has_several_differences() -> None:
    one = compared(run("two_stage", 0, HALF), run("tandem", 0, MOST))
    assert "corrected" not in verdict(one)
    metrics = compared(run("weak", 0, [0] * 100), run("strong", 0, MOST), run("mine", 0, HALF))
    first, second = metrics["verdict"]["differences"]
    assert sorted([first["level"], second["level"]]) == pytest.approx([0.95, 0.975])
    assert "95% interval" in verdict(metrics)
    assert "97.5% interval" in verdict(metrics)
    assert verdict(metrics).count("p ≤ 0.0001, corrected ≤ 0.0001)") == 2


def test_the_verdict_says_how_sure_a_new_training_is_better_and_what_the_test_can_find() -> None:
    runs = [run(name, seed, right) for name, right in (("two_stage", HALF), ("tandem", MOST)) for seed in (0, 1, 2)]
    text = verdict(compared(*runs))
    assert "a new training is better with probability > 0.99)" in text
    assert re.search(r"; this test finds true differences of \d+\.\d points with a probability of 80%\.$", text)


def test_with_one_seed_the_verdict_says_that_nothing_is_known_of_others() -> None:
    text = verdict(compared(run("two_stage", 0, HALF), run("tandem", 0, MOST)))
    assert text.endswith("; of other seeds nothing is known.")
    assert "new training" not in text


def test_a_test_of_a_few_items_finds_nothing_reliably() -> None:
    text = verdict(compared(run("two_stage", 0, [0]), run("tandem", 0, [1])))
    assert "tandem cannot be told apart from two_stage (+100.0 points, 95% interval -100.0 to +100.0, p = 1)" in text
    assert "this test is too small to find any difference reliably" in text


def test_a_probability_is_never_certain() -> None:
    assert [probability_text(each) for each in (0.0, 0.25, 0.999, None)] == ["< 0.01", "0.25", "> 0.99", "–"]


def test_table_has_controls_first_and_ensembles_last_and_accuracies_of_other_orders_where_they_are_known() -> None:
    metrics = compared(
        run("tandem", 0, MOST, orders={"greedy": np.array([True, False] * 50), "oracle": np.ones(100, dtype=bool)}),
        ensembles=[run("tandem", 0, [1] * 100)],
        controls=[run("lookup", 0, [0] * 100, steps=0)],
    )
    cells = [[cell.strip() for cell in line.split("|")[1:5]] for line in table(metrics).splitlines()[2:5]]
    assert cells == [
        ["lookup", "0.0 (0.0 to 0.0)", "–", "–"],
        ["tandem", percent(metrics["tandem"]["word_accuracy"]), "50.0", "100.0"],
        ["tandem, ensemble", "100.0 (100.0 to 100.0)", "–", "–"],
    ]


def test_the_comparison_has_verdict_and_tables_and_no_plots() -> None:
    results = [run("supervised", 0, HALF), run("tandem", 0, HALF, confidences=[0.75] * 100)]
    text = comparison(compared(*results, listed=[True, False] * 50))
    assert text.startswith("# Comparison\n\nOn 100 test items and 1 seed, ")
    assert re.findall("^## (.*)$", text, re.MULTILINE) == [
        "By whether the target is listed",
        "By the number of symbols in the source",
        "Calibration",
    ]
    assert text.splitlines()[-1] == "| tandem   |                               25.0 |"
    assert "![" not in text


def test_every_symbol_can_be_seen() -> None:
    assert [visible(symbol) for symbol in ("a", "", " ", "\u00a0", "\u0301", "\u202e", "AH")] == [
        "a",
        "∅",
        "␣",
        "␣",
        "◌\u0301",
        "\ufffd",
        "AH",
    ]


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("two_stage", "two_stage"),
        ("_a_ b", r"\_a\_ b"),
        ("a|b", r"a\|b"),
        ("$x$ *y* `z`", r"\$x\$ \*y\* \`z\`"),
        ("<script>&amp;", "&lt;script&gt;&amp;amp;"),
        ("a\nb\x00\ud800\u202e", "a\ufffdb\ufffd\ufffd\ufffd"),
        ("https://a.b WWW.c.d e@f.g", r"https\://a.b WWW\.c.d e\@f.g"),
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
