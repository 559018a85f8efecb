"""Seconds of training and accuracy by seconds, from timings that lie beside the results."""

from pathlib import Path

import pytest

from pipeline.report.costs import Costs
from pipeline.runs.folders import TIMINGS, timings_folder
from tests.support.made_up import HALF, compared, evaluation, history, run


def write_timings(strategy: str, seed: int, *seconds: float) -> None:
    folder = timings_folder(strategy, seed)
    folder.mkdir(parents=True)
    rows = [f"{10 * (place + 1)},{each}\n" for place, each in enumerate(seconds)]
    (folder / TIMINGS).write_text(f"step,seconds\n{''.join(rows)}", encoding="utf-8")


def test_seconds_are_means_of_the_seeds_with_pretraining(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for strategy, seconds in (("two_stage", (2.0, 4.0)), ("pretrain", (10.0, 20.0))):
        for seed, last in enumerate(seconds):
            write_timings(strategy, seed, 0.5, last)
    runs = [run(name, seed, HALF) for name in ("supervised", "two_stage") for seed in (0, 1)]
    metrics = compared(*runs, ensembles=[run("two_stage", 0, HALF)])
    assert Costs.load(metrics).seconds == {"two_stage": 18.0, "two_stage, ensemble": 36.0}  # supervised has no timings


def test_in_equal_seconds_the_dearer_strategy_is_what_it_was_when_the_cheaper_one_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    runs = [
        run("supervised", 0, HALF, history=history(0.2, 0.1, 0.3)),
        run("two_stage", 0, HALF, history=history(0.1, 0.15, 0.6)),
    ]
    evaluation(runs).save()
    write_timings("supervised", 0, 1.0, 2.0, 10.0)
    write_timings("two_stage", 0, 2.0, 4.0, 6.0)
    write_timings("pretrain", 0, 5.0)
    costs = Costs.load(compared(*runs))
    assert costs.curves["two_stage"] == [([7.0, 9.0, 11.0], [0.1, 0.15, 0.6])]  # pretraining comes before
    assert costs.in_equal_seconds("two_stage", "supervised") == pytest.approx(0.15 - 0.3)
    assert costs.in_equal_seconds("two_stage", "tandem") is None
