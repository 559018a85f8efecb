"""The files of a report: there, whole, the same every time, and safe with any text."""

import json
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread

from pipeline.alphabet import Symbols
from pipeline.comparison import RunResult, compare, examples
from pipeline.report import learning_curves, save, styles, word_accuracy, write_report
from pipeline.scoring import score

FILES = {
    "metrics.json",
    "comparison.md",
    "curves.csv",
    "accuracy.csv",
    "by_length.csv",
    "examples.csv",
    *(f"{name}.png" for name in ("learning_curves", "word_accuracy", "accuracy_by_length")),
}
HOSTILE = ["<script>alert(1)</script>", "a|b", "$\\frac{", "`x` *y* [z](u)", "a\nb", "\ud800", "漢\u202e字", '"=1+1"']


@pytest.fixture(autouse=True)
def _warnings_are_errors() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def made_up(strategies: tuple[str, ...], targets: list[str], history: bool = True) -> list[RunResult]:
    """Two seeds of each strategy; strategy i errs on every item whose number i + 2 divides."""
    results = []
    for place, strategy in enumerate(strategies):
        for seed in range(2):
            predictions = [f"{t}$" if item % (place + 2) == 0 else t for item, t in enumerate(targets)]
            scores = score(predictions, targets, [{t} for t in targets], Symbols.CHARACTERS)
            curve = pd.DataFrame({"update": [10, 20], "dev_word_accuracy": [0.1 * place, 0.2], "other": 0.0})
            looks = curve if history else pd.DataFrame()
            results.append(RunResult(strategy, seed, targets, targets, predictions, scores, 40, 20, 1.5, looks))
    return results


def write(folder: Path, results: list[RunResult]) -> str:
    targets = results[0].targets
    metrics = compare(results, [False] * len(targets), list(map(len, targets)), resamples=100)
    write_report(folder, metrics, examples(results), results)
    return (folder / "comparison.md").read_text(encoding="utf-8")


def test_report_writes_every_file(tmp_path: Path) -> None:
    page = write(tmp_path / "reports", made_up(("supervised", "two_stage", "tandem"), [f"word{n}" for n in range(30)]))
    assert {path.name for path in (tmp_path / "reports").iterdir()} == FILES
    assert set(json.loads((tmp_path / "reports" / "metrics.json").read_text())) == {
        "supervised",
        "two_stage",
        "tandem",
        "comparisons",
    }
    assert page.startswith("# Comparison\n\nOn 30 test items and 2 seeds, tandem ")
    for name in re.findall(r"!\[.*?\]\((.*?)\)", page):
        assert imread(tmp_path / "reports" / name).std() > 0


def test_the_same_comparison_gives_the_same_bytes(tmp_path: Path) -> None:
    results = made_up(("supervised", "tandem"), [f"word{n}" for n in range(10)])
    write(tmp_path / "a", results)
    write(tmp_path / "b", results)
    for name in FILES:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    page = write(tmp_path, made_up(("$a_{$", "x|y<b>", "tandem", "漢字"), HOSTILE * 3))
    assert "<script" not in page
    assert "<b>" not in page
    rows = [line for line in page.splitlines() if line.startswith(("| won", "| lost"))]
    assert rows
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 8 for row in rows)


def test_examples_csv_gives_back_the_text(tmp_path: Path) -> None:
    write(tmp_path, made_up(("supervised", "tandem"), ['comma, "quote"', "plain", "naïve", "x"]))
    found = pd.read_csv(tmp_path / "examples.csv")
    assert set(found["target"]) <= {'comma, "quote"', "plain", "naïve", "x"}
    assert 'comma, "quote"' not in set(found["target"])  # both strategies err on item 0
    assert "naïve" in set(found["target"])


def test_a_single_run_on_a_single_item_without_history_is_reported(tmp_path: Path) -> None:
    page = write(tmp_path, made_up(("supervised",), ["a"], history=False)[:1])
    assert "nothing to compare it with" in page
    assert "agree on every test item" in page
    assert {path.name for path in tmp_path.iterdir()} == FILES


def test_many_strategies_fit(tmp_path: Path) -> None:
    write(tmp_path, made_up(tuple(f"strategy {n}" for n in range(9)), [f"word{n}" for n in range(12)]))


def test_a_strategy_has_its_own_colour_and_marker() -> None:
    found = styles(["supervised", "two_stage", "tandem", "a", "b", "c", "d"])
    assert len({style["color"] for style in found.values()}) == 7
    assert len({style["marker"] for style in found.values()}) == 7


def test_legend_lies_above_the_data(tmp_path: Path) -> None:
    figure = learning_curves(made_up(("supervised", "tandem"), ["a", "b"]))
    save(figure, tmp_path / "curves.png")
    axes = figure.axes[0]
    legend = axes.get_legend()
    assert legend is not None
    assert legend.get_window_extent().y0 >= axes.get_window_extent().y1


def test_accuracy_plot_shows_interval_mean_and_seeds(tmp_path: Path) -> None:
    results = made_up(("supervised",), [f"word{n}" for n in range(10)])
    metrics = compare(results, [False] * 10, [5] * 10, resamples=100)
    axes = word_accuracy(metrics).axes[0]
    assert [text.get_text() for text in axes.texts] == ["50.0%"]
    seeds = axes.lines[-1].get_xdata()
    assert np.asarray(seeds).tolist() == [0.5, 0.5]
