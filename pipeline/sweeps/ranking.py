"""The results of a sweep: its configurations from the best to the worst, as tables and plot.

A configuration is a strategy with its parameters; it counts by the mean over its seeds.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from pipeline.config.edit import yaml_text
from pipeline.report import figures
from pipeline.report.tables import markdown_table
from pipeline.runs.folders import ACCURACY, ERROR_RATE, SECONDS, STEP
from pipeline.sweeps.trials import STOPPED, Result, Trial

SHOWN = 20  # rows of a table on the terminal
UNSET = "–"  # for a parameter that the strategy does not depend on
LABELS = 12  # at most, on an axis
TICKS = 5  # of the accuracy


def trials_table(pairs: Iterable[tuple[Trial, Result]], parameters: Sequence[str]) -> pd.DataFrame:
    """A row for each trial, the best first: the trial, its parameters as text, and what it spent and reached."""
    rows = (
        {
            "trial": trial,
            "strategy": trial.strategy,
            "seed": trial.seed,
            **{name: yaml_text(trial.changes[name]) if name in trial.changes else UNSET for name in parameters},
            "ending": result.ending,
            "steps": int(result.rows[-1][STEP]),
            "best_step": int(result.best[STEP]),
            "seconds": result.rows[-1][SECONDS],
            ACCURACY: result.best[ACCURACY],
            ERROR_RATE: result.best[ERROR_RATE],
        }
        for trial, result in pairs
    )
    return pd.DataFrame(rows).sort_values(ACCURACY, ascending=False, kind="stable", ignore_index=True)


def ranked(trials: pd.DataFrame, parameters: Sequence[str]) -> pd.DataFrame:
    """A row for each configuration and its best trial, by mean accuracy from the best on."""
    means = trials.groupby(["strategy", *parameters], sort=False, as_index=False).agg(
        seeds=("seed", "size"),
        stopped=("ending", lambda endings: (endings == STOPPED).sum()),
        mean=(ACCURACY, "mean"),
        lowest=(ACCURACY, "min"),
        highest=(ACCURACY, "max"),
        trial=("trial", "first"),
    )
    return means.sort_values("mean", ascending=False, kind="stable", ignore_index=True)


def table(ranking: pd.DataFrame) -> str:
    """A markdown table of the first `SHOWN` configurations, rows of `ranked`."""
    shown = ranking.drop(columns="trial").rename(columns={"mean": "dev word accuracy, %"}).head(SHOWN)
    cells = shown.map(lambda value: f"{100 * value:.1f}" if isinstance(value, float) else str(value))
    text = markdown_table(list(cells.columns), cells.to_numpy().tolist())
    return f"{text}… and {len(ranking) - SHOWN:,} more\n" if len(ranking) > SHOWN else text


def verdict(best: Any) -> str:
    """The best configuration, a row of `ranked`, in a sentence."""
    setting = ", ".join(f"{name}: {yaml_text(value)}" for name, value in best["trial"].changes.items())
    name = f"{best['strategy']} with {setting}" if setting else best["strategy"]
    seeds = f"mean of {best['seeds']} seeds" if best["seeds"] > 1 else "one seed"
    return f"best: {name}, {best['mean']:.1%} of dev words right ({seeds})"


def parallel_coordinates(trials: pd.DataFrame, parameters: Sequence[str]) -> Figure:
    """Draw each row of `trials_table` as a line through its strategy, parameters and dev word accuracy.

    The best one is thick, stopped ones are pale. Values lie on their axes in their order, at equal distances.
    """
    accuracy = trials[ACCURACY]
    low, high = accuracy.iloc[-1], accuracy.iloc[0]
    axes = {name: _heights(trials[name]) for name in ("strategy", *parameters)}
    lines = pd.DataFrame({name: trials[name].map(heights) for name, heights in axes.items()})
    lines[ACCURACY] = (accuracy - low) / (high - low) if high > low else 0.5
    shares = np.linspace(0, 1, TICKS) if high > low else [0.5]
    axes["words right (dev)"] = {f"{low + (high - low) * share:.1%}": share for share in shares}
    figure = Figure(figsize=(0.9 + 1.5 * len(axes), 4.2), dpi=figures.DOTS, layout="constrained")
    plot = figure.add_subplot()
    colours = figures.styles(list(trials["strategy"].unique()))
    for strategy, ending, heights in zip(trials["strategy"], trials["ending"], lines.to_numpy(), strict=True):
        alpha = 0.25 if ending == STOPPED else 0.75
        plot.plot(range(len(axes)), heights, color=colours[strategy]["color"], alpha=alpha, linewidth=0.9, zorder=2)
    plot.get_lines()[0].set(alpha=1.0, linewidth=2.4, zorder=3)
    box = {"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 1}
    style: Any = {"fontsize": 8, "color": figures.INK, "va": "center", "bbox": box, "zorder": 4}
    for number, labels in enumerate(axes.values()):
        plot.axvline(number, color=figures.GRID, linewidth=0.8, zorder=0)
        for text, height in list(labels.items())[:: math.ceil(len(labels) / LABELS)]:
            plot.text(number + 0.03, height, figures.literal(text), **style)
    names = [figures.literal(name).replace(".", ".\n") for name in axes]
    plot.set_xticks(range(len(axes)), names, fontsize=8, color=figures.MUTED)
    plot.set(yticks=[], xlim=(-0.1, len(axes) - 0.55), ylim=(-0.05, 1.05))
    plot.tick_params(length=0)
    plot.spines[:].set_visible(False)
    return figure


def _heights(texts: pd.Series) -> dict[str, float]:
    """Heights of values from 0 to 1: `UNSET` lowest, words as they come, above them numbers by size."""
    numbers = pd.to_numeric(texts, errors="coerce").fillna(-math.inf)
    order = pd.DataFrame({"text": texts, "is_set": texts != UNSET, "number": numbers}).drop_duplicates("text")
    values = order.sort_values(["is_set", "number"], kind="stable")["text"]
    return dict(zip(values, np.linspace(0, 1, len(values)) if len(values) > 1 else [0.5], strict=True))
