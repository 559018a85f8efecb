"""What a comparison cost by the clock, from the files beside the results; it decides nothing."""

import contextlib
import csv
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np

from pipeline.errors import UserError
from pipeline.evaluation.results import EVALUATION, Metrics, ensemble_title, strategies
from pipeline.runs.folders import ACCURACY, PRETRAIN, SECONDS, STEP, TIMINGS, load_rows, load_seconds, timings_folder

Curve = tuple[list[float], list[float]]  # seconds since training began, and dev word accuracy, of every evaluation


@dataclass(frozen=True)
class Costs:
    """Seconds of training by title of a row, and accuracies on dev by seconds.

    seconds: of one run, the mean of the seeds, and of an ensemble, their sum. curves: of each seed of a strategy.
    Pretraining is included. Strategies without timings, as of a model from elsewhere, are left out.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    curves: dict[str, list[Curve]] = field(default_factory=dict)

    @classmethod
    def load(cls, metrics: Metrics, evaluation: Path = EVALUATION) -> Self:
        """Read the timings below models/, and the curves of the evaluation."""
        seconds, curves, histories = {}, {}, _histories(evaluation / "histories.csv")
        for name in strategies(metrics):
            is_pretrained, seeds = (
                "pretrained" in metrics[name]["ingredients"],
                list(map(int, metrics[name]["by_seed"])),
            )
            with contextlib.suppress(UserError, IndexError, KeyError):
                before = [load_seconds(PRETRAIN, seed) if is_pretrained else 0.0 for seed in seeds]
                total = sum(load_seconds(name, seed) for seed in seeds) + sum(before)
                seconds[name] = total / len(seeds)
                if name in metrics["ensembles"]:
                    seconds[ensemble_title(name)] = total
                curves[name] = [
                    _by_seconds(name, seed, histories[name, seed], start)
                    for seed, start in zip(seeds, before, strict=True)
                ]
        return cls(seconds, curves)

    def in_equal_seconds(self, name: str, other: str) -> float | None:
        """The difference of the best accuracies on dev so far, after the seconds of the cheaper of two strategies.

        A fraction, greedy, mean of the seeds; None if the seconds of one are unknown.
        """
        if not {name, other} <= self.curves.keys():
            return None
        limit = min(self.seconds[name], self.seconds[other])
        reached = [
            np.mean(
                [max((best for at, best in zip(*curve, strict=True) if at <= limit), default=0.0) for curve in curves]
            )
            for curves in (self.curves[name], self.curves[other])
        ]
        return float(reached[0] - reached[1])


def _by_seconds(name: str, seed: int, history: dict[int, float], start: float) -> Curve:
    """The evaluations of a training, by seconds after `start`."""
    rows = load_rows(timings_folder(name, seed) / TIMINGS)
    known = [(start + row[SECONDS], history[int(row[STEP])]) for row in rows if int(row[STEP]) in history]
    return [second for second, _ in known], [accuracy for _, accuracy in known]


def _histories(path: Path) -> dict[tuple[str, int], dict[int, float]]:
    """Accuracy on dev by step of each training; empty if the evaluation has none."""
    histories: dict[tuple[str, int], dict[int, float]] = {}
    with contextlib.suppress(OSError), path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            histories.setdefault((row["strategy"], int(row["seed"])), {})[int(row[STEP])] = float(row[ACCURACY])
    return histories
