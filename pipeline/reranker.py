"""Choice among the candidates of a source: how much each feature counts, learned from dev.

A conditional logit (McFadden 1974, "Conditional logit analysis of qualitative choice behavior"): a candidate is right
with a probability proportional to exp(weights . features). The weights are drawn towards the network's own order,
log probability 1 and all else 0, and come to stand on it where dev is too small or does not gain by anything else. What
the features are belongs to `evidence`.
"""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from sklearn.model_selection import GroupKFold

from pipeline.calibration import Calibration
from pipeline.errors import UserError
from pipeline.evidence import FEATURES, Features, NBest

FOLDS = 5
FEWEST_SOURCES = 20  # different ones with a right candidate; with fewer the network's own order stays
STRENGTHS = (1.0, 3.0, 10.0, 30.0, 100.0)  # of the pull towards the network's own order; tried by cross-validation
UNCALIBRATED = Calibration()
OWN_ORDER = np.array([float(name == "log_probability") for name in FEATURES])

Integers = NDArray[np.int64]
Reals = NDArray[np.float64]
Booleans = NDArray[np.bool_]


@dataclass(frozen=True)
class Choice:
    """A candidate in its new place. confidence: the probability, in [0, 1], that it is right."""

    text: str
    log_probability: float
    confidence: float


