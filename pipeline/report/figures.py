"""Plots of a comparison, from the tables and metrics of its evaluation.

Figures are made without pyplot and thus without a display or shared state. They are narrow, to be read on a telephone
too, and have no titles: a file gets one when it is saved, a page has its own text. A strategy has the same colour in
all of them.
"""

import textwrap
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator
from numpy.typing import NDArray

from pipeline.evaluation.results import EvaluationResults, ensemble_title, focus_of, rows, strategies
from pipeline.report.captions import mean_curve
from pipeline.report.costs import Costs
from pipeline.report.directions import isolated
from pipeline.report.fonts import choose_fonts, forget_fonts
from pipeline.report.tables import length_range, level, visible
from pipeline.text import printable

# Okabe & Ito (2008), Color Universal Design, then Tol (2021), muted: told apart with any kind of colour vision.
PALETTE = (
    *("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00"),
    *("#000000", "#332288", "#999933", "#882255", "#44AA99", "#8C510A"),
)
MARKERS = ("o", "s", "D", "^", "v", "P", "X", "<", ">", "p", "h", "*")  # for print without colour
INK, MUTED, GRID = "#222222", "#666666", "#dddddd"
OTHER = {"color": MUTED, "marker": "o"}  # of controls
BARS: dict[str, Any] = {"markersize": 6, "elinewidth": 1.6, "capsize": 3}
REWRITES = 30  # that are drawn
NAMED_THRESHOLDS = (0.5, 0.7, 0.8, 0.9, 0.99)  # of confidence
WIDTH = 5.0  # inches
LABEL = 36  # characters, at most
DOTS = 180  # of a PNG, to the inch

PER_CENT = FuncFormatter(lambda value, _: f"{100 * value:.4g}%")

Styles = dict[str, dict[str, Any]]


def styles(names: Sequence[str]) -> Styles:
    """Colour and marker of each strategy, by its place among all of them; from the 13th on they repeat."""
    pairs = zip(names, cycle(zip(PALETTE, MARKERS, strict=True)), strict=False)
    return {name: {"color": colour, "marker": marker} for name, (colour, marker) in pairs}


def learning_curves(results: EvaluationResults) -> Figure:
    """Dev word accuracy by step: the mean of each strategy as a thick line, its seeds as thin ones.

    A thin line ends where its seed stopped; the mean continues with that seed's best value.
    """
    figure, axes = _frame(height=3.7)
    for name, style in styles(strategies(results.metrics)).items():
        seeds = results.histories[results.histories["strategy"] == name]
        for _, run in seeds.groupby("seed"):
            curve = run.set_index("step")["dev_word_accuracy"]
            axes.plot(curve.index, curve, color=style["color"], linewidth=0.8, alpha=0.45)
            axes.plot(curve.index[-1:], curve[-1:], linestyle="", markersize=3, alpha=0.6, **style)
        mean = mean_curve(results.curves, name, seeds["step"].max() if len(seeds) else 0)
        axes.plot(mean.index, mean, linewidth=2.2, color=style["color"], label=literal(name))
    axes.set(xlim=(0, None), ylim=(0, None))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    return _labelled(figure, "paired steps (thick: mean of the seeds; thin: each of them)", "words right")


def accuracy_by_seconds(costs: Costs, names: Sequence[str]) -> Figure:
    """Dev word accuracy of each training of the strategies `names` by its seconds, pretraining included."""
    figure, axes = _frame(height=3.7)
    for name, style in styles(names).items():
        for seconds, accuracies in costs.curves.get(name, ()):
            axes.plot(seconds, accuracies, color=style["color"], linewidth=1.2, alpha=0.7)
            axes.plot(seconds[-1:], accuracies[-1:], linestyle="", markersize=5, **style)
        axes.plot([], [], label=literal(name), **style)
    axes.set(xlim=(0, None), ylim=(0, None))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.4g}"))
    return _labelled(figure, "seconds of training (a line for each seed; mark: its end)", "words right")


def word_accuracy(results: EvaluationResults) -> Figure:
    """Test word accuracy of everything compared, with intervals; small dots are the seeds of a strategy."""
    shown = rows(results.metrics)
    known = styles(strategies(results.metrics))
    known |= {ensemble_title(name): {**style, "markerfacecolor": "white"} for name, style in known.items()}
    figure, axes = _frame(height=0.9 + 0.42 * len(shown), grid="x")
    for place, (name, row) in enumerate(shown.items()):
        style, mean = known.get(name, OTHER), row["word_accuracy"]["mean"]
        axes.errorbar([mean], [place], xerr=_errors([row["word_accuracy"]]), **BARS, **style)
        seeds = list(row.get("by_seed", {}).values())
        axes.plot(seeds, [place + 0.22] * len(seeds), "o", color=style["color"], markersize=3, alpha=0.7)
        where: dict[str, Any] = {"xytext": (0, 8), "textcoords": "offset points", "ha": "center"}
        axes.annotate(f"{mean:.1%}", (mean, place), color=INK, **where)
    _rows(
        axes, [literal(name) for name in shown], f"words right (lines: {level(results.metrics)} intervals; dots: seeds)"
    )
    axes.margins(x=0.1)
    axes.tick_params(axis="y", labelsize=10)
    return figure


