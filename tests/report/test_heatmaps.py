"""What the cells of heat maps show."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import to_rgba

from pipeline.evaluation.results import AttentionMap, EvaluationResults
from pipeline.report.figures import PALETTE
from pipeline.report.heatmaps import SYMBOLS, attention, confusions
from tests.support.made_up import evaluation, run


def with_confusions(*rows: tuple[str, str, int], strategy: str = "tandem", seeds: int = 1) -> EvaluationResults:
    columns = ["strategy", "target", "written", "count", "occurrences"]
    table = pd.DataFrame([("tandem", *row, 100) for row in rows], columns=columns)
    return evaluation([run(strategy, seed, [1, 0]) for seed in range(seeds)], confusions=table)


def cells(axes: Axes) -> dict[tuple[int, int], float]:
    """How full each cell is that is not empty, by row and column."""
    (drawn,) = (found for found in axes.collections if isinstance(found, QuadMesh))
    shares = np.asarray(drawn.get_array())
    return {(int(row), int(column)): float(shares[row, column]) for row, column in np.argwhere(shares)}


def labels(axes: Axes) -> tuple[list[str], list[str]]:
    down, across = axes.get_yticklabels(), axes.get_xticklabels()
    return [label.get_text() for label in down], [label.get_text() for label in across]


def test_a_confusion_is_a_cell_in_the_row_of_the_target_and_the_column_of_what_is_written() -> None:
    axes = confusions(with_confusions(("b", "a", 16), ("a", "", 4), ("", "b", 1), seeds=2)).axes[0]
    assert labels(axes) == (["a", "b", "∅"], ["a", "b", "∅"])
    # As full as the root of the share in the most frequent one.
    assert cells(axes) == pytest.approx({(1, 0): 1.0, (0, 2): 0.5, (2, 1): 0.25})
    assert {text.get_position(): text.get_text() for text in axes.texts} == {(0, 1): "8", (2, 0): "2", (1, 2): "0.5"}
    assert axes.yaxis_inverted()


def test_a_cell_has_the_colour_of_the_strategy_more_or_less_opaque() -> None:
    figure = confusions(with_confusions(("b", "a", 16), ("a", "b", 4)))
    figure.draw_without_rendering()
    (drawn,) = (found for found in figure.axes[0].collections if isinstance(found, QuadMesh))
    assert np.asarray(drawn.get_facecolor())[3] == pytest.approx(to_rgba(PALETTE[0], 1))
    assert np.asarray(drawn.get_facecolor())[1] == pytest.approx(to_rgba(PALETTE[0], 0.5), abs=0.01)


def test_only_symbols_with_the_most_confusions_are_shown() -> None:
    rows = [(chr(ord("a") + number % 26) + str(number), "", 100 - number) for number in range(40)]
    down, across = labels(confusions(with_confusions(*rows)).axes[0])
    assert len(down) == SYMBOLS + 1
    assert down == across
    assert set(down) == {target for target, _, _ in rows[:SYMBOLS]} | {"∅"}


def test_another_strategy_is_left_out_and_no_mistakes_are_named_so() -> None:
    figure = confusions(with_confusions(("b", "a", 3), strategy="supervised"))
    assert not figure.axes
    assert "supervised makes no mistakes" in figure.texts[0].get_text()


def test_an_attention_map_has_the_source_across_and_what_is_written_down() -> None:
    one = AttentionMap(("AH", "\u0301"), ("a", " ", "$"), np.array([[1.0, 0.0], [0.25, 0.75], [0.0, 1.0]], np.float32))
    figure = attention(evaluation([run("tandem", 0, [1])], attention=[one, one, one]))
    assert len(figure.axes) == 3
    assert labels(figure.axes[0]) == (["a", "␣", r"\$"], ["AH", "◌\u0301"])
    assert cells(figure.axes[0]) == pytest.approx({(0, 0): 1, (1, 0): 0.25, (1, 1): 0.75, (2, 1): 1})


def test_a_source_from_right_to_left_is_across_in_its_direction() -> None:
    maps = [AttentionMap(tuple(source), ("a",), np.full((1, 4), 0.25, np.float32)) for source in ("שלום", "abcd")]
    figure = attention(evaluation([run("tandem", 0, [1])], attention=maps))
    assert [axes.xaxis_inverted() for axes in figure.axes] == [True, False]
    assert labels(figure.axes[0])[1] == list("שלום")


def test_a_single_symbol_has_a_whole_square() -> None:
    one = AttentionMap(("a",), ("b",), np.ones((1, 1), np.float32))
    axes = attention(evaluation([run("tandem", 0, [1])], attention=[one])).axes[0]
    assert (axes.get_xlim(), axes.get_ylim()) == ((-0.5, 0.5), (0.5, -0.5))


def test_without_maps_a_figure_says_so() -> None:
    assert "no map" in attention(evaluation([run("tandem", 0, [1])])).texts[0].get_text()
