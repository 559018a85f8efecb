"""The report as one HTML page that needs nothing else: what `page.html` is filled with, for a reader who has to decide.

Numbers come from `findings`, sentences from `captions` and `summary`, figures from `figures` and `heatmaps`. The
template escapes all text.
"""

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from pipeline.evaluation.attention import AttentionMap
from pipeline.evaluation.confusions import how_often, visible
from pipeline.evaluation.results import COMPARISONS, CONTROLS, ENSEMBLES, GREEDY, Metrics, ensemble_title, rows
from pipeline.report import captions, figures, heatmaps
from pipeline.report.figures import places
from pipeline.report.findings import PLOTS, Findings
from pipeline.report.markdown import p_value_text, points
from pipeline.report.svg import DARK, LIGHT, inline_svg
from pipeline.report.tables import verdict
from pipeline.text import printable

CONFUSIONS, REWRITES, EXAMPLES = 12, 20, 12  # rows of each table, at most
FULL, HOLLOW = "●■◆▲▼✚✖", "○□◇△▽✛✕"  # the markers of figures, of strategies and of their ensembles

Row = dict[str, Any]


def page(found: Findings) -> str:
    """The whole page, the same for the same findings."""
    metrics = found.metrics
    return _template().render(
        title=f"{captions.in_words(found.strategies)} compared" if len(found.strategies) > 1 else found.focus,
        light=LIGHT,
        dark=DARK,
        found=found,
        level=f"{100 * metrics[found.focus]['confidence']:.4g}%",
        items=metrics[found.focus]["items"],
        seeds=max(metrics[name]["seeds"] for name in found.strategies),
        headline=captions.headline(metrics),
        verdict=verdict(metrics),
        cost=captions.cost(metrics),
        marks=_marks(found),
        standing=_standing(metrics),
        differences=_differences(metrics),
        known=_known_targets(found),
        confusions=_confusions(found),
        maps=[_map(number, one, found) for number, one in enumerate(found.attention)],
        rewrites=_rewrites(found),
        examples={outcome: _examples(found, outcome) for outcome in ("won", "lost")},
        plots=_plots(found),
    )


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html")


def _plots(found: Findings) -> dict[str, tuple[str, Markup]]:
    """A sentence and a drawing for each figure that there is something to show in."""
    sentences = {
        "word_accuracy": "",
        "learning_curves": captions.learning_curves(found.results),
        "accuracy_by_length": captions.by_length(found.metrics),
    }
    if (found.confusions["strategy"] == found.focus).any():
        seeds = found.metrics[found.focus]["seeds"]
        sentences["confusions"] = captions.confusions(found.confusions, found.focus, seeds)
    if any(found.metrics[name]["calibration_error"] is not None for name in found.strategies):
        sentences["calibration"] = captions.calibration(found.metrics)
    plots = {
        name: (sentence, inline_svg(PLOTS[name].draw(found), name, f"{PLOTS[name].title}. {sentence}"))
        for name, sentence in sentences.items()
    }
    if len(set(found.by_pairs["pairs"])) > 1:
        sentence = captions.by_pairs(found.by_pairs)
        figure = figures.accuracy_by_pairs(found.by_pairs, found.metrics[found.focus]["confidence"])
        plots["accuracy_by_pairs"] = (sentence, inline_svg(figure, "accuracy_by_pairs", sentence))
    return plots


def _marks(found: Findings) -> dict[str, Row]:
    """How each row of the tables is marked: the sign and the colour that it has in the figures."""
    marks = {name: {"sign": FULL[0], "colour": "muted"} for name in found.metrics[CONTROLS]}
    for name, place in places(found.strategies).items():
        marks[name] = {"sign": FULL[place], "colour": f"series-{place}"}
        marks[ensemble_title(name)] = {"sign": HOLLOW[place], "colour": f"series-{place}"}
    return marks


