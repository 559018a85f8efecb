"""Heat maps of confused symbols and of attention.

Cells have one colour, more or less opaque, so that a map reads on a light page as on a dark one.
"""

import textwrap
from collections.abc import Sequence
from math import ceil

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from pipeline.evaluation.results import AttentionMap
from pipeline.report.figures import DOTS, GRID, INK, MUTED, WIDTH, plain
from pipeline.report.tables import how_often, visible

SYMBOLS = 20  # that the map of confusions shows, at most
NUMBERED = 20  # of its fullest cells show their number
FULL = 0.6  # from here on a cell is bright enough for dark text, on a light page and on a dark one
ON_FULL = "#111111"
CELL = 0.24  # inches, of an attention map
LABEL = 8  # characters of a symbol, at most
COLUMNS = 2  # of attention maps in one figure


def confusion_map(confusions: pd.DataFrame, strategy: str, runs: int, colour: str) -> Figure:
    """The symbols that one strategy writes (columns) for target symbols (rows), times for each of its `runs`.

    It shows the `SYMBOLS` that take part in most confusions, in the order of their code points. confusions: as returned
    by `confusions.confusions`.
    """
    chosen = confusions[confusions["strategy"] == strategy]
    involved = chosen.groupby("target")["count"].sum().add(chosen.groupby("written")["count"].sum(), fill_value=0)
    most = involved.drop("", errors="ignore").sort_values(ascending=False, kind="stable").index[:SYMBOLS]
    if not len(most):
        return note(f"{strategy} makes no mistakes.")
    symbols = [*sorted(most), ""]
    counts = chosen.pivot_table(index="target", columns="written", values="count", fill_value=0)
    values = counts.reindex(index=symbols, columns=symbols, fill_value=0).to_numpy(dtype=np.float64) / runs
    figure = Figure(figsize=(WIDTH, 0.55 + WIDTH * 0.94), dpi=DOTS, layout="constrained")
    axes = figure.add_subplot()
    shares = np.sqrt(values / (values.max() or 1.0))  # one confusion may be far more frequent than all others
    _cells(axes, shares, symbols, symbols, colour)
    for place in range(len(symbols)):
        axes.add_patch(Rectangle((place - 0.5, place - 0.5), 1, 1, facecolor=GRID, linewidth=0))
    for row, column in _fullest(values, NUMBERED):
        if values[row, column] > 0:
            ink = ON_FULL if shares[row, column] >= FULL else INK
            label = how_often(values[row, column])
            axes.text(column, row, label, ha="center", va="center", fontsize=6.5, color=ink)
    axes.set_xlabel("written (\N{EMPTY SET}: left out)", color=MUTED, fontsize=9)
    axes.set_ylabel("in the target (\N{EMPTY SET}: inserted)", color=MUTED, fontsize=9)
    axes.xaxis.set_label_position("top")
    return figure


def attention(maps: Sequence[AttentionMap], strategy: str, colour: str) -> Figure:
    """Maps of a strategy side by side: the output from top to bottom, the source from left to right."""
    if not maps:
        return note(f"There is no map of {strategy}: its decoder gets sources as one vector, or all are too long.")
    columns = min(COLUMNS, len(maps))
    rows = ceil(len(maps) / columns)
    width = CELL * max(len(one.source) for one in maps) + 0.5
    height = CELL * max(len(one.written) for one in maps) + 0.5
    figure = Figure(figsize=(columns * width, rows * height), dpi=DOTS, layout="constrained")
    parts = figure.subplots(rows, columns, squeeze=False).flatten()
    for axes, one in zip(parts, maps, strict=False):
        _cells(axes, one.weights, one.written, one.source, colour)
        axes.set_anchor("NW")
    for axes in parts[len(maps) :]:
        axes.set_visible(False)
    return figure


def note(text: str) -> Figure:
    """A figure that only says why there is nothing to draw."""
    figure = Figure(figsize=(WIDTH, 1), dpi=DOTS)
    figure.text(0.012, 0.1, textwrap.fill(plain(text, len(text)), 60), color=MUTED, fontsize=9)
    return figure


def _fullest(values: NDArray[np.float64], count: int) -> list[tuple[int, int]]:
    rows, columns = np.unravel_index(np.argsort(-values, axis=None, kind="stable")[:count], values.shape)
    return [(int(row), int(column)) for row, column in zip(rows, columns, strict=True)]


def _cells(axes: Axes, shares: NDArray[np.floating], down: Sequence[str], across: Sequence[str], colour: str) -> None:
    """Draw shares in [0, 1] as squares with symbols along both sides."""
    filled = np.argwhere(shares > 0.004)
    squares = [Rectangle((column - 0.5, row - 0.5), 1, 1) for row, column in filled]
    opaque = [to_rgba(colour, float(shares[row, column])) for row, column in filled]
    axes.add_collection(PatchCollection(squares, facecolors=opaque, linewidths=0))
    axes.set_xlim(-0.5, len(across) - 0.5)
    axes.set_ylim(len(down) - 0.5, -0.5)
    axes.set_aspect("equal")
    labels = [plain(visible(symbol), LABEL) for symbol in across]
    axes.set_xticks(range(len(across)), labels, rotation=90 if max(map(len, labels)) > 2 else 0)
    axes.set_yticks(range(len(down)), [plain(visible(symbol), LABEL) for symbol in down])
    axes.xaxis.tick_top()
    axes.tick_params(length=0, labelsize=8, labelcolor=INK, pad=2)
    axes.set_xticks(np.arange(len(across) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(down) + 1) - 0.5, minor=True)
    axes.tick_params(which="minor", length=0)
    axes.grid(which="minor", color=GRID, linewidth=0.4)
    for edge in axes.spines.values():
        edge.set(color=GRID, linewidth=0.4)
