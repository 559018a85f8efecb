"""The results of a sweep: its configurations from the best to the worst, as tables and plot; the best in params.yaml.

A configuration is a strategy with its parameters; it counts by the mean over its seeds.
"""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from ruamel.yaml import YAML

from pipeline.config.params import changed, flatten, load_params
from pipeline.errors import UserError
from pipeline.report.figures import DOTS, GRID, INK, MUTED, styles
from pipeline.report.figures import plain as literal
from pipeline.report.tables import markdown_table
from pipeline.runs.checkpoints import write_whole
from pipeline.sweeps.trials import Result, Trial, plain
from pipeline.text import cell

SHOWN = 20  # rows of a table on the terminal
WIDE = 4096  # characters: no line of params.yaml is broken
UNSET = "–"  # for a parameter that the strategy does not depend on
FEW = 6  # different numbers that have a place each on an axis; more of them lie on a scale
LOGARITHMIC = 20  # times the lowest number, from which a scale of positive ones is logarithmic
TICKS = 4  # of a scale, after the first

Pairs = Sequence[tuple[Trial, Result]]


@dataclass(frozen=True)
class Configuration:
    """Trials that differ in their seed alone, with their results."""

    trials: Pairs

    @property
    def strategy(self) -> str:
        """The strategy of all its trials."""
        return self.trials[0][0].strategy

    @property
    def changes(self) -> Mapping[str, Any]:
        """The parameters that the sweep set, by dotted name."""
        return self.trials[0][0].changes

    @cached_property
    def accuracy(self) -> float:
        """Mean dev word accuracy."""
        return fmean(result.dev_word_accuracy for _, result in self.trials)


def ranked(pairs: Pairs) -> list[Configuration]:
    """Group trials to configurations, the best first; of equal ones, the first in the sweep."""
    groups: dict[tuple[str, str], list[tuple[Trial, Result]]] = {}
    for trial, result in pairs:
        groups.setdefault(trial.configuration, []).append((trial, result))
    return sorted(map(Configuration, groups.values()), key=lambda group: -group.accuracy)


def table(ranking: Sequence[Configuration], parameters: Sequence[str]) -> str:
    """A markdown table of the first `SHOWN` configurations."""
    header = ["strategy", *parameters, "seeds", "stopped", "dev word accuracy, %", "lowest", "highest"]
    rows = []
    for group in ranking[:SHOWN]:
        reached = [result.dev_word_accuracy for _, result in group.trials]
        numbers = (f"{100 * value:.1f}" for value in (group.accuracy, min(reached), max(reached)))
        counts = len(group.trials), sum(not result.is_finished for _, result in group.trials)
        rows.append([group.strategy, *_values(group.changes, parameters), *map(str, counts), *numbers])
    text = markdown_table(header, rows)
    return f"{text}… and {len(ranking) - SHOWN:,} more\n" if len(ranking) > SHOWN else text


def tsv(pairs: Pairs, parameters: Sequence[str]) -> str:
    """All trials, one a line, the best first; tab-separated."""
    spent = ("steps", "best_step", "seconds", "dev_word_accuracy", "dev_character_error_rate")
    lines = [["strategy", "seed", *parameters, "ending", *spent]]
    for trial, result in sorted(pairs, key=lambda pair: -pair[1].dev_word_accuracy):
        values = _values(trial.changes, parameters)
        numbers = (str(getattr(result, name)) for name in spent)
        lines.append([trial.strategy, str(trial.seed), *values, result.ending, *numbers])
    return "".join("\t".join(map(cell, line)) + "\n" for line in lines)


def verdict(best: Configuration) -> str:
    """The best configuration in a sentence."""
    setting = ", ".join(f"{name}: {plain(value)}" for name, value in best.changes.items())
    name = f"{best.strategy} with {setting}" if setting else best.strategy
    seeds = f"mean of {len(best.trials)} seeds" if len(best.trials) > 1 else "one seed"
    return f"best: {name}, {best.accuracy:.1%} of dev words right ({seeds})"


def apply(best: Configuration, path: Path) -> dict[str, tuple[Any, Any]]:
    """Write the parameters of a configuration into params.yaml, comments and order kept.

    Returns the values that changed, before and after, by dotted name. Raises `ConfigError`, and leaves the file as it
    is, if they contradict other parameters there.
    """
    before = load_params(path)
    after = flatten(changed(before, best.changes))
    changes = {name: (value, after[name]) for name, value in flatten(before).items() if value != after[name]}
    if not changes:
        return {}
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = WIDE
    yaml.representer.add_representer(
        type(None), lambda dumper, _: dumper.represent_scalar("tag:yaml.org,2002:null", "null")
    )
    content = yaml.load(path.read_text(encoding="utf-8-sig"))
    for name, (_, value) in changes.items():
        *sections, key = name.split(".")
        section = content
        for part in sections:
            section = section[part]
        if isinstance(section.get(key), list):
            section[key][:] = value  # stays on one line if it was
        elif key in section:
            section[key] = value
        else:  # a default: before the last line, whose comment may be about the next section
            section.insert(len(section) - 1, key, value)
    text = io.StringIO()
    yaml.dump(content, text)
    try:
        write_whole(path, text.getvalue().encode())
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error}") from error
    return changes


