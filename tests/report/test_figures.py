"""What the plots show."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.evaluation.comparison import compare
from pipeline.evaluation.metrics import Resampling
from pipeline.report.figures import (
    accuracy_by_pairs,
    calibration,
    coverage,
    learning_curves,
    noise,
    save,
    styles,
    word_accuracy,
)
from tests.support.made_up import evaluation, rewrites, several


def test_each_of_twelve_strategies_has_its_own_colour_and_marker() -> None:
    found = styles([f"strategy{number}" for number in range(12)])
    assert len({style["color"] for style in found.values()}) == 12
    assert len({style["marker"] for style in found.values()}) == 12


def test_legend_lies_above_the_data(tmp_path: Path) -> None:
    results = several(("supervised", "tandem"), ["a", "b"])
    figure = learning_curves(evaluation(results))
    save(figure, tmp_path / "curves.png")
    axes = figure.axes[0]
    legend = axes.get_legend()
    assert legend is not None
    assert legend.get_window_extent().y0 >= axes.get_window_extent().y1


def test_accuracy_plot_shows_interval_mean_and_seeds(tmp_path: Path) -> None:
    results = several(("supervised",), [f"word{n}" for n in range(10)])
    metrics = compare(results, [False] * 10, [5] * 10, resampling=Resampling(resamples=100))
    axes = word_accuracy(evaluation(results, metrics)).axes[0]
    assert [text.get_text() for text in axes.texts] == ["50.0%"]
    seeds = axes.lines[-1].get_xdata()
    assert np.asarray(seeds).tolist() == [0.5, 0.5]


def test_accuracy_plot_shows_ensembles_in_the_colour_of_their_strategy() -> None:
    results = several(("supervised", "tandem"), [f"word{n}" for n in range(10)])
    metrics = compare(results, [False] * 10, [5] * 10, resampling=Resampling(resamples=100), ensembles=results[-1:])
    axes = word_accuracy(evaluation(results, metrics)).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["supervised", "tandem", "tandem, ensemble"]
    marks = [line for line in axes.lines if line.get_marker() in ("o", "s") and line.get_markersize() == 6]
    assert marks[2].get_color() == marks[1].get_color() != marks[0].get_color()
    assert marks[2].get_markerfacecolor() == "white"


def test_reliability_plot_has_the_points_of_its_table() -> None:
    results = several(("supervised",), [f"word{n}" for n in range(10)])  # every other item is right
    (points,) = calibration(evaluation(results)).axes[0].collections
    offsets = np.asarray(points.get_offsets())
    assert offsets[:, 0] == pytest.approx(np.linspace(0.05, 0.95, 10))
    assert offsets[:, 1].tolist() == [0, 1] * 5


def test_coverage_plot_has_a_mark_for_each_threshold_and_names_some() -> None:
    results = evaluation(several(("supervised", "tandem"), [f"word{n}" for n in range(20)]))
    axes = coverage(results).axes[0]
    assert np.asarray(axes.lines[0].get_xdata()).tolist() == results.coverage["coverage"].tolist()
    assert [text.get_text() for text in axes.texts] == ["0.5", "0.7", "0.8", "0.9"]


def test_noise_plot_names_context_symbol_and_what_stands_for_it() -> None:
    axes = noise(evaluation(several(("tandem",), ["a"]), noise=rewrites("e", ""))).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["^[e]e → e", "^[] → ∅"]
    assert axes.patches[0].get_width() == 0.75  # type: ignore[attr-defined]
    assert [text.get_text().strip() for text in axes.texts] == ["3 of 4", "3 of 4"]


def test_noise_plot_keeps_sides_of_any_direction_apart_and_marks_visible() -> None:
    axes = noise(evaluation(several(("tandem",), ["a"]), noise=rewrites("ب", "\u0915", "\u093f"))).axes[0]
    labels = [label.get_text() for label in axes.get_yticklabels()]
    isolate, end = "\N{FIRST STRONG ISOLATE}", "\N{POP DIRECTIONAL ISOLATE}"
    assert labels == [f"{isolate}^[ب]ب{end} → {isolate}ب{end}", "^[क]क → क", "^[◌ि]◌ि → ◌ि"]


def test_accuracy_by_pairs_has_a_line_for_each_strategy_through_its_sizes() -> None:
    rows = pd.DataFrame(
        [("tandem", 1000, 0.5, 0.4, 0.6), ("tandem", 100, 0.2, 0.1, 0.3), ("supervised", 100, 0.1, 0.0, 0.2)],
        columns=["strategy", "pairs", "word_accuracy", "low", "high"],
    )
    axes = accuracy_by_pairs(rows, ["supervised", "tandem"], 0.95).axes[0]
    lines = {str(line.get_label()): line for line in axes.lines}
    assert np.asarray(lines["tandem"].get_xydata()).tolist() == [[100, 0.2], [1000, 0.5]]
    assert np.asarray(lines["supervised"].get_xydata()).tolist() == [[100, 0.1]]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["100", "1,000"]
