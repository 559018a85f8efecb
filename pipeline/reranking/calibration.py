"""Whether confidences can be taken at their word: fitting them to what was right, measuring how far off they are."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

BINS = 10
SURE = 1e-6  # a probability closer to 0 or 1 is taken for that close

Reals = NDArray[np.float64]


@dataclass(frozen=True)
class Calibration:
    """Maps a probability to the share that is right: a line between the log odds of both.

    Source: Platt 1999, "Probabilistic outputs for support vector machines". Slope 1 and intercept 0 change nothing.
    """

    slope: float = 1.0
    intercept: float = 0.0

    @classmethod
    def fit(cls, probabilities: Reals, right: NDArray[np.bool_]) -> "Calibration":
        """Fit float64 [n] to bool [n]; changes nothing if all or none are right."""
        if right.all() or not right.any():
            return cls()
        fitted = LogisticRegression(C=1.0).fit(_log_odds(probabilities)[:, None], right)
        return cls(max(float(fitted.coef_[0, 0]), 0.0), float(fitted.intercept_[0]))

    def __call__(self, probabilities: Reals) -> Reals:
        """Probabilities to calibrated ones, float64 [n]; their order stays."""
        calibrated: Reals = expit(self.slope * _log_odds(probabilities) + self.intercept)
        return calibrated


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
    return pd.DataFrame(
        {
            "low": filled / bins,
            "high": (filled + 1) / bins,
            "confidence": np.bincount(number, sure, bins)[filled] / items[filled],
            "accuracy": np.bincount(number, right, bins)[filled] / items[filled],
            "items": items[filled],
        }
    )


def expected_calibration_error(confidences: ArrayLike, correct: ArrayLike, bins: int = BINS) -> float:
    """Mean distance of confidence and accuracy over the bins of the reliability curve, weighted by items; a fraction.

    Source: Guo et al. 2017, "On calibration of modern neural networks", equation 3.
    """
    curve = reliability_curve(confidences, correct, bins)
    distances = (curve["confidence"] - curve["accuracy"]).abs()
    return float((distances * curve["items"]).sum() / curve["items"].sum())


def _log_odds(probabilities: Reals) -> Reals:
    odds: Reals = logit(np.clip(probabilities, SURE, 1 - SURE))
    return odds