class Axis:
    """An upright axis of the plot: the height of each value, from 0 to 1, and the labels beside it."""

    def __init__(self, name: str, values: Sequence[Any]) -> None:
        """values: of all trials, None for a trial that has none."""
        self.name = name
        different = list({json.dumps(value): value for value in values if value is not None}.values())
        numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in different)
        self._floor = 0.12 if different and None in values else 0.0
        self._ordered = sorted(different) if numeric else different
        self._scale: Normalize | None = None
        if numeric and len(different) > FEW:
            low, high = self._ordered[0], self._ordered[-1]
            self._scale = (LogNorm if low > 0 and high / low > LOGARITHMIC else Normalize)(low, high)

    def place(self, value: Any) -> float:
        """The height of a value; None lies below all values."""
        if value is None:
            return 0.0
        if self._scale:
            return self._floor + (1 - self._floor) * float(self._scale(value))
        if len(self._ordered) == 1:
            return 0.5
        return self._floor + (1 - self._floor) * self._ordered.index(value) / (len(self._ordered) - 1)

    def labels(self) -> list[tuple[float, str]]:
        """Heights and what is written there."""
        unset = [(0.0, UNSET)] if self._floor else []
        if self._scale is None:
            return [*unset, *((self.place(value), plain(value)) for value in self._ordered)]
        shares = np.linspace(0, 1, TICKS + 1)
        values: Any = self._scale.inverse(shares)
        heights = self._floor + (1 - self._floor) * shares
        return [*unset, *((float(height), f"{value:.3g}") for height, value in zip(heights, values, strict=True))]


def parallel_coordinates(pairs: Pairs, parameters: Sequence[str]) -> Figure:
    """Draw each trial as a line through its strategy, parameters and dev word accuracy.

    The best one is thick, stopped ones are pale. parameters: those with axes of their own, by dotted name.
    """
    columns: dict[str, list[Any]] = {"strategy": [trial.strategy for trial, _ in pairs]}
    columns |= {name: [trial.changes.get(name) for trial, _ in pairs] for name in parameters}
    axes = [Axis(name, values) for name, values in columns.items()]
    reached = [result.dev_word_accuracy for _, result in pairs]
    low, high = min(reached), max(reached)
    figure = Figure(figsize=(2.4 + 1.5 * len(axes), 4.2), dpi=DOTS, layout="constrained")
    plot = figure.add_subplot()
    best = reached.index(high)
    known = styles(list(dict.fromkeys(columns["strategy"])))
    for number, (trial, result) in enumerate(pairs):
        heights = [axis.place(columns[axis.name][number]) for axis in axes]
        heights.append((reached[number] - low) / (high - low) if high > low else 0.5)
        alpha = 1.0 if number == best else 0.75 if result.is_finished else 0.25
        width, order = (2.4, 3) if number == best else (0.9, 2)
        color = known[trial.strategy]["color"]
        plot.plot(range(len(heights)), heights, color=color, alpha=alpha, linewidth=width, zorder=order)
    scale = [(step / TICKS, f"{low + (high - low) * step / TICKS:.1%}") for step in range(TICKS + 1)]
    labels = [*(axis.labels() for axis in axes), scale if high > low else [(0.5, f"{low:.1%}")]]
    box = {"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 1}
    for number, some in enumerate(labels):
        plot.axvline(number, color=GRID, linewidth=0.8, zorder=0)
        for height, text in some:
            plot.text(number + 0.03, height, literal(text), fontsize=8, color=INK, va="center", bbox=box, zorder=4)
    names = [literal(axis.name).replace(".", ".\n") for axis in axes]
    plot.set_xticks(range(len(axes) + 1), [*names, "words right\n(dev)"], fontsize=8, color=MUTED)
    plot.set_yticks([])
    plot.set_xlim(-0.1, len(axes) + 0.45)
    plot.set_ylim(-0.05, 1.05)
    plot.tick_params(length=0)
    plot.spines[:].set_visible(False)
    return figure


def _values(changes: Mapping[str, Any], parameters: Sequence[str]) -> list[str]:
    return [plain(changes[name]) if name in changes else UNSET for name in parameters]
