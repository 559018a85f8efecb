"""Accuracies and error rates over seeds, their intervals and paired tests, computed from arrays of scores.

Which numbers a comparison has is left to `comparison`, how they are shown to the report.

Arrays of scores are [seeds, items]: every row one trained model, every column one test item. Test items are what is
resampled, and all seeds of an item are taken together: three models that err on the same word are not three
independent errors. The intervals hold for these models on new items, not for new seeds.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

RESAMPLES = 10_000
CONFIDENCE = 0.95
RESAMPLED_AT_ONCE = 2_000_000  # numbers drawn; keeps the memory of resampling near 50 MB
BINS = 10  # of confidences

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Interval:
    """A mean and its confidence interval, all fractions."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """How much more accurate one strategy is than another: fractions, and a two-sided p-value."""

    difference: float
    low: float
    high: float
    p_value: float


@dataclass(frozen=True)
class Resampling:
    """How intervals and p-values are computed; every number is drawn with a fresh generator of `seed`."""

    resamples: int = RESAMPLES
    confidence: float = CONFIDENCE
    seed: int = 0

    def word_accuracy(self, correct: ArrayLike) -> Interval:
        """Fraction of items that are right, with its bootstrap interval. correct: bool [seeds, items]."""
        right = _by_item(correct)
        return self._rate(right, np.full_like(right, len(np.asarray(correct))), np.random.default_rng(self.seed))

    def character_error_rate(self, edits: ArrayLike, lengths: ArrayLike) -> Interval:
        """Edits per symbol of the targets, with its bootstrap interval; above 1 if predictions are much too long.

        edits, lengths: int [seeds, items], as `score` counts them.
        """
        return self._rate(_by_item(edits), _by_item(lengths), np.random.default_rng(self.seed))

    def paired_difference(self, correct: ArrayLike, baseline: ArrayLike) -> Difference:
        """By how much the mean accuracy of `correct` exceeds that of `baseline` on the same items.

        correct, baseline: bool [seeds, items], with the same items and any numbers of seeds.

        The interval is a bootstrap over items. The p-value is that of the paired randomization test: if the strategies
        were equally good, the results of an item could as well have been swapped, all seeds together. It is the share
        of random swaps, the one observed counted in, whose difference is at least as large in either direction:
        (k + 1) / (resamples + 1), never 0.

        Source: Noreen (1989), Computer-Intensive Methods for Testing Hypotheses (approximate randomization).
        """
        right, right_of_baseline = _by_item(correct), _by_item(baseline)
        if len(right) != len(right_of_baseline):
            raise ValueError(f"{len(right)} items cannot be paired with {len(right_of_baseline)}")
        models, models_of_baseline = len(np.asarray(correct)), len(np.asarray(baseline))
        # Differences of means times both numbers of models: whole numbers, so that equal sums are equal to the bit.
        differences = right * models_of_baseline - right_of_baseline * models
        rng = np.random.default_rng(self.seed)
        interval = self._rate(differences, np.full_like(differences, models * models_of_baseline), rng)
        # Items that differ by equally much are swapped by one binomial draw. That has the distribution of
        # `scipy.stats.permutation_test` with `permutation_type="samples"`, in milliseconds instead of minutes.
        sizes, items = np.unique(np.abs(differences), return_counts=True)
        swapped = (2 * rng.binomial(items, 0.5, size=(self.resamples, len(items))) - items) @ sizes
        as_large = np.count_nonzero(np.abs(swapped) >= abs(differences.sum()))
        return Difference(interval.mean, interval.low, interval.high, (as_large + 1) / (self.resamples + 1))

    def _rate(self, numerators: Integers, denominators: Integers, rng: np.random.Generator) -> Interval:
        """Sum of numerators over sum of denominators, with the percentile bootstrap interval over items.

        Percentile and not BCa: with hundreds of items or more the two agree, while BCa needs one more estimate per
        item, time quadratic in the items, and is undefined where all items agree. There this interval has no width.

        Source: Efron (1979), Bootstrap Methods: Another Look at the Jackknife; Efron & Tibshirani (1993), chapter 13.
        """

        # Of equal items it only matters how often any of them is drawn. That has the distribution of
        # `scipy.stats.bootstrap` with `paired=True`, in milliseconds instead of a second.
        different, times = np.unique(np.stack([numerators, denominators], axis=1), axis=0, return_counts=True)
        at_once = max(1, RESAMPLED_AT_ONCE // len(different))
        drawn = [
            rng.multinomial(len(numerators), times / len(numerators), size=min(at_once, self.resamples - done))
            @ different
            for done in range(0, self.resamples, at_once)
        ]
        sums = np.concatenate([times[None] @ different, *drawn])
        rates = sums[:, 0] / np.maximum(sums[:, 1], 1)
        low, high = np.quantile(rates[1:], [(1 - self.confidence) / 2, (1 + self.confidence) / 2])
        return Interval(float(rates[0]), float(low), float(high))


def _by_item(scores: ArrayLike) -> Integers:
    """Sums over seeds, int64 [items]."""
    array = np.asarray(scores)
    if array.ndim != 2 or array.size == 0:
        raise ValueError(f"scores must be [seeds, items] with at least one of each, not {list(array.shape)}")
    return array.sum(axis=0, dtype=np.int64)


def reliability_curve(confidences: ArrayLike, correct: ArrayLike, bins: int = BINS) -> pd.DataFrame:
    """How often predictions of similar confidence are right: a row for each of `bins` equal intervals with items.

    Columns: low, high (of the interval, high included), confidence (mean), accuracy, items.
    """
    sure, right = np.asarray(confidences, dtype=np.float64), np.asarray(correct, dtype=np.float64)
    if sure.shape != right.shape or sure.ndim != 1:
        raise ValueError(f"confidences are {sure.shape}, but correct is {right.shape}")
    if not ((sure >= 0) & (sure <= 1)).all():
        raise ValueError("a confidence lies outside of [0, 1]")
    number = np.clip(np.ceil(sure * bins).astype(np.int64) - 1, 0, bins - 1)
    items = np.bincount(number, minlength=bins)
    filled = np.flatnonzero(items)
    confidence, accuracy = (np.bincount(number, values, bins)[filled] / items[filled] for values in (sure, right))
    columns = {"low": filled / bins, "high": (filled + 1) / bins, "confidence": confidence, "accuracy": accuracy}
    return pd.DataFrame(columns | {"items": items[filled]})


def expected_calibration_error(confidences: ArrayLike, correct: ArrayLike, bins: int = BINS) -> float:
    """Mean distance of confidence and accuracy over the bins of the reliability curve, weighted by items; a fraction.

    Source: Guo et al. 2017, "On calibration of modern neural networks", equation 3.
    """
    curve = reliability_curve(confidences, correct, bins)
    distances = (curve["confidence"] - curve["accuracy"]).abs()
    return float((distances * curve["items"]).sum() / curve["items"].sum())
