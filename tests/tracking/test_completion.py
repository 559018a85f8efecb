"""What publication makes of files."""

import json
from pathlib import Path

import pytest

from pipeline.errors import UserError
from pipeline.runs.folders import load_history
from pipeline.tracking.completion import numbers, read_predictions


def test_predictions_are_a_table_of_texts_and_numbers_with_the_prediction_second(tmp_path: Path) -> None:
    file = tmp_path / "tandem-0.tsv"
    text = "source\ttarget\talso\tprediction\tlog_probability\tconfidence\tcorrect\tedits\n"
    text += "A\t1\t\t2\t-0.5\t0.25\tFalse\t1\nB\u2028\tTrue\tx|y\tTrue\t-inf\t\tTrue\t0\n"
    file.write_bytes(text.encode())
    columns, rows = read_predictions(file)
    assert columns == [
        "source", "prediction", "target", "also", "log_probability", "confidence", "correct", "edits",
    ]  # fmt: skip
    assert rows == [
        ["A", "2", "1", "", -0.5, 0.25, False, 1.0],
        ["B\u2028", "True", "True", "x|y", None, None, True, 0.0],
    ]
    json.dumps(rows, allow_nan=False)


def test_numbers_are_found_at_any_depth_and_named_by_their_way() -> None:
    found = numbers({"encoder": "conv", "steps": 20, "test": {"roc_auc": 0.75}}, "matcher")
    assert found == {"matcher_updates": 20, "matcher_test_roc_auc": 0.75}


def test_a_history_is_read_without_its_empty_cells(tmp_path: Path) -> None:
    (tmp_path / "history.csv").write_text("step,loss,dev\n10,2.5,\n20,,0.25\n", encoding="utf-8")
    assert load_history(tmp_path) == [{"step": 10, "loss": 2.5}, {"step": 20, "dev": 0.25}]


@pytest.mark.parametrize("content", [None, "step,loss\n10,abc\n"])
def test_a_history_that_cannot_be_read_says_what_to_do(tmp_path: Path, content: str | None) -> None:
    if content:
        (tmp_path / "history.csv").write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=r"history\.csv cannot be used .*: run `dvc repro`"):
        load_history(tmp_path)
