"""The report as one HTML page that needs no other file, for a reader who has to decide: fills in `page.html`.

Sentences come from `captions` and `tables`, figures from `figures` and `heatmaps`. The template escapes all text.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from pipeline.evaluation.results import (
    AttentionMap,
    difference,
    ensemble_title,
    rows,
)
from pipeline.report import captions, figures, heatmaps
from pipeline.report.figures import PALETTE
from pipeline.report.report import PLOTS, Report
from pipeline.report.svg import DARK, LIGHT, inline_svg
from pipeline.report.tables import (
    BOUGHT,
    by_listed,
    how_often,
    in_words,
    level,
    listed_share,
    p_value_text,
    points,
    verdict,
    visible,
)
from pipeline.text import printable

CONFUSIONS, REWRITES, EXAMPLES = 12, 20, 12  # rows of each table, at most
OPEN = 10  # pairs of strategies, at most, whose table is not folded up
FULL, HOLLOW = "●■◆▲▼✚✖◀▶⬟⬢★", "○□◇△▽✛✕◁▷⬠⬡☆"  # the markers of figures, of strategies and of their ensembles


def page(report: Report) -> str:
    """The whole page; the same report gives the same text."""
    metrics, names, focus = report.metrics, report.strategies, report.focus
    listed, table = by_listed(metrics), report.results.confusions
    return _template().render(
        report=report,
        metrics=metrics,
        names=names,
        focus=focus,
        title=f"{in_words(names)} compared" if len(names) > 1 else focus,
        light=LIGHT,
        dark=DARK,
        level=level(metrics),
        seeds=max(metrics[name]["seeds"] for name in names),
        headline=captions.headline(metrics),
        verdict=verdict(metrics),
        share=listed_share(metrics),
        cost=captions.cost(report.seconds, [name for name in names if name in report.seconds]),
        marks=_marks(report),
        rows=rows(metrics),
        ingredients=[
            (f"{BOUGHT[row['ingredient']]}: {row['with']} − {row['without']}", row) for row in metrics["ingredients"]
        ],
        differences=[
            (f"{name} − {other}", difference(metrics, name, other))
            for number, other in enumerate(names)
            for name in names[number + 1 :]
        ],
        listed=listed if len(listed) > 1 else {},
        confusions=table[table["strategy"] == focus].head(CONFUSIONS).to_dict("records"),
        counts=table.set_index(["strategy", "target", "written"])["count"].to_dict(),
        maps=[_map(number, one, report) for number, one in enumerate(report.results.attention)],
        rewrites=report.results.noise.head(REWRITES).to_dict("records"),
        examples={
            result: part.head(EXAMPLES).to_dict("records")
            for result, part in report.results.examples.groupby("result", sort=False)
        },
        plots=_plots(report),
        open_rows=OPEN,
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
    environment.filters |= {
        "percent": lambda fraction: f"{100 * fraction:.1f}",
        "points": points,
        "p_value": p_value_text,
        "visible": visible,
        "how_often": how_often,
        "whole": lambda number: f"{number:,.0f}",
    }
    return environment.get_template("page.html")


def _plots(report: Report) -> dict[str, tuple[str, Markup]]:
    """A sentence and a drawing for each figure that has something to show."""
    metrics, table = report.metrics, report.results.confusions
    sentences = {
        "word_accuracy": "",
        "learning_curves": captions.learning_curves(report.results.curves, report.results.histories),
        "accuracy_by_length": captions.by_length(metrics),
    }
    if (table["strategy"] == report.focus).any():
        sentences["confusions"] = captions.confusions(table, report.focus, metrics[report.focus]["seeds"])
    if any(metrics[name]["calibration_error"] is not None for name in report.strategies):
        sentences["calibration"] = captions.calibration(metrics)
    plots = {
        name: (sentence, inline_svg(PLOTS[name].draw(report), name, f"{PLOTS[name].title}. {sentence}"))
        for name, sentence in sentences.items()
    }
    if len(set(report.by_pairs["pairs"])) > 1:
        sentence = captions.by_pairs(report.by_pairs)
        confidence = metrics[report.focus]["confidence"]
        figure = figures.accuracy_by_pairs(report.by_pairs, report.strategies, confidence)
        plots["accuracy_by_pairs"] = (sentence, inline_svg(figure, "accuracy_by_pairs", sentence))
    return plots


def _marks(report: Report) -> dict[str, tuple[str, str]]:
    """The sign and the colour of each row, as in the figures."""
    marks = dict.fromkeys(report.metrics["controls"], (FULL[0], "muted"))
    for number, name in enumerate(report.strategies):
        place = number % len(PALETTE)
        marks |= {name: (FULL[place], f"series-{place}"), ensemble_title(name): (HOLLOW[place], f"series-{place}")}
    return marks


def _map(number: int, one: AttentionMap, report: Report) -> tuple[str, str, Markup]:
    """Source, output and drawing of an attention map."""
    source, written = (printable(_joined(symbols)) for symbols in (one.source, one.written))
    label = f"Attention while {written} is written for {source}"
    figure = heatmaps.attention([one], report.focus, report.colour)
    return source, written, inline_svg(figure, f"attention-{number}", label)


def _joined(symbols: Sequence[str]) -> str:
    return (" " if any(len(symbol) > 1 for symbol in symbols) else "").join(symbols)
