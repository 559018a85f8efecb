"""The report as one HTML page that needs no other file, for a reader who has to decide: fills in `page.html`.

Sentences come from `captions` and `tables`, figures from `figures` and `heatmaps`. The template escapes all text.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from pipeline.evaluation.results import (
    COMPARISONS,
    CONTROLS,
    ENSEMBLES,
    GREEDY,
    INGREDIENTS,
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
    ABSENT,
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

Cells = dict[str, Any]  # of a table row, by the names in page.html


def page(report: Report) -> str:
    """The whole page; the same report gives the same text."""
    metrics, names = report.metrics, report.strategies
    return _template().render(
        title=f"{in_words(names)} compared" if len(names) > 1 else report.focus,
        light=LIGHT,
        dark=DARK,
        report=report,
        level=level(metrics),
        items=metrics[report.focus]["items"],
        seeds=max(metrics[name]["seeds"] for name in names),
        headline=captions.headline(metrics),
        verdict=verdict(metrics),
        share=listed_share(metrics),
        cost=captions.cost(report.seconds, [name for name in names if name in report.seconds]),
        marks=_marks(report),
        standing=_standing(report),
        ingredients=[
            _difference(f"{BOUGHT[row['ingredient']]}: {row['with']} − {row['without']}", row)
            for row in metrics[INGREDIENTS]
        ],
        differences=[
            _difference(f"{name} − {other}", difference(metrics, name, other))
            for number, other in enumerate(names)
            for name in names[number + 1 :]
        ],
        listed=listed if len(listed := by_listed(metrics)) > 1 else {},
        confusions=_confusions(report),
        maps=[_map(number, one, report) for number, one in enumerate(report.results.attention)],
        rewrites=_rewrites(report),
        examples={outcome: _examples(report, outcome) for outcome in ("won", "lost")},
        plots=_plots(report),
        is_open=len(metrics[COMPARISONS]) <= OPEN,
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


def _marks(report: Report) -> dict[str, Cells]:
    """The sign and the colour of each row, as in the figures."""
    marks = {name: {"sign": FULL[0], "colour": "muted"} for name in report.metrics[CONTROLS]}
    for number, name in enumerate(report.strategies):
        place = number % len(PALETTE)
        marks[name] = {"sign": FULL[place], "colour": f"series-{place}"}
        marks[ensemble_title(name)] = {"sign": HOLLOW[place], "colour": f"series-{place}"}
    return marks


def _standing(report: Report) -> list[Cells]:
    """The main table."""
    aside = {*report.metrics[CONTROLS], *map(ensemble_title, report.metrics[ENSEMBLES])}
    return [
        {
            "name": name,
            "is_strategy": name not in aside,
            "right": _percent(row["word_accuracy"]["mean"]),
            "interval": f"{_percent(row['word_accuracy']['low'])} to {_percent(row['word_accuracy']['high'])}",
            "greedy": _percent(row["by_order"][GREEDY]["mean"]) if GREEDY in row["by_order"] else ABSENT,
            "wrong_symbols": _percent(row["character_error_rate"]["mean"]),
            "spent": [
                *(f"{row[key]:,.0f}" for key in ("paired_steps", "steps")),
                f"{report.seconds[name]:,.0f}" if name in report.seconds else ABSENT,
            ],
        }
        for name, row in rows(report.metrics).items()
    ]


def _difference(name: str, row: dict[str, Any]) -> Cells:
    return {
        "name": name,
        "difference": points(row["difference"]),
        "interval": f"{points(row['low'])} to {points(row['high'])}",
        "p": p_value_text(row["p_value"]),
    }


def _confusions(report: Report) -> list[Cells]:
    """The most frequent confusions of the strategy in focus, and how often each strategy makes them in a run."""
    table = report.results.confusions
    counts = table.set_index(["strategy", "target", "written"])["count"].to_dict()
    return [
        {
            "target": visible(row["target"]),
            "written": visible(row["written"]),
            "times": [
                how_often(counts.get((name, row["target"], row["written"]), 0) / report.metrics[name]["seeds"])
                for name in report.strategies
            ],
        }
        for row in table[table["strategy"] == report.focus].head(CONFUSIONS).to_dict("records")
    ]


def _map(number: int, one: AttentionMap, report: Report) -> Cells:
    source, written = (printable(_joined(symbols)) for symbols in (one.source, one.written))
    label = f"Attention while {written} is written for {source}"
    drawing = inline_svg(heatmaps.attention([one], report.focus, report.colour), f"attention-{number}", label)
    return {"source": source, "written": written, "drawing": drawing}


def _joined(symbols: Sequence[str]) -> str:
    return (" " if any(len(symbol) > 1 for symbol in symbols) else "").join(symbols)


def _examples(report: Report, outcome: str) -> list[Cells]:
    examples = report.results.examples
    return [
        {
            "source": row["source"],
            "target": row["target"],
            "predictions": [
                {"text": row[f"{name}_prediction"], "right": row[f"{name}_accuracy"] > 0.5}
                for name in report.strategies
            ],
        }
        for row in examples[examples["outcome"] == outcome].head(EXAMPLES).to_dict("records")
    ]


def _rewrites(report: Report) -> list[Cells]:
    return [
        {
            "before": visible(row["before"]) if row["before"] else "",
            "target": visible(row["target"]),
            "after": visible(row["after"]) if row["after"] else "",
            "source": visible(row["source"]),
            "times": f"{row['count']:,} of {row['seen']:,}",
            "share": row["probability"],
        }
        for row in report.results.noise.head(REWRITES).to_dict("records")
    ]


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.1f}"