def accuracy_by_pairs(rows: pd.DataFrame, names: Sequence[str], confidence: float) -> Figure:
    """Test word accuracy of the strategies `names` by the number of pairs they learned from, with intervals.

    rows: columns strategy, pairs, word_accuracy, low and high.
    """
    figure, axes = _frame(height=3.7)
    rows = rows[rows["strategy"].isin(names)].sort_values("pairs")
    for name, style in styles(names).items():
        curve = rows[rows["strategy"] == name]
        axes.fill_between(curve["pairs"], curve["low"], curve["high"], color=style["color"], alpha=0.15, linewidth=0)
        axes.plot(curve["pairs"], curve["word_accuracy"], linewidth=1.8, markersize=5, label=literal(name), **style)
    sizes = sorted(set(rows["pairs"]))
    axes.set_xscale("log")
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axes.xaxis.set_minor_locator(NullLocator())
    return _labelled(figure, f"pairs to learn from (shaded: {100 * confidence:.4g}% intervals)", "words right")


def accuracy_by_length(results: EvaluationResults) -> Figure:
    """Test word accuracy of each strategy by the length of the source, with intervals."""
    metrics, names = results.metrics, strategies(results.metrics)
    figure, axes = _frame(height=3.7)
    buckets = metrics[names[0]]["by_source_length"]
    ticks = np.arange(len(buckets))
    for number, (name, style) in enumerate(styles(names).items()):
        places = ticks + 0.09 * (number - (len(names) - 1) / 2) * min(1, 7 / len(names))  # beside each other on a tick
        parts = [bucket["word_accuracy"] for bucket in metrics[name]["by_source_length"]]
        means = [part["mean"] for part in parts]
        axes.plot(places, means, color=style["color"], linewidth=1.2, alpha=0.6)
        axes.errorbar(places, means, yerr=_errors(parts), linestyle="", **BARS, **style)
        axes.plot([], [], label=literal(name), **style)
    axes.set_xticks(ticks, [f"{length_range(bucket)}\n{bucket['items']:,} items" for bucket in buckets])
    axes.set(xlim=(-0.5, len(buckets) - 0.5), ylim=(0, None))
    return _labelled(figure, f"symbols in the source (bars: {level(metrics)} intervals)", "words right")


def calibration(results: EvaluationResults) -> Figure:
    """Reliability curves: how often predictions of similar confidence are right; a larger mark stands for more."""
    figure, axes = _frame(height=4.2)
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    for name, style in styles(strategies(results.metrics)).items():
        curve = results.calibration[results.calibration["strategy"] == name]
        axes.plot(curve["confidence"], curve["accuracy"], linewidth=1.2, alpha=0.6, color=style["color"])
        sizes = 12 + 90 * (curve["items"] / results.calibration["items"].max()).to_numpy(dtype=float)
        axes.scatter(curve["confidence"], curve["accuracy"], s=sizes, linewidths=0, alpha=0.85, zorder=3, **style)
        axes.plot([], [], label=literal(name), **style)
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.xaxis.set_major_formatter(PER_CENT)
    across = "confidence, in tenths (larger mark: more predictions)"
    return _labelled(figure, across, "of these, right (dashed: equal to the confidence)")


def coverage(results: EvaluationResults) -> Figure:
    """How often the predictions of the strategy in focus are right, by the share that is kept; a mark per threshold."""
    figure, axes = _frame(height=3.7)
    table, name = results.coverage, focus_of(results.metrics)
    style = styles(strategies(results.metrics))[name]
    axes.fill_between(
        table["coverage"], table["accuracy_low"], table["accuracy_high"], alpha=0.15, linewidth=0, color=style["color"]
    )
    axes.plot(table["coverage"], table["accuracy"], linewidth=1.8, markersize=5, label=literal(name), **style)
    where: dict[str, Any] = {"xytext": (4, 5), "textcoords": "offset points", "fontsize": 8, "color": MUTED}
    for row in table[table["at_least"].isin(NAMED_THRESHOLDS)].to_dict("records"):
        axes.annotate(f"{row['at_least']:g}", (row["coverage"], row["accuracy"]), **where)
    axes.set(xlim=(0, 1.03), ylim=(0, 1.03))
    axes.xaxis.set_major_formatter(PER_CENT)
    across = f"predicted, at thresholds of confidence (shaded: {level(results.metrics)} intervals)"
    return _labelled(figure, across, "of these, right")