def _standing(metrics: Metrics) -> list[Row]:
    """The table of all that was compared."""
    ensembles = {ensemble_title(name) for name in metrics[ENSEMBLES]}
    return [
        {
            "name": name,
            "is_strategy": name not in metrics[CONTROLS] and name not in ensembles,
            "right": _percent(row["word_accuracy"]["mean"]),
            "interval": _interval(row["word_accuracy"]),
            "greedy": _percent(row["by_order"][GREEDY]["mean"]) if GREEDY in row["by_order"] else "–",
            "wrong_symbols": _percent(row["character_error_rate"]["mean"]),
            "spent": [f"{row[key]:,.0f}" for key in ("paired_steps", "steps", "seconds")],
        }
        for name, row in rows(metrics).items()
    ]


def _differences(metrics: Metrics) -> list[Row]:
    return [
        {
            "name": name.replace("_vs_", " against "),
            "difference": points(found["difference"]),
            "interval": f"{points(found['low'])} to {points(found['high'])}",
            "p": p_value_text(found["p_value"]),
        }
        for name, found in metrics[COMPARISONS].items()
    ]


def _known_targets(found: Findings) -> list[Row]:
    """Accuracy where the target is among the unpaired ones and where it is not; nothing where all are alike."""
    table = []
    for key, title in (("seen_targets", "among the unpaired targets"), ("unseen_targets", "new")):
        parts = [found.metrics[name][key] for name in found.strategies]
        if parts[0] is not None:
            cells = [
                f"{_percent(part['word_accuracy']['mean'])} ({_interval(part['word_accuracy'])})" for part in parts
            ]
            table.append({"title": title, "count": f"{parts[0]['items']:,}", "cells": cells})
    return table if len(table) > 1 else []


def _confusions(found: Findings) -> list[Row]:
    """The most frequent confusions of the strategy in focus, and how often each strategy makes them in a run."""
    counts = found.confusions.set_index(["strategy", "target", "written"])["count"].to_dict()
    own = found.confusions[found.confusions["strategy"] == found.focus].head(CONFUSIONS)
    return [
        {
            "target": visible(row["target"]),
            "written": visible(row["written"]),
            "times": [
                how_often(counts.get((name, row["target"], row["written"]), 0) / found.metrics[name]["seeds"])
                for name in found.strategies
            ],
        }
        for row in own.to_dict("records")
    ]


def _map(number: int, one: AttentionMap, found: Findings) -> Row:
    source, written = (printable(_joined(symbols)) for symbols in (one.source, one.written))
    label = f"Attention while {written} is written for {source}"
    drawing = inline_svg(heatmaps.attention([one], found.focus, found.colour), f"attention-{number}", label)
    return {"source": source, "written": written, "drawing": drawing}


def _joined(symbols: Iterable[str]) -> str:
    symbols = list(symbols)
    return (" " if any(len(symbol) > 1 for symbol in symbols) else "").join(symbols)


def _examples(found: Findings, outcome: str) -> list[Row]:
    chosen = found.examples[found.examples["outcome"] == outcome].head(EXAMPLES)
    return [
        {
            "source": row["source"],
            "target": row["target"],
            "predictions": [
                {"text": row[f"{name}_prediction"], "right": row[f"{name}_accuracy"] > 0.5} for name in found.strategies
            ],
        }
        for row in chosen.to_dict("records")
    ]


def _rewrites(found: Findings) -> list[Row]:
    return [
        {
            "before": visible(row["before"]) if row["before"] else "",
            "target": visible(row["target"]),
            "after": visible(row["after"]) if row["after"] else "",
            "source": visible(row["source"]),
            "times": f"{row['count']:,} of {row['seen']:,}",
            "share": row["probability"],
        }
        for row in found.rewrites.head(REWRITES).to_dict("records")
    ]


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.1f}"


def _interval(interval: dict[str, float]) -> str:
    return f"{_percent(interval['low'])} to {_percent(interval['high'])}"
