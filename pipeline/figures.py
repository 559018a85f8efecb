"""Plots of a comparison. The numbers come from `comparison`, learning curves from `curves`.

Figures are made without pyplot and thus without a display or shared state. A strategy has the same colour everywhere.
"""

import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from pipeline.comparison import (
    Metrics,
    RunResult,
    by_strategy,
    calibration_table,
    ensemble_title,
    length_range,
    rows,
    strategies,
)
from pipeline.curves import mean_curve, run_curve
from pipeline.markdown import printable

# Okabe & Ito (2008), Color Universal Design: told apart with any kind of colour vision.
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000")
MARKERS = ("o", "s", "D", "^", "v", "P", "X")  # for print without colour
INK, MUTED, GRID = "#222222", "#666666", "#dddddd"
OTHER = {"color": MUTED, "marker": "o"}  # what is no strategy
REWRITES = 30  # that are drawn
NOTHING = "\N{EMPTY SET}"

PER_CENT = FuncFormatter(lambda value, _: f"{100 * value:.4g}%")

Styles = dict[str, dict[str, Any]]


def styles(names: Sequence[str]) -> Styles:
    """Colour and marker of each strategy, by its place."""
    return {
        name: {"color": PALETTE[place % len(PALETTE)], "marker": MARKERS[place % len(MARKERS)]}
        for place, name in enumerate(names)
    }


def learning_curves(results: Iterable[RunResult]) -> Figure:
    """Dev word accuracy by update: the mean of each strategy as a thick line, its seeds as thin ones.

    A thin line ends where its seed stopped; the mean goes on with that seed's best value.
    """
    groups = by_strategy(results)
    figure, axes = _frame("Word accuracy on the development set while training (greedy)", height=4.6)
    for name, style in styles(list(groups)).items():
        for run in groups[name]:
            curve = run_curve(run)
            axes.plot(curve.index, curve, color=style["color"], linewidth=0.8, alpha=0.45)
            axes.plot(curve.index[-1:], curve[-1:], linestyle="", markersize=3, alpha=0.6, **style)
        mean = mean_curve(groups[name])
        axes.plot(mean.index, mean, linewidth=2.2, color=style["color"], label=_plain(name))
    axes.set_xlabel("paired updates (thick: mean over seeds; thin: single seeds, to where they stopped)")
    axes.set_ylabel("words right")
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.yaxis.set_major_formatter(PER_CENT)
    _legend(axes)
    return figure


def word_accuracy(metrics: Metrics) -> Figure:
    """Test word accuracy of everything compared, with its interval; small dots are the seeds of a strategy."""
    names, shown = strategies(metrics), rows(metrics)
    known = styles(names)
    hollow = {ensemble_title(name): {**style, "markerfacecolor": "white"} for name, style in known.items()}
    confidence = f"{100 * metrics[names[0]]['confidence']:.4g}%"
    title = f"Word accuracy on the test set, with {confidence} bootstrap intervals"
    figure, axes = _frame(title, height=1.7 + 0.5 * len(shown), grid="x")
    for place, (name, row) in enumerate(shown.items()):
        style = {**known, **hollow}.get(name, OTHER)
        interval = row["word_accuracy"]
        _point(axes, place, interval, style, horizontal=True)
        seeds = list(row.get("by_seed", {}).values())
        axes.plot(seeds, [place + 0.22] * len(seeds), "o", color=style["color"], markersize=3, alpha=0.7)
        axes.annotate(
            f"{interval['mean']:.1%}",
            (interval["mean"], place),
            xytext=(0, 8),
            textcoords="offset points",
            ha="center",
            color=INK,
        )
    axes.set_yticks(range(len(shown)), [_plain(name) for name in shown])
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.set_xlabel("words right (small dots: single seeds)")
    axes.margins(x=0.1)
    axes.xaxis.set_major_formatter(PER_CENT)
    axes.tick_params(axis="y", labelsize=11, labelcolor=INK)
    return figure


def accuracy_by_length(metrics: Metrics) -> Figure:
    """Test word accuracy of each strategy by the length of the source, with intervals."""
    names = strategies(metrics)
    confidence = f"{100 * metrics[names[0]]['confidence']:.4g}%"
    title = f"Word accuracy on the test set by source length, with {confidence} intervals"
    figure, axes = _frame(title, height=4.4)
    buckets = metrics[names[0]]["by_source_length"]
    places = np.arange(len(buckets))
    for shift, (name, style) in zip(_shifts(len(names)), styles(names).items(), strict=True):
        parts = [bucket["word_accuracy"] for bucket in metrics[name]["by_source_length"]]
        means = [part["mean"] for part in parts]
        axes.plot(places + shift, means, color=style["color"], linewidth=1.2, alpha=0.6)
        for place, part in zip(places + shift, parts, strict=True):
            _point(axes, place, part, style, horizontal=False)
        axes.plot([], [], color=style["color"], marker=style["marker"], label=_plain(name))
    axes.set_xticks(places, [f"{length_range(bucket)}\n{bucket['items']:,} items" for bucket in buckets])
    axes.set_xlim(-0.5, len(buckets) - 0.5)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("symbols in the source")
    axes.set_ylabel("words right")
    axes.yaxis.set_major_formatter(PER_CENT)
    _legend(axes)
    return figure


