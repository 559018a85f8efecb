"""The report as one HTML page that needs no other file, for a reader who has to decide: fills in `page.html`.

Sentences come from `captions` and `tables`, figures from `figures` and `heatmaps`. The template escapes all text.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from pipeline.evaluation.results import ensemble_title, rows
from pipeline.report import captions, figures, tables
from pipeline.report.report import PLOTS, Report
from pipeline.report.svg import DARK, LIGHT, inline_svg
from pipeline.text import printable

CONFUSIONS, REWRITES, EXAMPLES = 12, 20, 12  # rows of each table, at most
FULL, HOLLOW = "●■◆▲▼✚✖◀▶⬟⬢★", "○□◇△▽✛✕◁▷⬠⬡☆"  # the markers of figures, of strategies and of their ensembles


def page(report: Report) -> str:
    """The whole page; the same report gives the same text."""
    metrics, focus, results = report.metrics, report.focus, report.results
    confusions = results.confusions
    return _template().render(
        report=report,
        metrics=metrics,
        names=report.strategies,
        focus=focus,
        light=LIGHT,
        dark=DARK,
        marks=_marks(report),
        rows=rows(metrics),
        costs=report.costs,
        confusions=confusions[confusions["strategy"] == focus].head(CONFUSIONS).to_dict("records"),
        counts=confusions.set_index(["strategy", "target", "written"])["count"].to_dict(),
        maps=_maps(report),
        coverage=results.coverage.to_dict("records"),
        rewrites=results.noise.head(REWRITES).to_dict("records"),
        examples={
            result: part.head(EXAMPLES).to_dict("records")
            for result, part in results.examples.groupby("result", sort=False)
        },
        plots=_plots(report),
    )


@cache
def _template() -> Template:
    folder = FileSystemLoader(Path(__file__).parent)
    lines: Any = {"trim_blocks": True, "lstrip_blocks": True}
    environment = Environment(loader=folder, autoescape=True, undefined=StrictUndefined, **lines)
    environment.globals |= {"captions": captions, "tables": tables}
    environment.filters |= {
        "percent": lambda fraction: f"{100 * fraction:.1f}",
        "points": tables.points,
        "visible": tables.visible,
        "whole": lambda number: f"{number:,.0f}",
    }
    return environment.get_template("page.html")


def _plots(report: Report) -> dict[str, tuple[str, Markup]]:
    """A sentence and a drawing for each figure that has something to show."""
    metrics, results = report.metrics, report.results
    sentences = {
        "word_accuracy": "",
        "learning_curves": captions.learning_curves(results.curves, results.histories),
        "accuracy_by_length": "",
    }
    if (results.confusions["strategy"] == report.focus).any():
        sentences["confusions"] = captions.confusions(results.confusions, report.focus, metrics[report.focus]["seeds"])
    if any(metrics[name]["calibration_error"] is not None for name in report.strategies):
        sentences["calibration"] = captions.calibration(metrics)
    if len(results.coverage):
        sentences["coverage"] = captions.coverage(results.coverage, report.focus)
    plots = {}
    if report.costs.curves:
        sentence = captions.costs(report.costs)
        figure = figures.accuracy_by_seconds(report.costs, report.strategies)
        plots["costs"] = sentence, inline_svg(figure, "costs", f"Accuracy by seconds of training. {sentence}")
    for name, sentence in sentences.items():
        title, draw = PLOTS[name]
        plots[name] = sentence, inline_svg(draw(results), name, f"{title}. {sentence}".strip())
    if report.by_pairs["pairs"].nunique() > 1:
        sentence = captions.by_pairs(report.by_pairs)
        confidence = metrics[report.focus]["confidence"]
        figure = figures.accuracy_by_pairs(report.by_pairs, report.strategies, confidence)
        plots["accuracy_by_pairs"] = sentence, inline_svg(figure, "accuracy_by_pairs", sentence)
    return plots


def _marks(report: Report) -> dict[str, tuple[str, str]]:
    """The sign and the colour of each row, as in the figures."""
    marks = dict.fromkeys(report.metrics["controls"], (FULL[0], "muted"))
    for number, name in enumerate(report.strategies):
        place = number % len(FULL)
        marks |= {name: (FULL[place], f"series-{place}"), ensemble_title(name): (HOLLOW[place], f"series-{place}")}
    return marks


def _maps(report: Report) -> list[tuple[str, str, Markup]]:
    """Source, output and drawing of each attention map."""
    maps = []
    for number, one in enumerate(report.results.attention):
        source, written = (printable(_joined(symbols)) for symbols in (one.source, one.written))
        figure = PLOTS["attention"][1](replace(report.results, attention=[one]))
        label = f"Attention while {written} is written for {source}"
        maps.append((source, written, inline_svg(figure, f"attention-{number}", label)))
    return maps


def _joined(symbols: Sequence[str]) -> str:
    return (" " if any(len(symbol) > 1 for symbol in symbols) else "").join(symbols)
