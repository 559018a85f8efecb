"""The files that a comparison leaves in `reports`.

Numbers come from `comparison`, words from `summary`, figures from `findings`, the page for readers from `page`.
"""

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from pipeline.data.examples import Example
from pipeline.evaluation.comparison import RunResult, accuracy_table, by_length_table, calibration_table
from pipeline.evaluation.curves import curves_table
from pipeline.evaluation.results import Metrics, focus_of, length_range, strategies
from pipeline.report.figures import save
from pipeline.report.findings import PLOTS, Findings
from pipeline.report.markdown import escape, markdown_table, percent
from pipeline.report.page import page
from pipeline.report.tables import calibration_errors, table, verdict

CALIBRATION = "How far the confidence of predictions is from the share of them that is right, on average."


def write_report(folder: Path, found: Findings) -> None:
    """Write all that a comparison leaves behind into `folder`, but for predictions.

    index.html, the page for readers; metrics.json; comparison.md; curves.csv, accuracy.csv and by_length.csv for
    `dvc plots`; calibration.csv, with the reliability curves; confusions.csv, noise.csv and examples.csv; and the
    figures of `PLOTS` as PNG.
    """
    folder.mkdir(parents=True, exist_ok=True)
    content = json.dumps(found.metrics, indent=2, ensure_ascii=False, allow_nan=False)
    _write(folder / "metrics.json", content + "\n")
    tables = {
        "curves": curves_table(found.results),
        "accuracy": accuracy_table(found.metrics),
        "by_length": by_length_table(found.metrics),
        "calibration": calibration_table(found.results),
        "confusions": found.confusions,
        "noise": found.rewrites,
        "examples": found.examples,
    }
    for name, rows in tables.items():
        rows.to_csv(folder / f"{name}.csv", index=False, lineterminator="\n")
    for name, plot in PLOTS.items():
        save(plot.draw(found), folder / f"{name}.png", plot.title)
    _write(folder / "comparison.md", comparison_page(found.metrics, found.examples))
    _write(folder / "index.html", page(found))


def write_predictions(path: Path, result: RunResult, test: Sequence[Example]) -> None:
    """Write predictions as TSV: a row per test item; `also` holds further targets that count as right."""
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = {
        "source": result.sources,
        "target": result.targets,
        "also": ["|".join(example.also) for example in test],
        "prediction": result.predictions,
        "log_probability": result.log_probabilities,
        "confidence": result.confidences,
        **result.scores,
    }
    pd.DataFrame(columns).to_csv(
        path, sep="\t", index=False, lineterminator="\n", quoting=csv.QUOTE_NONE, float_format="%.6g"
    )


def comparison_page(metrics: Metrics, examples: pd.DataFrame) -> str:
    """comparison.md: the verdict, the tables, the plots beside it, and the examples."""
    plots = "\n".join(f"![{plot.title}]({name}.png)\n" for name, plot in PLOTS.items())
    sections = [
        f"# Comparison\n\n{escape(verdict(metrics))}\n",
        table(metrics),
        f"## Plots\n\n{plots}",
        f"## By source length\n\nWords right, %, by the number of symbols in the source.\n\n{_length_table(metrics)}",
        f"## By whether the target is among the unpaired ones\n\nWords right, %.\n\n{_seen_table(metrics)}",
        f"## Calibration\n\n{CALIBRATION}\n\n{calibration_errors(metrics)}",
        f"## Examples\n\n{_example_table(metrics, examples)}",
    ]
    return "\n".join(sections)


def _length_table(metrics: Metrics) -> str:
    names = strategies(metrics)
    rows = [
        [length_range(parts[0]), f"{parts[0]['items']:,}", *(percent(part["word_accuracy"]) for part in parts)]
        for parts in zip(*(metrics[name]["by_source_length"] for name in names), strict=True)
    ]
    return markdown_table(["symbols", "items", *names], rows)


def _seen_table(metrics: Metrics) -> str:
    names = strategies(metrics)
    rows = []
    for key in ("seen_targets", "unseen_targets"):
        parts = [metrics[name][key] for name in names]
        if parts[0] is not None:
            accuracies = [percent(part["word_accuracy"]) for part in parts]
            rows.append([key.replace("_", " "), f"{parts[0]['items']:,}", *accuracies])
    return markdown_table(["targets", "items", *names], rows)


def _example_table(metrics: Metrics, examples: pd.DataFrame) -> str:
    if examples.empty:
        return "The strategies agree on every test item.\n"
    names = strategies(metrics)
    rows = [
        [
            example["outcome"],
            example["source"],
            example["target"],
            *(_judged(example[f"{name}_prediction"], example[f"{name}_accuracy"]) for name in names),
        ]
        for example in examples.to_dict("records")
    ]
    note = (
        f"Test items that {escape(focus_of(names))} wins or loses: most of its seeds are right (✓) and another "
        "strategy's are not (✗), or the reverse. Shown is the most frequent prediction over seeds.\n\n"
    )
    return note + markdown_table(["outcome", "source", "target", *names], rows, left=3 + len(names))


def _judged(prediction: str, accuracy: float) -> str:
    return f"{prediction} {'✓' if accuracy > 0.5 else '✗'}"


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")
