"""The benchmark of suggestions on a made-up corpus: it continues after an interruption; its arithmetic by hand."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.results import Results
from benchmarks.suggest import main, pairs_needed
from tests.test_published import data, write_small_params

__all__ = ["data"]  # a fixture


def test_the_pairs_needed_lie_between_the_sizes_around_the_goal() -> None:
    curve = np.array([[0.5, 0.5], [0.7, 0.6], [0.6, 0.8]])
    goal = np.array([0.6, 0.9])
    assert pairs_needed([100, 200, 300], curve, goal).tolist() == [150, 300]


@pytest.mark.slow
def test_an_interrupted_run_continues_with_the_same_pairs(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_small_params(tmp_path)
    sizes = ("--sizes", "10", "14", "18", "--pool", "30", "--dev", "20", "--seeds", "2", "--strategy", "supervised")
    options = ("--data", str(data), "--corpora", "hills", "--work", "work", *sizes)
    main([*options, "--out", "whole.csv"])
    assert "As good as 18 random pairs:" in capsys.readouterr().out
    lines = Path("whole.csv").read_text().splitlines()
    Path("part.csv").write_text("\n".join(lines[:-4]) + "\n")
    Path("work/predictions/whole").rename("work/predictions/part")
    main([*options, "--out", "part.csv"])
    whole = Path("whole.csv").read_text().splitlines()
    part = Path("part.csv").read_text().splitlines()
    assert [line.rsplit(",", 1)[0] for line in part] == [line.rsplit(",", 1)[0] for line in whole]
    assert len(Results(Path("part.csv"), Path("work/predictions/part")).accuracies()) == 6