def noise(results: EvaluationResults) -> Figure:
    """How sources write a target symbol in its context, by the pairs."""
    shown = results.noise.head(REWRITES)
    figure, axes = _frame(height=1 + 0.22 * len(shown), grid="x")
    axes.barh(range(len(shown)), shown["probability"], height=0.7, color=PALETTE[4])
    labels = []
    for place, row in enumerate(shown.to_dict("records")):
        before, target, after = (row[side] and visible(row[side]) for side in ("before", "target", "after"))
        sides = f"{before}[{target}]{after}", visible(row["source"])
        labels.append(" → ".join(isolated(literal(side, LABEL // 2)) for side in sides))
        counts = f" {row['count']:,} of {row['seen']:,}"
        axes.text(row["probability"], place, counts, va="center", fontsize=8, color=MUTED)
    axes.set(xlim=(0, 1.18), xticks=np.arange(6) / 5)
    _rows(axes, labels, "share of this [symbol] written so (^ start, $ end, \N{EMPTY SET} nothing)")
    return figure


def literal(text: str, longest: int = LABEL) -> str:
    """A label that shows as it is: a dollar sign starts no formula, nothing in it breaks the line; its end is cut."""
    text = printable(text)
    return (text if len(text) <= longest else f"{text[: longest - 1]}…").replace("$", r"\$")


def save(figure: Figure, path: Path, title: str = "") -> None:
    """Write a figure, under a title, as PNG or SVG, by the suffix; the same figure gives the same bytes."""
    if title:
        # Left of everything, above the legend.
        figure.suptitle(textwrap.fill(title, 52), x=0.012, ha="left", fontsize=11, color=INK, fontweight="bold")
    stamp = {"Date": None} if path.suffix == ".svg" else {"Software": None}
    with any_text(), mpl.rc_context({"svg.hashsalt": path.stem}):
        choose_fonts(figure)
        try:
            figure.savefig(path, metadata=stamp)
        except RuntimeError as error:  # by FreeType, of a glyph that only shaping asks for
            forget_fonts(figure, error)
            figure.savefig(path, metadata=stamp)


@contextmanager
def any_text() -> Iterator[None]:
    """Draw what no font has a glyph for as a box, without a warning by matplotlib."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def _errors(intervals: Sequence[dict[str, float]]) -> NDArray[np.float64]:
    """Distances of the lower and the upper ends from the means, [2, intervals]."""
    ends = [(part["mean"] - part["low"], part["high"] - part["mean"]) for part in intervals]
    return np.maximum(ends, 0.0).T  # a percentile interval of few items may, by rounding, miss its mean by a hair


def _frame(height: float, grid: Literal["x", "y"] = "y") -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH, height), dpi=DOTS, layout="constrained")
    axes = figure.add_subplot()
    for side, spine in axes.spines.items():
        spine.set(visible=side == ("bottom" if grid == "y" else "left"), color=MUTED)
    axes.grid(axis=grid, color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=MUTED, length=0, labelsize=9)
    for axis in (axes.xaxis, axes.yaxis):
        axis.label.set(color=MUTED, fontsize=9)
    return figure, axes


def _rows(axes: Axes, labels: Sequence[str], across: str) -> None:
    """Label rows from the top to the bottom, and shares across."""
    axes.set_yticks(range(len(labels)), labels)
    axes.set(ylim=(len(labels) - 0.4, -0.6), xlabel=across)
    axes.xaxis.set_major_formatter(PER_CENT)
    axes.tick_params(axis="y", labelcolor=INK)


def _labelled(figure: Figure, across: str, upwards: str) -> Figure:
    """The figure with labels and, in a row above the axes, where no data can be, a legend."""
    (axes,) = figure.axes
    axes.set(xlabel=across, ylabel=upwards)
    axes.yaxis.set_major_formatter(PER_CENT)
    columns = 3 if len(axes.get_legend_handles_labels()[1]) > 4 else 4
    text: dict[str, Any] = {"fontsize": 9, "labelcolor": INK, "handlelength": 1.6, "columnspacing": 1.4}
    place: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (0, 1), "borderaxespad": 0.3}
    axes.legend(ncols=columns, frameon=False, **text, **place)
    return figure
