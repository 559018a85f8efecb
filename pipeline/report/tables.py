"""A comparison as text: the verdict in a sentence, tables as markdown, and comparison.md made of them.

All text is safe in markdown and readable on a terminal.
"""

import html
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipeline.evaluation.results import BETTER, ORACLE, PAIRS, UNDECIDED, VERDICT, Metrics, focus_of, rows, strategies
from pipeline.text import printable

if TYPE_CHECKING:  # the verdict is quick to import
    import pandas as pd

    from pipeline.config.params import Params
    from pipeline.report.costs import Costs

ABSENT = "–"
ORDERS = ("greedy", ORACLE)  # whose accuracies stand beside that of the chosen predictions
NOTHING = "\N{EMPTY SET}"
BOUGHT = {
    "synthetic": "made-up pairs",
    "autoencode": "autoencoding",
    "pretrained": "the pretrained decoder",
    "pseudo": "predictions as pairs",
    "reranker": "the reranker",
    "reranker_listed": "the reranker, where the target is listed",
    "reranker_unlisted": "the reranker, where it is not",
    "list": "the list, to the reranker",
    "ensemble": "the ensemble (of these trainings)",
}
EQUAL_SECONDS = (
    "In equal seconds: points of greedy accuracy on dev when the cheaper training ended. They have no interval, and "
    "the dearer training is cut off before its learning rate has fallen, which counts against it."
)

# An underscore inside a word is literal in markdown, and `two_stage` is to stay readable on a terminal.
# What looks like an address would become a link.
_SPECIAL = re.compile(r"[\\`*\[\]|~$]|@(?=[\w-]+\.)|(?<![^\W_])_|_(?![^\W_])|:(?=//)|(?<=www)\.", re.IGNORECASE)


def percent(interval: Mapping[str, float]) -> str:
    """A fraction and its interval in per cent: `28.4 (26.5 to 30.3)`."""
    mean, low, high = (f"{100 * interval[key]:.1f}" for key in ("mean", "low", "high"))
    return f"{mean} ({low} to {high})"


def points(fraction: float) -> str:
    """A difference of fractions in percentage points with its sign: `+1.9`."""
    text = f"{100 * fraction:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text


def p_value_text(p_value: float) -> str:
    """A p-value with two digits, or `≤ 0.0001`."""
    return f"{p_value:.2g}" if p_value > 0.0001 else "≤ 0.0001"


def level(metrics: Metrics) -> str:
    """The confidence of the intervals of accuracies: `95%`."""
    return share(metrics[focus_of(metrics)]["confidence"])


def share(fraction: float) -> str:
    """A fraction in per cent, with four digits: `97.5%`."""
    return f"{100 * fraction:.4g}%"


def probability_text(probability: float | None) -> str:
    """A probability with two digits, never 0 or 1: `0.88`, `> 0.99`."""
    if probability is None:
        return ABSENT
    return "> 0.99" if probability > 0.995 else "< 0.01" if probability < 0.005 else f"{probability:.2f}"


def length_range(bucket: Mapping[str, Any]) -> str:
    """The shortest and the longest length in a bucket: `3 to 5`."""
    low, high = bucket["from"], bucket["to"]
    return str(low) if low == high else f"{low} to {high}"


