"""What the cells of heat maps show."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection

from pipeline.evaluation.results import AttentionMap
from pipeline.report.heatmaps import SYMBOLS, attention, confusion_map


def table(*rows: tuple[str, str, int]) -> pd.DataFrame:
    columns = ["strategy", "target", "written", "count", "occurrences"]
    return pd.DataFrame([("tandem", *row, 100) for row in rows], columns=columns)


def cells(axes: Axes) -> dict[tuple[int, int], float]:
    """How full each cell is that is not empty, by row and column."""
    (drawn,) = (found for found in axes.collections if isinstance(found, PatchCollection))
    corners = [np.asarray(path.get_extents().min) + 0.5 for path in drawn.get_paths()]
    full = np.asarray(drawn.get_facecolor())[:, 3]
    return {(int(y), int(x)): float(alpha) for (x, y), alpha in zip(corners, full, strict=True)}


def labels(axes: Axes) -> tuple[list[str], list[str]]:
    down, across = axes.get_yticklabels(), axes.get_xticklabels()
    return [label.get_text() for label in down], [label.get_text() for label in across]


def test_a_confusion_is_a_cell_in_the_row_of_the_target_and_the_column_of_what_is_written() -> None:
    axes = confusion_map(table(("b", "a", 16), ("a", "", 4), ("", "b", 1)), "tandem", 2, "green").axes[0]
    assert labels(axes) == (["a", "b", "∅"], ["a", "b", "∅"])
    # As full as the root of the share in the most frequent one.
    assert cells(axes) == pytest.approx({(1, 0): 1.0, (0, 2): 0.5, (2, 1): 0.25})
    assert {text.get_position(): text.get_text() for text in axes.texts} == {(0, 1): "8", (2, 0): "2", (1, 2): "0.5"}


def test_only_symbols_with_the_most_confusions_are_shown() -> None:
    rows = [(chr(ord("a") + number % 26) + str(number), "", 100 - number) for number in range(40)]
    down, across = labels(confusion_map(table(*rows), "tandem", 1, "green").axes[0])
    assert len(down) == SYMBOLS + 1
    assert down == across
    assert set(down) == {target for target, _, _ in rows[:SYMBOLS]} | {"∅"}


def test_another_strategy_is_left_out_and_no_mistakes_are_named_so() -> None:
    figure = confusion_map(table(("b", "a", 3)), "supervised", 1, "green")
    assert not figure.axes
    assert "supervised makes no mistakes" in figure.texts[0].get_text()


def test_an_attention_map_has_the_source_across_and_what_is_written_down() -> None:
    one = AttentionMap(("AH", "\u0301"), ("a", " ", "$"), np.array([[1.0, 0.0], [0.25, 0.75], [0.0, 1.0]], np.float32))
    figure = attention([one, one, one], "tandem", "green")
    assert len([axes for axes in figure.axes if axes.get_visible()]) == 3
    assert labels(figure.axes[0]) == (["a", "␣", r"\$"], ["AH", "◌\u0301"])
    assert cells(figure.axes[0]) == pytest.approx({(0, 0): 1, (1, 0): 0.25, (1, 1): 0.75, (2, 1): 1})


def test_without_maps_a_figure_says_so() -> None:
    assert "no map" in attention([], "tandem", "green").texts[0].get_text()
