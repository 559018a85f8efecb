"""The files of a report: there, whole, the same every time, and safe with any text."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.image import imread
from pipeline.report.findings import PLOTS

from pipeline.data.examples import Example
from pipeline.evaluation.comparison import RunResult
from pipeline.report.report import write_predictions, write_report
from tests.support.made_up import findings, rewrites, run, several

pytestmark = pytest.mark.usefixtures("warnings_are_errors")

FILES = {
    "index.html",
    "metrics.json",
    "comparison.md",
    "curves.csv",
    "accuracy.csv",
    "by_length.csv",
    "calibration.csv",
    "confusions.csv",
    "noise.csv",
    "examples.csv",
    *(f"{name}.png" for name in PLOTS),
}
HOSTILE = ["<script>alert(1)</script>", "a|b", "$\\frac{", "`x` *y* [z](u)", "a\nb", "\ud800", "漢\u202e字", '"=1+1"']
FROM_FILES = [text for text in HOSTILE if text.isprintable()]  # such as data may hold


def write(folder: Path, results: list[RunResult]) -> str:
    write_report(folder, findings(results, rewrites=rewrites("a", *FROM_FILES)))
    return (folder / "comparison.md").read_text(encoding="utf-8")


def test_report_writes_every_file(tmp_path: Path) -> None:
    page = write(tmp_path / "reports", several(("supervised", "two_stage", "tandem"), [f"word{n}" for n in range(30)]))
    assert {path.name for path in (tmp_path / "reports").iterdir()} == FILES
    assert set(json.loads((tmp_path / "reports" / "metrics.json").read_text())) == {
        "supervised",
        "two_stage",
        "tandem",
        "ensembles",
        "controls",
        "comparisons",
    }
    assert page.startswith("# Comparison\n\nOn 30 test items and 2 seeds, tandem ")
    for name in re.findall(r"!\[.*?\]\((.*?)\)", page):
        assert imread(tmp_path / "reports" / name).std() > 0


def test_the_same_comparison_gives_the_same_bytes(tmp_path: Path) -> None:
    results = several(("supervised", "tandem"), [f"word{n}" for n in range(10)])
    write(tmp_path / "a", results)
    write(tmp_path / "b", results)
    for name in FILES:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    page = write(tmp_path, several(("$a_{$", "x|y<b>", "tandem", "漢字"), HOSTILE * 3))
    assert "<script" not in page
    assert "<b>" not in page
    rows = [line for line in page.splitlines() if line.startswith(("| won", "| lost"))]
    assert rows
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 8 for row in rows)


def test_examples_csv_gives_back_the_text(tmp_path: Path) -> None:
    write(tmp_path, several(("supervised", "tandem"), ['comma, "quote"', "plain", "naïve", "x"]))
    found = pd.read_csv(tmp_path / "examples.csv")
    assert set(found["target"]) <= {'comma, "quote"', "plain", "naïve", "x"}
    assert 'comma, "quote"' not in set(found["target"])  # both strategies err on item 0
    assert "naïve" in set(found["target"])


def test_a_single_run_on_a_single_item_without_history_is_reported(tmp_path: Path) -> None:
    page = write(tmp_path, several(("supervised",), ["a"], history=False)[:1])
    assert "nothing to compare it with" in page
    assert "agree on every test item" in page
    assert {path.name for path in tmp_path.iterdir()} == FILES


def test_many_strategies_fit(tmp_path: Path) -> None:
    write(tmp_path, several(tuple(f"strategy {n}" for n in range(9)), [f"word{n}" for n in range(12)]))


def test_the_page_has_the_calibration_of_every_strategy(tmp_path: Path) -> None:
    page = write(tmp_path, several(("supervised", "tandem"), ["a", "b"]))
    section = page[page.index("## Calibration") : page.index("## Examples")]
    assert re.findall(r"^\| (supervised|tandem) +\| +[\d.]+ \|$", section, re.MULTILINE) == ["supervised", "tandem"]


def test_what_is_written_of_noise_is_read_back(tmp_path: Path) -> None:
    write(tmp_path, several(("tandem",), ["a"]))
    found = pd.read_csv(tmp_path / "noise.csv")
    assert found["target"].tolist() == ["a", *FROM_FILES]
    assert found["probability"].tolist() == [0.75] * len(found)


def test_predictions_have_a_row_for_each_item_with_confidence_and_log_probability(tmp_path: Path) -> None:
    result = run("tandem", 0, [1, 0], log_probabilities=[-0.125, -2.0], confidences=[0.875, 0.25])
    write_predictions(tmp_path / "new" / "p.tsv", result, [Example("", "00", ("0", "o")), Example("", "01")])
    assert (tmp_path / "new" / "p.tsv").read_text(encoding="utf-8").splitlines() == [
        "source\ttarget\talso\tprediction\tlog_probability\tconfidence\tcorrect\tedits\tlength",
        "source 00\t00\t0|o\t00\t-0.125\t0.875\tTrue\t0\t2",
        "source 01\t01\t\tx1\t-2\t0.25\tFalse\t1\t2",
    ]
