"""Accuracies of a benchmark beside the published ones, and what each part of a strategy buys: tables and a plot.

Published figures are means over folds without intervals and are taken as they stand.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.resampling import PASSAGE, Accuracies, Samples, interval
from pipeline.errors import UserError
from pipeline.evaluation.metrics import CONFIDENCE, Interval
from pipeline.report.figures import GRID, INK, MUTED, PER_CENT, save, styles
from pipeline.report.tables import markdown_table, points

COLUMNS = ["system", "size", "corpus", "word_accuracy"]
NOTE = (
    f"Test accuracy in %, mean over folds, with the {100 * CONFIDENCE:.4g}% bootstrap interval over passages of "
    f"{PASSAGE} test tokens; the training sets and the published figures are taken as they stand."
)
DASHES = ("-", "--", "-.", ":")  # of published systems in the plot
MARGIN = 1.12  # left and right of the sizes that were measured


@dataclass(frozen=True, eq=False)
class Published:
    """Accuracies of published systems, as fractions."""

    figures: pd.DataFrame  # columns `COLUMNS`

    @classmethod
    def load(cls, path: Path) -> "Published":
        """Read published.csv (word_accuracy in %); without the file nothing is published."""
        if not path.exists():
            return cls(pd.DataFrame(columns=COLUMNS))
        try:
            figures = pd.read_csv(path)[COLUMNS]
            return cls(figures.assign(word_accuracy=figures["word_accuracy"].astype(float) / 100))
        except (OSError, ValueError, KeyError) as error:
            raise UserError(f"{path} needs the columns {', '.join(COLUMNS)}, accuracies in %: {error}") from error

    def best(self, corpus: str, size: int) -> tuple[str, float] | None:
        """The most accurate system and its accuracy; None if nothing is published."""
        rows = self.figures.query("corpus == @corpus and size == @size")
        if rows.empty:
            return None
        best = rows.sort_values("word_accuracy", ascending=False, kind="stable").iloc[0]
        return str(best["system"]), float(best["word_accuracy"])


@dataclass(frozen=True, eq=False)
class Reduction:
    """Errors of a strategy beside the best published ones, over the cells that have both."""

    cells: list[tuple[str, int]]
    error: Samples
    published_error: float

    @classmethod
    def of(cls, accuracies: Accuracies, published: Published, strategy: str) -> "Reduction | None":
        """Compare a strategy; None if nothing is published."""
        best = {cell: one[1] for cell in accuracies.cells(strategy) if (one := published.best(*cell))}
        if not best:
            return None
        error = 1 - np.mean([accuracies.mean(*cell, strategy) for cell in best], axis=0)
        return cls(list(best), error, 1 - float(np.mean(list(best.values()))))

    @property
    def relative(self) -> Samples:
        """The share of the published errors that is gone; negative if there are more."""
        return 1 - self.error / self.published_error


def verdict(accuracies: Accuracies, published: Published, strategy: str) -> str:
    """Say in how many cells a strategy is above the best published system, and how much lower its error is."""
    if (reduction := Reduction.of(accuracies, published, strategy)) is None:
        return f"Nothing is published to compare {strategy} with."
    ours = {cell: interval(accuracies.mean(*cell, strategy)) for cell in reduction.cells}
    best = {cell: figure[1] for cell in reduction.cells if (figure := published.best(*cell))}
    above = sum(ours[cell].mean > best[cell] for cell in best)
    known = not any(math.isnan(one.low) for one in ours.values())
    sure = f", in {sum(ours[cell].low > best[cell] for cell in best)} with its whole interval" if known else ""
    less, word = interval(reduction.relative), "lower"
    if less.mean < 0:
        less, word = interval(-reduction.relative), "higher"
    return (
        f"{strategy} is above the best published system in {above} of {len(best)} cells{sure}; its mean error is "
        f"{_percent(reduction.error)} % against {100 * reduction.published_error:.1f} %: "
        f"{100 * less.mean:.1f}{_range(less)} % {word}."
    )


def comparison_table(accuracies: Accuracies, published: Published, strategies: Sequence[str]) -> str:
    """Each cell of the first strategy beside the best published system; the last row is the mean error."""
    first = strategies[0]
    rows = []
    for corpus, size in accuracies.cells(first):
        best = published.best(corpus, size)
        row = [corpus, f"{size:,}", str(accuracies.folds(corpus, size, first))]
        row += [f"{best[0]} {100 * best[1]:.1f}" if best else "-"]
        for strategy in strategies:
            if accuracies.has(corpus, size, strategy):
                ours = accuracies.mean(corpus, size, strategy)
                row += [_percent(ours), _points(ours - best[1]) if best else "-"]
            else:
                row += ["-", "-"]
        rows.append(row)
    reductions = {strategy: Reduction.of(accuracies, published, strategy) for strategy in strategies}
    if (base := reductions[first]) is not None:
        row = ["mean error", f"{len(base.cells)} cells", "-", f"{100 * base.published_error:.1f}"]
        for one in reductions.values():
            # A mean over other cells would be beside the published one of these.
            same = one is not None and one.cells == base.cells
            row += [_percent(one.error), f"{_points(-one.relative)} %"] if one and same else ["-", "-"]
        rows.append(row)
    header = ["corpus", "tokens", "folds", "best published"]
    header += [name for strategy in strategies for name in (strategy, "difference")]
    return markdown_table(header, rows)


def ablation_tables(accuracies: Accuracies, strategies: Sequence[str], cells: Sequence[tuple[str, int]]) -> str:
    """For each corpus the strategies one below the other, each with its difference to the one above."""
    tables = []
    for corpus in dict.fromkeys(corpus for corpus, _ in cells):
        sizes = [size for name, size in cells if name == corpus]
        present = [name for name in strategies if any(accuracies.has(corpus, size, name) for size in sizes)]
        rows = []
        for strategy, above in zip(present, [None, *present], strict=False):
            row = [strategy]
            for size in sizes:
                known = accuracies.has(corpus, size, strategy)
                change = accuracies.difference(corpus, size, strategy, above) if above else None
                row.append(_percent(accuracies.mean(corpus, size, strategy)) if known else "-")
                row.append("-" if change is None else _points(change))
            rows.append(row)
        header = [corpus, *(name for size in sizes for name in (f"{size:,} tokens", "to the row above"))]
        tables.append(markdown_table(header, rows))
    return "\n".join(tables)


def _percent(samples: Samples) -> str:
    """`82.9 (81.8 to 84.0)`."""
    value = interval(samples)
    return f"{100 * value.mean:.1f}{_range(value)}"


def _points(samples: Samples) -> str:
    """`+2.9 (+1.8 to +4.0)`."""
    value = interval(samples)
    between = "" if math.isnan(value.low) else f" ({points(value.low)} to {points(value.high)})"
    return points(value.mean) + between


def _range(value: Interval) -> str:
    return "" if math.isnan(value.low) else f" ({100 * value.low:.1f} to {100 * value.high:.1f})"


def draw(path: Path, accuracies: Accuracies, published: Published, strategies: Sequence[str]) -> None:
    """Plot accuracy against training tokens by corpus; published systems thin and grey, ours thick with intervals."""
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
    sizes = sorted({size for name in strategies for other, size in accuracies.cells(name) if other == corpus})
    figures = published.figures[published.figures["corpus"] == corpus]
    near = figures[figures["size"].between(sizes[0] / 3, sizes[-1] * 3)]
    for place, (system, rows) in enumerate(near.sort_values("size").groupby("system")):
        line: dict[str, Any] = {"color": "#888888", "linewidth": 1.1, "label": f"{system} (published)"}
        axes.plot(rows["size"], rows["word_accuracy"], DASHES[place % len(DASHES)], **line)
    for name, style in styles(strategies).items():
        measured = [size for size in sizes if accuracies.has(corpus, size, name)]
        values = [interval(accuracies.mean(corpus, size, name)) for size in measured]
        means = np.array([one.mean for one in values])
        ends = np.array([[one.mean - one.low, one.high - one.mean] for one in values]).reshape(-1, 2).T
        error = np.maximum(ends, 0)  # NaN, an unknown interval, is not drawn
        line = {"linewidth": 2.4, "markersize": 6, "elinewidth": 1.5, "capsize": 3, "label": name, **style}
        axes.errorbar(measured, means, yerr=error, **line)
    axes.set_title(corpus, loc="left", fontsize=11, fontweight="bold", color=INK)
    axes.set_xscale("log")
    axes.set_xlim(sizes[0] / MARGIN, sizes[-1] * MARGIN)
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axes.set_xticks([], minor=True)
    axes.yaxis.set_major_formatter(PER_CENT)
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(colors=MUTED, length=0, labelsize=9)
