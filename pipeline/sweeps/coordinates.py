"""Parallel coordinates: every trial of a sweep as a line through what it was and what it reached."""

import json
import math
from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from pipeline.report.figures import DOTS, GRID, INK, MUTED, plain, styles
from pipeline.sweeps.trials import Result, Trial
from pipeline.sweeps.trials import plain as text_of

BEST = 2.4  # width of its line
FEW = 6  # different numbers have a place each, of more there is a scale
LOGARITHMIC = 20  # times the lowest number, from which a scale of positive ones is logarithmic
TICKS = 4  # of a scale, after the first
ABSENT = "–"


class Axis:
    """One upright axis: where values stand, between 0 and 1, and the labels beside it."""

    def __init__(self, name: str, values: Sequence[Any]) -> None:
        """values: of all trials, None for a trial that has none."""
        self.name = name
        known = {json.dumps(value): value for value in values if value is not None}
        self._numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in known.values())
        self._absent = any(value is None for value in values) and bool(known)
        ordered = sorted(known.values()) if self._numeric else list(known.values())
        self._scaled = self._numeric and len(ordered) > FEW
        if self._scaled:
            self._log = ordered[0] > 0 and ordered[-1] / ordered[0] > LOGARITHMIC
            self._low, self._high = self._scale(ordered[0]), self._scale(ordered[-1])
        self._ordered = ordered

    def place(self, value: Any) -> float:
        """How high a value stands; what has none stands below all."""
        floor = 0.12 if self._absent else 0.0
        if value is None:
            return 0.0
        if self._scaled:
            return floor + (1 - floor) * (self._scale(value) - self._low) / (self._high - self._low)
        if len(self._ordered) == 1:
            return 0.5
        return floor + (1 - floor) * self._ordered.index(value) / (len(self._ordered) - 1)

    def labels(self) -> list[tuple[float, str]]:
        """Places and what is written there."""
        shown: list[tuple[float, str]] = [(0.0, ABSENT)] if self._absent else []
        if not self._scaled:
            return [*shown, *((self.place(value), text_of(value)) for value in self._ordered)]
        steps = [self._low + (self._high - self._low) * step / TICKS for step in range(TICKS + 1)]
        values = [math.exp(step) if self._log else step for step in steps]
        return [*shown, *((self.place(value), f"{value:.3g}") for value in values)]

    def _scale(self, value: float) -> float:
        return math.log(value) if self._log else float(value)


def parallel_coordinates(found: Sequence[tuple[Trial, Result]], parameters: Sequence[str]) -> Figure:
    """A line for each trial: its strategy, parameters and dev word accuracy. The best one is thick, stopped ones pale.

    parameters: those with axes of their own, by dotted name.
    """
    columns: dict[str, list[Any]] = {"strategy": [trial.strategy for trial, _ in found]}
    columns |= {name: [trial.changes.get(name) for trial, _ in found] for name in parameters}
    axes = [Axis(name, values) for name, values in columns.items()]
    reached = [result.dev_word_accuracy for _, result in found]
    low, high = min(reached), max(reached)
    figure = Figure(figsize=(2.4 + 1.5 * len(axes), 4.2), dpi=DOTS, layout="constrained")
    plot = figure.add_subplot()
    best = max(range(len(found)), key=lambda number: reached[number])
    known = styles(list(dict.fromkeys(columns["strategy"])))
    for number, (trial, result) in enumerate(found):
        heights = [axis.place(columns[axis.name][number]) for axis in axes]
        heights.append((reached[number] - low) / (high - low) if high > low else 0.5)
        look: dict[str, Any] = {"linewidth": BEST, "zorder": 3} if number == best else {"linewidth": 0.9}
        alpha = 1.0 if number == best else 0.75 if result.is_finished else 0.25
        plot.plot(range(len(heights)), heights, color=known[trial.strategy]["color"], alpha=alpha, **look)
    scale = [(step / TICKS, f"{low + (high - low) * step / TICKS:.1%}") for step in range(TICKS + 1)]
    for number, labels in enumerate(
        [*(axis.labels() for axis in axes), scale if high > low else [(0.5, f"{low:.1%}")]]
    ):
        plot.axvline(number, color=GRID, linewidth=0.8, zorder=0)
        for height, text in labels:
            box = {"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 1}
            plot.text(number + 0.03, height, plain(text), fontsize=8, color=INK, va="center", bbox=box, zorder=4)
    names = [plain(axis.name).replace(".", ".\n", 1) for axis in axes]
    plot.set_xticks(range(len(axes) + 1), [*names, "words right\n(dev)"], fontsize=8, color=MUTED)
    plot.set_yticks([])
    plot.set_xlim(-0.1, len(axes) + 0.45)
    plot.set_ylim(-0.05, 1.05)
    plot.tick_params(length=0)
    for edge in plot.spines.values():
        edge.set_visible(False)
    return figure