def calibration(results: Sequence[RunResult]) -> Figure:
    """Reliability curves: how often predictions of similar confidence are right; a larger mark stands for more."""
    curves = calibration_table(results)
    figure, axes = _frame("Whether confidences can be taken at their word", height=5.2)
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (4, 3)), label="as often as they say")
    most = curves["items"].max()
    for name, style in styles(list(by_strategy(results))).items():
        curve = curves[curves["strategy"] == name]
        axes.plot(curve["confidence"], curve["accuracy"], linewidth=1.2, alpha=0.6, color=style["color"])
        sizes = 12 + 90 * (curve["items"] / most).to_numpy(dtype=float)
        axes.scatter(curve["confidence"], curve["accuracy"], s=sizes, linewidths=0, alpha=0.85, zorder=3, **style)
        axes.plot([], [], label=_plain(name), **style)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_xlabel("confidence of the predictions, in tenths (larger mark: more predictions; seeds pooled)")
    axes.set_ylabel("of these, right")
    axes.xaxis.set_major_formatter(PER_CENT)
    axes.yaxis.set_major_formatter(PER_CENT)
    _legend(axes)
    return figure


def noise(rewrites: pd.DataFrame) -> Figure:
    """What sources write for a target symbol in its context, as the pairs do it: rows of `LearnedNoise.rewrites`."""
    shown = rewrites.head(REWRITES)
    figure, axes = _frame("What the pairs make of a target, most frequent first", 1.4 + 0.24 * len(shown), grid="x")
    places = np.arange(len(shown))
    axes.barh(places, shown["probability"], height=0.7, color=PALETTE[4])
    labels = []
    for place, rewrite in enumerate(shown.to_dict("records")):
        context = f"{rewrite['before']}[{rewrite['target']}]{rewrite['after']}"
        labels.append(_plain(f"{context} → {rewrite['source'] or NOTHING}"))
        counts = f" {rewrite['count']:,} of {rewrite['seen']:,}"
        axes.text(rewrite["probability"], place, counts, va="center", fontsize=8, color=MUTED)
    axes.set_yticks(places, labels)
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.set_xlim(0, 1.18)
    axes.set_xticks(np.arange(6) / 5)
    axes.set_xlabel(
        "how often this [target symbol] in this context is written so (^ start, $ end, \N{EMPTY SET} nothing)"
    )
    axes.xaxis.set_major_formatter(PER_CENT)
    axes.tick_params(axis="y", labelcolor=INK)
    return figure


def _shifts(count: int) -> list[float]:
    """Sideways places of several points on one tick."""
    return [0.09 * (place - (count - 1) / 2) * min(1, 7 / count) for place in range(count)]


def _point(axes: Axes, place: float, interval: dict[str, float], style: dict[str, Any], horizontal: bool) -> None:
    mean = interval["mean"]
    # A percentile interval of a handful of items may, by rounding, miss its mean by a hair.
    error = [[max(0.0, mean - interval["low"])], [max(0.0, interval["high"] - mean)]]
    line: dict[str, Any] = {"markersize": 6, "elinewidth": 1.6, "capsize": 3, **style}
    if horizontal:
        axes.errorbar([mean], [place], xerr=error, **line)
    else:
        axes.errorbar([place], [mean], yerr=error, **line)


def _frame(title: str, height: float, grid: str = "y") -> tuple[Figure, Axes]:
    figure = Figure(figsize=(8, height), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    # Left of everything, above the legend.
    figure.suptitle(title, x=0.012, ha="left", fontsize=12, color=INK, fontweight="bold")
    for side in ("top", "right", "left", "bottom"):
        axes.spines[side].set_visible(side == ("bottom" if grid == "y" else "left"))
    for edge in axes.spines.values():
        edge.set_color(MUTED)
    axes.grid(axis=grid, color=GRID, linewidth=0.8)  # type: ignore[arg-type]
    axes.set_axisbelow(True)
    axes.tick_params(colors=MUTED, length=0, labelsize=9)
    axes.xaxis.label.set_color(MUTED)
    axes.yaxis.label.set_color(MUTED)
    return figure, axes


def _legend(axes: Axes) -> None:
    """A legend in a row above the axes, where no data can be."""
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=4, frameon=False, borderaxespad=0.3, handlelength=1.6)


def _plain(text: str) -> str:
    """A label that shows as it is: a dollar sign starts no formula, nothing in it breaks the line."""
    return printable(text).replace("$", r"\$")


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG or SVG, by the suffix; the same figure gives the same bytes."""
    stamp = {"Date": None} if path.suffix == ".svg" else {"Software": None}
    with warnings.catch_warnings(), mpl.rc_context({"svg.hashsalt": path.stem}):
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # shown as a box
        figure.savefig(path, metadata=stamp)