def in_words(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def visible(symbol: str) -> str:
    """A symbol as a visible label: the empty set for none, a combining mark on a dotted circle."""
    if not symbol:
        return NOTHING
    if symbol.isspace():
        return "\N{OPEN BOX}" * len(symbol)
    return printable("\N{DOTTED CIRCLE}" + symbol if unicodedata.category(symbol[0]).startswith("M") else symbol)


def how_often(mean: float) -> str:
    """A mean count in one run: whole, except for rare ones."""
    return f"{mean:,.0f}" if mean >= 10 else f"{mean:.2g}"


def escape(text: str) -> str:
    """Text that markdown shows as it is, on one line: no markup, HTML, formula or end of a table cell in it.

    Characters that cannot be shown or written (controls, lone surrogates) become U+FFFD; no text shows as `*(empty)*`.
    """
    if not text:
        return "*(empty)*"
    return html.escape(_SPECIAL.sub(lambda match: "\\" + match[0], printable(text)), quote=False)


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> str:
    """A markdown table of any text, aligned for a terminal too: the first `left` columns to the left, numbers right."""
    cells = [[escape(cell) for cell in row] for row in (header, *rows)]
    widths = [max(3, *map(len, column)) for column in zip(*cells, strict=True)]
    rule = ["-" * width if place < left else "-" * (width - 1) + ":" for place, width in enumerate(widths)]
    lines = [
        [
            cell.ljust(width) if place < left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        for row in cells
    ]
    return "".join(f"| {' | '.join(line)} |\n" for line in (lines[0], rule, *lines[1:]))


def verdict(metrics: Metrics) -> str:
    """The result of the comparison in one sentence, the same wherever it stands.

    It has the differences of metrics.json's section `verdict` with intervals, p-values and the probability that a
    further training gives the same order; what the test can find at all; and differences in budget. metrics: also what
    `experiments.over_samples` made of several samples of the pairs; the probability is then that of a further sample.
    """
    names, focus = strategies(metrics), focus_of(metrics)
    seeds = " to ".join(str(count) for count in sorted({metrics[name]["seeds"] for name in names}))
    items, samples = f"{metrics[focus]['items']:,}", metrics[VERDICT].get("samples")
    on_samples = f", {samples} samples of {metrics[VERDICT]['pairs']:,} pairs" if samples else ""
    of_each = " of each" if samples else ""
    opening = f"On {items} test item{'s' * (items != '1')}{on_samples} and {seeds} seed{'s' * (seeds != '1')}{of_each}"
    if not (differences := metrics[VERDICT]["differences"]):
        return f"{opening}, {focus} gets {percent(metrics[focus]['word_accuracy'])} % right; no other was trained."
    clauses: list[str] = []
    again = "it is better on a new sample" if samples else "a new training is better"
    for row in differences:
        also = " has the highest accuracy and" if clauses and row["name"] != differences[0]["name"] else ""
        clauses.append(f"{row['name']}{also} {_against(row, len(differences), again)}")
    clauses.append(_power(differences))
    if any(row["probability"] is None for row in differences):
        clauses.append("of other seeds nothing is known")
    compared = {row[side] for row in differences for side in ("name", "other")}
    spent = {name: f"{metrics[name]['paired_steps']:,.0f}" for name in names if name in compared}
    if len(set(spent.values())) > 1:
        clauses.append(f"their paired steps differ ({', '.join(f'{name} {steps}' for name, steps in spent.items())})")
    return f"{opening}, {'; '.join(clauses)}."


def answers(metrics: Metrics) -> dict[frozenset[str], str]:
    """The answer about each two strategies: that of the verdict, or else that of the table of all pairs."""
    shown = (*metrics[PAIRS], *metrics[VERDICT]["differences"])
    return {frozenset((row["name"], row["other"])): row["answer"] for row in shown}


def of_samples(params: "Params") -> str:
    """What several samples of the pairs show, and how to get those that lack; nothing if one sample is all."""
    from pipeline.evaluation.sizes import saved_samples

    known, prepare = saved_samples(params), params.prepare
    sentences = [verdict(known)] if known else []
    if (known[VERDICT]["samples"] if known else 1) < prepare.resamples:
        others = ",".join(str(sample) for sample in range(prepare.resamples) if sample != prepare.sample)
        sentences.append(
            f"This is sample {prepare.sample} of {prepare.resamples} (prepare.resamples). To compare on all, run "
            f"`dvc exp run --queue -S prepare.sample={others}`, `dvc exp run --run-all`, `tandem sizes`, `dvc repro`."
        )
    return " ".join(sentences)


def _against(row: Mapping[str, Any], shown: int, again: str) -> str:
    """What a row of `verdict.family` says, after the name of its strategy.

    shown: differences in the family. again: what has the probability of the row.
    """
    certainty = [f"{share(row['level'])} interval {points(row['low'])} to {points(row['high'])}"]
    p_value = p_value_text(row["p_value"])
    certainty.append(f"p {p_value if p_value.startswith('≤') else '= ' + p_value}")
    if shown > 1:
        certainty.append(f"corrected {p_value_text(row['p_adjusted'])}")
    if row["probability"] is not None:
        certainty.append(f"{again} with probability {probability_text(row['probability'])}")
    text = ", ".join(certainty)
    if row["answer"] == UNDECIDED:
        return f"cannot be told apart from {row['other']} ({points(row['difference'])} points, {text})"
    verb = "beats" if row["answer"] == BETTER else "loses to"
    return f"{verb} {row['other']} by {100 * abs(row['difference']):.1f} points of word accuracy ({text})"


def _power(differences: Sequence[Mapping[str, Any]]) -> str:
    known = [row["detectable"] for row in differences if row["detectable"] is not None]
    if not known or max(known) >= 1:
        return "this test is too small to find any difference reliably"
    return f"this test finds true differences of {100 * max(known):.1f} points with a probability of 80%"


def how_to_read(metrics: Metrics) -> str:
    """What intervals and p-values of differences are."""
    error = f"{1 - metrics[focus_of(metrics)]['confidence']:.4g}"
    return (
        "Differences hold for new test items and new seeds. The corrected p allows for the number of differences in a "
        "table (Holm); each interval is as wide as that asks, so it excludes zero exactly if the corrected p is at "
        f"most {error}."
    )


def listed_share(metrics: Metrics) -> str:
    """How many test items the accuracies are of, and for how many of them the target is in the list."""
    row = metrics[focus_of(metrics)]
    listed = row["listed_targets"]["items"] if row["listed_targets"] else 0
    return (
        f"Accuracies are those on all {row['items']:,} test items, of which {listed / row['items']:.0%} have a target "
        "that is listed among the unpaired targets."
    )


def by_listed(metrics: Metrics) -> dict[str, dict[str, str]]:
    """Accuracies by strategy for listed and for unlisted targets, under a title for each that has test items."""
    names = strategies(metrics)
    return {
        f"{title} ({metrics[names[0]][key]['items']:,} items)": {
            name: percent(metrics[name][key]["word_accuracy"]) for name in names
        }
        for key, title in (("listed_targets", "listed"), ("unlisted_targets", "not listed"))
        if metrics[names[0]][key]
    }


def table(metrics: Metrics, costs: "Costs | None" = None) -> str:
    """The main table and, below, what each ingredient buys, as markdown. costs: what the clock measured."""
    seconds = costs.seconds if costs else {}
    interval = f"{level(metrics)} interval"
    header = ["strategy", f"word accuracy, % ({interval})", *(f"{order}, %" for order in ORDERS)]
    header.append(f"character error rate, % ({interval})")
    header += ["paired steps", "all steps", "symbols trained on", *(["seconds"] if seconds else [])]
    lines = []
    for name, row in rows(metrics).items():
        by_order = [
            f"{100 * row['by_order'][order]['mean']:.1f}" if order in row["by_order"] else ABSENT for order in ORDERS
        ]
        numbers = [row["paired_steps"], row["steps"], row["symbols"], *([seconds.get(name)] if seconds else [])]
        whole = [ABSENT if number is None else f"{number:,.0f}" for number in numbers]
        lines.append([name, percent(row["word_accuracy"]), *by_order, percent(row["character_error_rate"]), *whole])
    text = markdown_table(header, lines)
    if not metrics["ingredients"]:
        return text
    header = ["ingredient", "difference", "points (interval)", "p", "corrected p"]
    header += ["in equal seconds, dev"] if seconds else []
    bought = [
        [
            BOUGHT[row["ingredient"]],
            f"{row['with']} - {row['without']}",
            f"{points(row['difference'])} ({points(row['low'])} to {points(row['high'])})",
            p_value_text(row["p_value"]),
            p_value_text(row["p_adjusted"]),
            *([in_equal_seconds(row, costs)] if costs and seconds else []),
        ]
        for row in metrics["ingredients"]
    ]
    note = f"\n{EQUAL_SECONDS}\n" if seconds else ""
    return f"{text}\n{markdown_table(header, bought, left=2)}{note}"


def in_equal_seconds(row: Mapping[str, Any], costs: "Costs") -> str:
    """By how many points an ingredient is ahead on dev after the seconds of the cheaper training."""
    gain = costs.in_equal_seconds(row["with"], row["without"])
    return ABSENT if gain is None else points(gain)


def sizes_table(rows: "pd.DataFrame") -> str:
    """A markdown table of accuracies: a row for each strategy, a column for each number of pairs.

    rows: as by `experiments.collect`. With several samples of a size, their number stands beside it.
    """
    counts: dict[Any, int] = dict(zip(rows["pairs"], rows["samples"], strict=True))
    intervals: Any = rows.rename(columns={"word_accuracy": "mean"}).to_dict("records")
    texts = rows.assign(text=list(map(percent, intervals)))
    cells = texts.pivot_table(index="strategy", columns="pairs", values="text", aggfunc="first")
    lines = [[name, *cells.fillna(ABSENT).loc[name]] for name in rows["strategy"].unique()]
    heads = [f"{size:,}" + f" ({counts[size]} samples)" * (counts[size] > 1) for size in cells]
    return markdown_table(["word accuracy, %, by pairs", *heads], lines)


def comparison(metrics: Metrics, costs: "Costs | None" = None, samples: str = "") -> str:
    """comparison.md: the verdict and the tables. samples: as from `of_samples`."""
    names = strategies(metrics)
    lengths = {
        f"{length_range(bucket)} ({bucket['items']:,} items)": {
            name: percent(metrics[name]["by_source_length"][place]["word_accuracy"]) for name in names
        }
        for place, bucket in enumerate(metrics[names[0]]["by_source_length"])
    }
    by_length, by_list = (
        markdown_table(
            ["words right, %", *columns], [[name, *(part[name] for part in columns.values())] for name in names]
        )
        for columns in (lengths, by_listed(metrics))
    )
    errors = {name: row["calibration_error"] for name, row in rows(metrics).items()}
    known = [[name, f"{100 * error:.1f}"] for name, error in errors.items() if error is not None]
    calibration = markdown_table(["strategy", "expected calibration error, points"], known)
    sections = [
        f"# Comparison\n\n{escape(verdict(metrics))}\n",
        *([f"{escape(samples)}\n"] if samples else []),
        f"{listed_share(metrics)}\n",
        table(metrics, costs),
        f"{how_to_read(metrics)}\n",
        f"## By whether the target is listed\n\n{by_list}",
        f"## By the number of symbols in the source\n\n{by_length}",
        "## Calibration\n\nMean distance between the confidence of predictions and the share of them that is right.\n",
        calibration,
    ]
    return "\n".join(sections)