@dataclass(frozen=True)
class Reranker:
    """weights: one for each of `FEATURES`. strength: of the pull they were fitted with, None for the own order.

    own_accuracy, accuracy: of the first candidate, in the network's order and in cross-validation, as fractions of the
    dev items; None without dev.
    """

    weights: tuple[float, ...] = tuple(OWN_ORDER.tolist())
    strength: float | None = None
    calibration: Calibration = UNCALIBRATED
    own_accuracy: float | None = None
    accuracy: float | None = None

    @classmethod
    def fit(
        cls, features: Features, n_best: NBest, sources: Sequence[str], accepted: Sequence[Collection[str]], seed: int
    ) -> "Reranker":
        """Learn from the lists of the dev items, row-aligned all four; `accepted` is what counts as right for each.

        Strength and calibration are chosen on held-out sources: no source is on both sides of a fold.
        """
        if not len(sources):
            return cls()
        items = _Items.of(features, n_best, accepted)
        groups = np.unique(np.array(sources, dtype=object), return_inverse=True)[1]
        own = items.scores(OWN_ORDER)
        own_accuracy = items.accuracy(own)
        best_strength, best_accuracy, best_scores = None, own_accuracy, own
        if len(set(groups[items.answerable])) >= FEWEST_SOURCES:
            folds = list(GroupKFold(FOLDS, shuffle=True, random_state=seed).split(groups, groups=groups))
            for strength in reversed(STRENGTHS):
                scores = np.zeros(len(items.right))
                for train, held_out in folds:
                    weights = _fit_weights(items.some(train), strength)
                    scores[items.rows(held_out)] = items.some(held_out).scores(weights)
                accuracy = items.accuracy(scores)
                if accuracy > best_accuracy:
                    best_strength, best_accuracy, best_scores = strength, accuracy, scores
        weights = OWN_ORDER if best_strength is None else _fit_weights(items, best_strength)
        first = items.first(best_scores)
        shares = _shares(best_scores, items.offsets)[first]
        calibration = Calibration.fit(shares, items.right[first])
        return cls(tuple(weights.tolist()), best_strength, calibration, own_accuracy, best_accuracy)

    def rerank(self, features: Features, n_best: NBest) -> list[list[Choice]]:
        """The lists in their new order, each candidate with its confidence; what is equal stays in its order."""
        scores = features.values @ np.array(self.weights)
        confidences = self.calibration(_shares(scores, features.offsets))
        ranked = []
        for row, start, end in zip(n_best, features.offsets[:-1], features.offsets[1:], strict=True):
            order = np.argsort(-scores[start:end], kind="stable")
            ranked.append([Choice(row[i].text, row[i].log_probability, float(confidences[start + i])) for i in order])
        return ranked

    def save(self, path: Path) -> None:
        """Write the reranker as JSON."""
        content = {
            "weights": dict(zip(FEATURES, self.weights, strict=True)),
            "strength": self.strength,
            "calibration": {"slope": self.calibration.slope, "intercept": self.calibration.intercept},
            "own_accuracy": self.own_accuracy,
            "accuracy": self.accuracy,
        }
        path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> "Reranker":
        """Read what `save` wrote; raises `UserError` for anything else."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if tuple(content["weights"]) != FEATURES:
                raise ValueError("its features are not those of this version")
            return cls(
                tuple(float(weight) for weight in content["weights"].values()),
                content["strength"],
                Calibration(**content["calibration"]),
                content["own_accuracy"],
                content["accuracy"],
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{path} is not a reranker ({error}): run the stage that wrote it again") from error


@dataclass(frozen=True, eq=False)
class _Items:
    """Candidates of all items, one behind the other, and which of them are right."""

    values: Reals
    offsets: Integers
    right: Booleans

    @classmethod
    def of(cls, features: Features, n_best: NBest, accepted: Sequence[Collection[str]]) -> "_Items":
        right = [candidate.text in some for row, some in zip(n_best, accepted, strict=True) for candidate in row]
        return cls(features.values, features.offsets, np.array(right, dtype=bool))

    @property
    def answerable(self) -> Booleans:
        """Whether an item has a right candidate."""
        return np.logical_or.reduceat(self.right, self.offsets[:-1])

    def rows(self, items: Integers) -> Integers:
        """The candidates of some items."""
        starts, sizes = self.offsets[items], self.offsets[items + 1] - self.offsets[items]
        ends = np.cumsum(sizes)
        return np.arange(sizes.sum()) + np.repeat(starts - (ends - sizes), sizes)

    def some(self, items: Integers) -> "_Items":
        rows = self.rows(items)
        sizes = self.offsets[items + 1] - self.offsets[items]
        return _Items(self.values[rows], np.concatenate([[0], np.cumsum(sizes)]), self.right[rows])

    def scores(self, weights: Reals) -> Reals:
        scores: Reals = self.values @ weights
        return scores

    def first(self, scores: Reals) -> Integers:
        """The best candidate of each item."""
        best = np.repeat(np.maximum.reduceat(scores, self.offsets[:-1]), np.diff(self.offsets))
        places = np.where(scores == best, np.arange(len(scores)), len(scores))
        return np.minimum.reduceat(places, self.offsets[:-1])

    def accuracy(self, scores: Reals) -> float:
        return float(self.right[self.first(scores)].mean())


def _fit_weights(items: _Items, strength: float) -> Reals:
    """Maximize the probability of right candidates, less strength / 2 times the squared distance from the own order.

    The distance is measured in standard deviations of the features within lists, so that their units do not matter.
    """
    items = items.some(np.flatnonzero(items.answerable))
    starts, sizes = items.offsets[:-1], np.diff(items.offsets)
    means = np.add.reduceat(items.values, starts) / sizes[:, None]
    centred = items.values - np.repeat(means, sizes, axis=0)
    scale = centred.std(axis=0)
    varies = scale > 1e-9
    scaled = centred[:, varies] / scale[varies]
    own = (OWN_ORDER * scale)[varies]

    # Not matrix products: on a busy machine those this small wait for threads far longer than they compute.
    def loss(weights: Reals) -> tuple[float, Reals]:
        scores = np.einsum("cf,f->c", scaled, weights)
        scores -= np.repeat(np.maximum.reduceat(scores, starts), sizes)
        odds = np.exp(np.maximum(scores, -500.0))
        right_odds = odds * items.right
        total, right_total = np.add.reduceat(odds, starts), np.add.reduceat(right_odds, starts)
        surplus = odds / np.repeat(total, sizes) - right_odds / np.repeat(right_total, sizes)
        away = weights - own
        value = np.log(total / right_total).sum() + strength / 2 * away @ away
        return float(value), np.einsum("c,cf->f", surplus, scaled) + strength * away

    weights = OWN_ORDER.copy()
    found = minimize(loss, own, jac=True, method="L-BFGS-B", options={"maxiter": 1000})
    weights[varies] = found.x / scale[varies]
    return weights


def _shares(scores: Reals, offsets: Integers) -> Reals:
    """Probability of each candidate to be the right one of its list, by the scores: float64 [candidates]."""
    sizes = np.diff(offsets)
    odds = np.exp(scores - np.repeat(np.maximum.reduceat(scores, offsets[:-1]), sizes))
    return odds / np.repeat(np.add.reduceat(odds, offsets[:-1]), sizes)
