"""What a reader sees of a comparison: plots and the files in `reports`. The numbers come from `comparison`.

Figures are made without pyplot and thus without a display or shared state. A strategy has the same colour everywhere.
"""

import json
import warnings
from collections.abc import Callable, Iterable, Sequence
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
    accuracy_table,
    by_length_table,
    by_strategy,
    focus_of,
    strategies,
    table,
    verdict,
)
from pipeline.curves import curves_table, mean_curve, run_curve
from pipeline.markdown import escape, markdown_table, percent, printable

# Okabe & Ito (2008), Color Universal Design: told apart with any kind of colour vision.
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000")
MARKERS = ("o", "s", "D", "^", "v", "P", "X")  # for print without colour
INK, MUTED, GRID = "#222222", "#666666", "#dddddd"

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
    figure, axes = _frame("Word accuracy on the development set while training", height=4.6)
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
    """Test word accuracy of each strategy with its interval; small dots are the seeds."""
    names = strategies(metrics)
    confidence = f"{100 * metrics[names[0]]['confidence']:.4g}%"
    title = f"Word accuracy on the test set, with {confidence} bootstrap intervals"
    figure, axes = _frame(title, height=1.7 + 0.5 * len(names), grid="x")
    for place, (name, style) in enumerate(styles(names).items()):
        interval = metrics[name]["word_accuracy"]
        _point(axes, place, interval, style, horizontal=True)
        seeds = list(metrics[name]["by_seed"].values())
        axes.plot(seeds, [place + 0.22] * len(seeds), "o", color=style["color"], markersize=3, alpha=0.7)
        axes.annotate(
            f"{interval['mean']:.1%}",
            (interval["mean"], place),
            xytext=(0, 8),
            textcoords="offset points",
            ha="center",
            color=INK,
        )
    axes.set_yticks(range(len(names)), [_plain(name) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
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
    axes.set_xticks(places, [f"{_length_range(bucket)}\n{bucket['items']:,} items" for bucket in buckets])
    axes.set_xlim(-0.5, len(buckets) - 0.5)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("symbols in the source")
    axes.set_ylabel("words right")
    axes.yaxis.set_major_formatter(PER_CENT)
    _legend(axes)
    return figure


def _shifts(count: int) -> list[float]:
    """Sideways places of several points on one tick."""
    return [0.09 * (place - (count - 1) / 2) * min(1, 7 / count) for place in range(count)]


def _length_range(bucket: dict[str, Any]) -> str:
    low, high = bucket["from"], bucket["to"]
    return str(low) if low == high else f"{low} to {high}"


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


FIGURES: dict[str, tuple[str, Callable[[Sequence[RunResult], Metrics], Figure]]] = {
    "learning_curves": ("Learning curves", lambda results, metrics: learning_curves(results)),
    "word_accuracy": ("Word accuracy", lambda results, metrics: word_accuracy(metrics)),
    "accuracy_by_length": ("Word accuracy by source length", lambda results, metrics: accuracy_by_length(metrics)),
}


def write_report(folder: Path, metrics: Metrics, examples: pd.DataFrame, results: Sequence[RunResult]) -> None:
    """Write all that a comparison leaves behind into `folder`.

    metrics.json; comparison.md; curves.csv, accuracy.csv and by_length.csv for `dvc plots`; examples.csv; and the
    plots of `FIGURES` as PNG.
    """
    folder.mkdir(parents=True, exist_ok=True)
    content = json.dumps(metrics, indent=2, ensure_ascii=False, allow_nan=False)
    _write(folder / "metrics.json", content + "\n")
    tables = {
        "curves": curves_table(results),
        "accuracy": accuracy_table(metrics),
        "by_length": by_length_table(metrics),
        "examples": examples,
    }
    for name, rows in tables.items():
        rows.to_csv(folder / f"{name}.csv", index=False, lineterminator="\n")
    for name, (_, draw) in FIGURES.items():
        save(draw(results, metrics), folder / f"{name}.png")
    _write(folder / "comparison.md", comparison_page(metrics, examples))


def comparison_page(metrics: Metrics, examples: pd.DataFrame) -> str:
    """comparison.md: the verdict, the tables, the plots beside it, and the examples."""
    plots = "\n".join(f"![{title}]({name}.png)\n" for name, (title, _) in FIGURES.items())
    sections = [
        f"# Comparison\n\n{escape(verdict(metrics))}\n",
        table(metrics),
        f"## Plots\n\n{plots}",
        f"## By source length\n\nWords right, %, by the number of symbols in the source.\n\n{_length_table(metrics)}",
        f"## By whether the target is among the unpaired ones\n\nWords right, %.\n\n{_seen_table(metrics)}",
        f"## Examples\n\n{_example_table(metrics, examples)}",
    ]
    return "\n".join(sections)


def _length_table(metrics: Metrics) -> str:
    names = strategies(metrics)
    rows = [
        [_length_range(parts[0]), f"{parts[0]['items']:,}", *(percent(part["word_accuracy"]) for part in parts)]
        for parts in zip(*(metrics[name]["by_source_length"] for name in names), strict=True)
    ]
    return markdown_table(["symbols", "items", *names], rows)


def _seen_table(metrics: Metrics) -> str:
    names = strategies(metrics)
    rows = []
    for key in ("seen_targets", "unseen_targets"):
        parts = [metrics[name][key] for name in names]
        if parts[0] is not None:
            accuracies = [percent(part["word_accuracy"]) for part in parts]
            rows.append([key.replace("_", " "), f"{parts[0]['items']:,}", *accuracies])
    return markdown_table(["targets", "items", *names], rows)


def _example_table(metrics: Metrics, examples: pd.DataFrame) -> str:
    if examples.empty:
        return "The strategies agree on every test item.\n"
    names = strategies(metrics)
    rows = [
        [
            example["outcome"],
            example["source"],
            example["target"],
            *(_judged(example[f"{name}_prediction"], example[f"{name}_accuracy"]) for name in names),
        ]
        for example in examples.to_dict("records")
    ]
    note = (
        f"Test items that {escape(focus_of(names))} wins or loses: most of its seeds are right (✓) and another "
        "strategy's are not (✗), or the reverse. Shown is the most frequent prediction over seeds.\n\n"
    )
    return note + markdown_table(["outcome", "source", "target", *names], rows, left=3 + len(names))


def _judged(prediction: str, accuracy: float) -> str:
    return f"{prediction} {'✓' if accuracy > 0.5 else '✗'}"


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")
