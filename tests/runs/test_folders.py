"""Run folders as they are read."""

from pathlib import Path

import pytest

from pipeline.errors import UserError
from pipeline.runs.folders import load_history, run_folder


def test_a_history_is_read_without_its_empty_cells(tmp_path: Path) -> None:
    folder = tmp_path / run_folder("tandem", 0)
    folder.mkdir(parents=True)
    (folder / "history.csv").write_text("step,loss,dev\n10,2.5,\n20,,0.25\n", encoding="utf-8")
    assert load_history(folder) == [{"step": 10, "loss": 2.5}, {"step": 20, "dev": 0.25}]


@pytest.mark.parametrize("content", [None, "step,loss\n10,abc\n"])
def test_a_history_that_cannot_be_read_says_what_to_do(tmp_path: Path, content: str | None) -> None:
    folder = tmp_path / run_folder("tandem", 0)
    folder.mkdir(parents=True)
    if content:
        (folder / "history.csv").write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=r"history\.csv cannot be used .*: run `dvc repro`"):
        load_history(folder)
