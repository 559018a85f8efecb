"""Heat maps of confused symbols and of attention.

Cells have one colour, more or less opaque, so that a map reads on a light page as on a dark one.
"""

import textwrap
from collections.abc import Sequence
from math import ceil

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from pipeline.evaluation.results import EvaluationResults, focus_of, strategies
from pipeline.report.directions import is_right_to_left
from pipeline.report.figures import DOTS, GRID, INK, MUTED, WIDTH, literal, styles
from pipeline.report.tables import how_often, visible

SYMBOLS = 20  # that the map of confusions shows, at most
NUMBERED = 20  # of its fullest cells show their number
FULL = 0.6  # from here on a cell is bright enough for dark text, on a light page and on a dark one
ON_FULL = "#111111"
CELL = 0.24  # inches, of an attention map
LABEL = 8  # characters of a symbol, at most
COLUMNS = 2  # of attention maps in one figure


def confusions(results: EvaluationResults) -> Figure:
    """The symbols that the strategy in focus writes (columns) for target symbols (rows), times in a run.

    It shows the `SYMBOLS` that take part in most confusions, in the order of their code points.
    """
    focus, colour = _focus(results)
    chosen = results.confusions[results.confusions["strategy"] == focus]
    involved = chosen.groupby("target")["count"].sum().add(chosen.groupby("written")["count"].sum(), fill_value=0)
    most = involved.drop("", errors="ignore").sort_values(ascending=False, kind="stable").index[:SYMBOLS]
    if not len(most):
        return _note(f"{focus} makes no mistakes.")
    symbols = [*sorted(most), ""]
    counts = chosen.pivot_table(index="target", columns="written", values="count", fill_value=0)
    values = counts.reindex(index=symbols, columns=symbols, fill_value=0).to_numpy() / results.metrics[focus]["seeds"]
    figure = Figure(figsize=(WIDTH, 0.55 + WIDTH * 0.94), dpi=DOTS, layout="constrained")
    axes = figure.add_subplot()
    shares = np.sqrt(values / (values.max() or 1.0))  # one confusion may be far more frequent than all others
    _cells(axes, shares, symbols, symbols, colour)
    for place in range(len(symbols)):
        axes.add_patch(Rectangle((place - 0.5, place - 0.5), 1, 1, facecolor=GRID, linewidth=0))
    fullest = np.argsort(-values, axis=None, kind="stable")[:NUMBERED]
    for row, column in zip(*np.unravel_index(fullest, values.shape), strict=True):
        if values[row, column] > 0:
            ink = ON_FULL if shares[row, column] >= FULL else INK
            label = how_often(values[row, column])
            axes.text(column, row, label, ha="center", va="center", fontsize=6.5, color=ink)
    axes.set_xlabel("written (\N{EMPTY SET}: left out)", color=MUTED, fontsize=9)
    axes.set_ylabel("in the target (\N{EMPTY SET}: inserted)", color=MUTED, fontsize=9)
    axes.xaxis.set_label_position("top")
    return figure


def attention(results: EvaluationResults) -> Figure:
    """Maps of the strategy in focus side by side: the output from top to bottom, the source as it is written."""
    (focus, colour), maps = _focus(results), results.attention
    if not maps:
        return _note(f"There is no map of {focus}: its decoder gets sources as one vector, or all are too long.")
    columns = min(COLUMNS, len(maps))
    rows = ceil(len(maps) / columns)
    width = CELL * max(len(one.source) for one in maps) + 0.5
    height = CELL * max(len(one.written) for one in maps) + 0.5
    figure = Figure(figsize=(columns * width, rows * height), dpi=DOTS, layout="constrained")
    for number, one in enumerate(maps, start=1):
        axes = figure.add_subplot(rows, columns, number, anchor="NW")
        _cells(axes, one.weights, one.written, one.source, colour)
        if is_right_to_left("".join(one.source)):
            axes.invert_xaxis()
    return figure


def _focus(results: EvaluationResults) -> tuple[str, str]:
    """The strategy in focus and its colour."""
    focus = focus_of(results.metrics)
    return focus, styles(strategies(results.metrics))[focus]["color"]


def _note(text: str) -> Figure:
    """A figure that only says why there is nothing to draw."""
    figure = Figure(figsize=(WIDTH, 1), dpi=DOTS)
    figure.text(0.012, 0.1, textwrap.fill(literal(text, len(text)), 60), color=MUTED, fontsize=9)
    return figure


def _cells(axes: Axes, shares: NDArray[np.floating], down: Sequence[str], across: Sequence[str], colour: str) -> None:
    """Draw shares in [0, 1] as squares with symbols along both sides."""
    opacities = LinearSegmentedColormap.from_list("", [to_rgba(colour, 0), to_rgba(colour, 1)])
    edges = (np.arange(len(symbols) + 1) - 0.5 for symbols in (across, down))
    axes.pcolormesh(*edges, shares, cmap=opacities, vmin=0, vmax=1, edgecolors=GRID, linewidth=0.4)
    axes.invert_yaxis()
    axes.set_aspect("equal")
    down, across = ([literal(visible(symbol), LABEL) for symbol in symbols] for symbols in (down, across))
    axes.set_xticks(range(len(across)), across, rotation=90 if max(map(len, across)) > 2 else 0)
    axes.set_yticks(range(len(down)), down)
    axes.xaxis.tick_top()
    axes.tick_params(length=0, labelsize=8, labelcolor=INK, pad=2)
    axes.spines[:].set(color=GRID, linewidth=0.4)
