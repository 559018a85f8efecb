"""How much of the test set is predicted at a threshold of confidence, and how often that is right: risk and coverage.

Source: El-Yaniv and Wiener 2010, "On the foundations of noise-free selective classification".
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from pipeline.data.store import Integers, Reals
from pipeline.evaluation.comparison import RunResult, stacked
from pipeline.evaluation.metrics import RESAMPLED_AT_ONCE, Resampling

THRESHOLDS = (0.0, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98, 0.99)
COLUMNS = ["at_least", "coverage", "coverage_low", "coverage_high", "accuracy", "accuracy_low", "accuracy_high"]


def coverage_table(runs: Sequence[RunResult], resampling: Resampling) -> pd.DataFrame:
    """For each threshold that leaves something, the share of items covered and the share of these that is right.

    runs: the seeds of a strategy, which are taken together. Columns `COLUMNS`, fractions, with bootstrap intervals over
    items; no rows if confidences are unknown.
    """
    if any(run.confidences is None for run in runs):
        return pd.DataFrame(columns=COLUMNS)
    confidences = np.array([run.confidences for run in runs])
    thresholds = [threshold for threshold in THRESHOLDS if threshold <= confidences.max()]
    covered = confidences >= np.array(thresholds)[:, None, None]
    right = covered & stacked(runs, "correct").astype(bool)
    sums = np.concatenate([covered.sum(axis=1), right.sum(axis=1)]).T  # [items, 2 * thresholds]
    measured, drawn = _rates(sums.sum(axis=0), confidences.size), _rates(_resampled(sums, resampling), confidences.size)
    tail = (1 - resampling.confidence) / 2
    lows, highs = np.nanquantile(drawn, [tail, 1 - tail], axis=0)
    shares = np.stack([measured, lows, highs], axis=1).reshape(2, len(thresholds), 3)  # coverage, accuracy
    return pd.DataFrame(np.column_stack([thresholds, *shares]), columns=COLUMNS)


def _rates(sums: Integers, predictions: int) -> Reals:
    """Coverage and accuracy for sums of covered and right predictions, side by side in the last axis."""
    covered, right = np.split(sums, 2, axis=-1)
    with np.errstate(invalid="ignore"):
        return np.concatenate([covered / predictions, right / covered], axis=-1)


def _resampled(sums: Integers, resampling: Resampling) -> Integers:
    """Sums over items that are drawn with replacement, int64 [resamples, columns]."""
    rng, items = np.random.default_rng(resampling.seed), len(sums)
    even, batch = np.full(items, 1 / items), max(1, RESAMPLED_AT_ONCE // items)
    sizes = [min(batch, resampling.resamples - start) for start in range(0, resampling.resamples, batch)]
    return np.concatenate([rng.multinomial(items, even, size) @ sums for size in sizes])
