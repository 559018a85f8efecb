"""The plot of a benchmark: accuracy against training tokens, ours beside the published systems."""

from collections.abc import Sequence
from math import ceil
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from benchmarks.published import Published
from benchmarks.resampling import Accuracies, interval
from pipeline.report.figures import GRID, INK, MUTED, PER_CENT, save, styles

PUBLISHED_DASHES = ("-", "--", "-.", ":")
MARGIN = 1.12  # left and right of the sizes that were measured


def draw(path: Path, accuracies: Accuracies, published: Published, strategies: Sequence[str]) -> None:
    """Write a plot with a part for each corpus; the published systems thin and grey, ours thick with intervals."""
    corpora = list(dict.fromkeys(corpus for name in strategies for corpus, _ in accuracies.cells(name)))
    columns = min(2, len(corpora))
    rows = ceil(len(corpora) / columns)
    figure = Figure(figsize=(5.2 * columns + 0.6, 4.0 * rows + 0.9), dpi=130, layout="constrained")
    parts = figure.subplots(rows, columns, squeeze=False).flatten()
    for axes, corpus in zip(parts, corpora, strict=False):
        _draw_corpus(axes, corpus, accuracies, published, strategies)
    for axes in parts[len(corpora) :]:
        axes.set_visible(False)
    figure.supxlabel("training tokens (logarithmic)", fontsize=10, color=MUTED)
    figure.supylabel("test words right", fontsize=10, color=MUTED)
    lines = {label: line for axes in parts for line, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(lines.values(), lines.keys(), loc="outside upper left", ncols=3 * columns, frameon=False, fontsize=9)
    save(figure, path)


def _draw_corpus(
    axes: Axes, corpus: str, accuracies: Accuracies, published: Published, strategies: Sequence[str]
) -> None:
    sizes = sorted({size for name in strategies for found, size in accuracies.cells(name) if found == corpus})
    figures = published.figures[published.figures["corpus"] == corpus]
    near = figures[figures["size"].between(sizes[0] / 3, sizes[-1] * 3)]
    for place, (system, own) in enumerate(near.sort_values("size").groupby("system")):
        dashes = PUBLISHED_DASHES[place % len(PUBLISHED_DASHES)]
        axes.plot(
            own["size"], own["word_accuracy"], dashes, color="#888888", linewidth=1.1, label=f"{system} (published)"
        )
    for name, style in styles(strategies).items():
        own_sizes = [size for size in sizes if accuracies.has(corpus, size, name)]
        found = [interval(accuracies.mean(corpus, size, name)) for size in own_sizes]
        means = np.array([one.mean for one in found])
        ends = np.array([[one.mean - one.low, one.high - one.mean] for one in found]).reshape(-1, 2).T
        error = np.maximum(ends, 0)  # NaN, where nothing is known, is not drawn
        axes.errorbar(
            own_sizes, means, yerr=error, linewidth=2.4, markersize=6, elinewidth=1.5, capsize=3, label=name, **style
        )
    axes.set_title(corpus, loc="left", fontsize=11, fontweight="bold", color=INK)
    axes.set_xscale("log")
    axes.set_xlim(sizes[0] / MARGIN, sizes[-1] * MARGIN)
    axes.xaxis.set_major_locator(FixedLocator(sizes))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.yaxis.set_major_formatter(PER_CENT)
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(colors=MUTED, length=0, labelsize=9)
