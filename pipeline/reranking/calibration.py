"""Whether confidences can be taken at their word: fitting them to what was right, measuring how far off they are."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

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


def _log_odds(probabilities: Reals) -> Reals:
    odds: Reals = logit(np.clip(probabilities, SURE, 1 - SURE))
    return odds
