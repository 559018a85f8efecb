"""Choice among the candidates of a source: how much each feature counts, learned from dev.

A conditional logit (McFadden 1974, "Conditional logit analysis of qualitative choice behavior"): a candidate is right
with a probability proportional to exp(weights . features). The weights are drawn towards ranking by the network's
score: log probability 1 and all else 0. Boosted trees then correct its scores where features count together. By
cross-validation on dev each of the two has to beat what is simpler, the trees clearly, or is left out: if dev is too
small or nothing is to be gained, candidates stay in the order of the network's scores.

Fitting takes scikit-learn and scipy.optimize, ranking does not: they are imported where they are used.
"""

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.data.store import Integers, Reals
from pipeline.errors import UserError
from pipeline.reranking.features import FEATURES, FeatureMatrix, NBest
from pipeline.reranking.trees import Trees

FOLDS = 5
FEWEST_SOURCES = 20  # different ones with a right candidate; with fewer nothing is fitted
FEWEST_FOR_TREES = 1000
STRENGTHS = (1.0, 3.0, 10.0, 30.0, 100.0)  # of the pull towards the network's scores; tried by cross-validation
COLUMNS = 2 * len(FEATURES) + 4  # of the trees
MODEL_SCORE = np.array([float(name == "log_probability") for name in FEATURES])
SURE = 1e-6  # a probability closer to 0 or 1 is taken for that close

Booleans = NDArray[np.bool_]
Folds = Sequence[tuple[Integers, Integers]]
Accepted = Sequence[Collection[str]]


@dataclass(frozen=True)
class RankedPrediction:
    """A candidate in its place. confidence: the probability, in [0, 1], that it is right."""

    text: str
    log_probability: float
    confidence: float


@dataclass(frozen=True)
class Calibration:
    """Maps a probability to the share that is right: a line between the log odds of both.

    Source: Platt 1999, "Probabilistic outputs for support vector machines". Slope 1 and intercept 0 change nothing.
    """

    slope: float = 1.0
    intercept: float = 0.0

    @classmethod
    def fit(cls, probabilities: Reals, right: Booleans) -> "Calibration":
        """Fit float64 [n] to bool [n]; changes nothing if all or none are right."""
        from sklearn.linear_model import LogisticRegression

        if right.all() or not right.any():
            return cls()
        fitted = LogisticRegression(C=1.0).fit(_log_odds(probabilities)[:, None], right)
        return cls(max(float(fitted.coef_[0, 0]), 0.0), float(fitted.intercept_[0]))

    def __call__(self, probabilities: Reals) -> Reals:
        """Probabilities to calibrated ones, float64 [n]; their order stays."""
        log_odds = self.slope * _log_odds(probabilities) + self.intercept
        return np.exp(-np.logaddexp(0.0, -log_odds))


def _log_odds(probabilities: Reals) -> Reals:
    clipped = np.clip(probabilities, SURE, 1 - SURE)
    return np.log(clipped) - np.log1p(-clipped)


@dataclass(frozen=True)
class Reranker:
    """Ranks the candidates of each source by their features.

    weights: one for each of `FEATURES`. strength: of the pull they were fitted with, None where candidates stay in the
    order of the network's scores. trees: what corrects the scores, if anything. model_accuracy, accuracy: of the first
    candidate, in the network's order and in cross-validation, as fractions of the dev items; None without dev. right: a
    1 or 0 for each dev item, whether its first candidate is right, in cross-validation. items: their `digest_of_items`.
    """

    weights: tuple[float, ...] = tuple(MODEL_SCORE.tolist())
    strength: float | None = None
    trees: Trees | None = None
    calibration: Calibration = Calibration()
    model_accuracy: float | None = None
    accuracy: float | None = None
    items: str = ""
    right: str = ""

    @classmethod
    def fit(
        cls, features: FeatureMatrix, n_best: NBest, sources: Sequence[str], accepted: Accepted, seed: int
    ) -> "Reranker":
        """Learn from the lists of the dev items, row-aligned all four; `accepted` are the right targets of each.

        A source that comes again must come with the same list. Strength, trees and calibration are chosen by
        cross-validation over items: in running text words come again, in later text as within dev.
        """
        if not len(sources):
            return cls()
        from sklearn.model_selection import KFold

        items = _Items.of(features, n_best, sources, accepted)
        weights, strength, trees = MODEL_SCORE, None, None
        scores = items.values @ weights
        model_accuracy = accuracy = items.accuracy(scores)
        different = len(set(items.groups[items.answerable]))
        if different >= FEWEST_SOURCES:
            folds = list(KFold(FOLDS, shuffle=True, random_state=seed).split(items.groups))
            for tried in reversed(STRENGTHS):
                held_out = _cross_validated_logit(items, folds, tried)
                if (reached := items.accuracy(held_out)) > accuracy:
                    accuracy, scores, strength = reached, held_out, tried
            if strength is not None:
                weights = _fit_weights(items, strength)
            if different >= FEWEST_FOR_TREES and not items.right.all():
                held_out = _cross_validated_trees(items, folds, scores, seed)
                if items.clearly_better(held_out, scores):
                    trees = _fit_trees(items, scores, seed)
                    accuracy, scores = items.accuracy(held_out), held_out
        first = items.first(scores)
        calibration = Calibration.fit(_shares(scores, items.offsets)[first], items.right[first])
        fitted = cls(tuple(weights.tolist()), strength, trees, calibration, model_accuracy, accuracy)
        return fitted.measured(items.right[first], sources, accepted)

    def measured(self, right: Iterable[bool], sources: Sequence[str], accepted: Accepted) -> "Reranker":
        """The same reranker, which says which dev items it gets right, row-aligned all three."""
        return replace(self, items=digest_of_items(sources, accepted), right="".join("01"[bool(one)] for one in right))

    def rerank(self, features: FeatureMatrix, n_best: NBest) -> list[list[RankedPrediction]]:
        """The lists in their new order, each candidate with its confidence; equal candidates keep their order."""
        scores = features.values @ np.array(self.weights)
        if self.trees is not None:
            scores = self.trees(_columns(features.values, features.offsets, scores))
        confidences = self.calibration(_shares(scores, features.offsets))
        ranked = []
        for row, start, end in zip(n_best, features.offsets[:-1], features.offsets[1:], strict=True):
            places = np.argsort(-scores[start:end], kind="stable").tolist()
            sure = confidences[start:end].tolist()
            ranked.append([RankedPrediction(row[i].text, row[i].log_probability, sure[i]) for i in places])
        return ranked

    def save(self, path: Path) -> None:
        """Write the reranker as JSON."""
        content = vars(self) | {
            "weights": dict(zip(FEATURES, self.weights, strict=True)),
            "trees": self.trees and vars(self.trees),
            "calibration": vars(self.calibration),
        }
        lines = (f"{json.dumps(key)}: {json.dumps(value, default=np.ndarray.tolist)}" for key, value in content.items())
        path.write_text("{" + ",\n ".join(lines) + "}\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> "Reranker":
        """Read what `save` wrote; raises `UserError` for anything else."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if tuple(content["weights"]) != FEATURES:
                raise ValueError("its features are not those of this version")
            if not np.isfinite([*content["weights"].values(), *content["calibration"].values()]).all():
                raise ValueError("it has weights that are not finite numbers")
            numbers = {name: content[name] for name in ("strength", "model_accuracy", "accuracy")}
            items, right = content.get("items", ""), content.get("right", "")  # files of before have neither
            if not isinstance(items, str) or not isinstance(right, str) or set(right) - {"0", "1"}:
                raise ValueError("it does not say which dev items are right")
            return cls(
                weights=tuple(float(weight) for weight in content["weights"].values()),
                trees=None if content["trees"] is None else Trees.of_content(content["trees"], COLUMNS),
                calibration=Calibration(**content["calibration"]),
                items=items,
                right=right,
                **{name: None if number is None else float(number) for name, number in numbers.items()},
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise UserError(f"{path} is not a reranker ({error}): run the stage that wrote it again") from error


def digest_of_items(sources: Sequence[str], accepted: Accepted) -> str:
    """Equal for the same sources with the same right targets in the same order: SHA-256 in hex."""
    rows = [[source, *sorted(targets)] for source, targets in zip(sources, accepted, strict=True)]
    return sha256(json.dumps(rows).encode()).hexdigest()


@dataclass(frozen=True, eq=False)
class _Items(FeatureMatrix):
    """Features of the candidates of all items, and which are right; items of a group share the source."""

    right: Booleans
    groups: Integers

    @classmethod
    def of(cls, features: FeatureMatrix, n_best: NBest, sources: Sequence[str], accepted: Accepted) -> "_Items":
        right = [candidate.text in some for row, some in zip(n_best, accepted, strict=True) for candidate in row]
        groups = np.unique(np.array(sources, dtype=object), return_inverse=True)[1]
        return cls(features.values, features.offsets, np.array(right, dtype=bool), groups)

    @property
    def answerable(self) -> Booleans:
        """Whether an item has a right candidate."""
        return np.logical_or.reduceat(self.right, self.offsets[:-1])

    def some(self, items: Integers) -> "_Items":
        """These items alone."""
        features = self.take(items)
        return _Items(features.values, features.offsets, self.right[self.rows(items)], self.groups[items])

    def first(self, scores: Reals) -> Integers:
        """The best candidate of each item."""
        best = np.repeat(np.maximum.reduceat(scores, self.offsets[:-1]), np.diff(self.offsets))
        places = np.where(scores == best, np.arange(len(scores)), len(scores))
        return np.minimum.reduceat(places, self.offsets[:-1])

    def accuracy(self, scores: Reals) -> float:
        return float(self.right[self.first(scores)].mean())

    def clearly_better(self, scores: Reals, than: Reals) -> bool:
        """Whether more items are won than lost by more than a standard error of that difference."""
        ours, theirs = self.right[self.first(scores)], self.right[self.first(than)]
        won, lost = np.count_nonzero(ours & ~theirs), np.count_nonzero(theirs & ~ours)
        return bool(won - lost > np.sqrt(won + lost))


def _fit_weights(items: _Items, strength: float) -> Reals:
    """Maximize the probability of right candidates, less strength / 2 times the squared distance from `MODEL_SCORE`.

    The distance is measured in standard deviations of the features within lists, so that their units do not matter.
    """
    from scipy.optimize import minimize

    items = items.some(np.flatnonzero(items.answerable))
    starts, sizes = items.offsets[:-1], np.diff(items.offsets)
    means = np.add.reduceat(items.values, starts) / sizes[:, None]
    centred = items.values - np.repeat(means, sizes, axis=0)
    scale = centred.std(axis=0)
    varies = scale > 1e-9
    scaled = centred[:, varies] / scale[varies]
    centre = (MODEL_SCORE * scale)[varies]

    # Not matrix products: on a busy machine those this small wait for threads far longer than they compute.
    def loss(weights: Reals) -> tuple[float, Reals]:
        scores = np.einsum("cf,f->c", scaled, weights)
        scores -= np.repeat(np.maximum.reduceat(scores, starts), sizes)
        odds = np.exp(np.maximum(scores, -500.0))
        right_odds = odds * items.right
        total, right_total = np.add.reduceat(odds, starts), np.add.reduceat(right_odds, starts)
        surplus = odds / np.repeat(total, sizes) - right_odds / np.repeat(right_total, sizes)
        away = weights - centre
        value = np.log(total / right_total).sum() + strength / 2 * away @ away
        return float(value), np.einsum("c,cf->f", surplus, scaled) + strength * away

    weights = MODEL_SCORE.copy()
    fitted = minimize(loss, centre, jac=True, method="L-BFGS-B", options={"maxiter": 1000})
    weights[varies] = fitted.x / scale[varies]
    return weights


def _cross_validated_logit(items: _Items, folds: Folds, strength: float) -> Reals:
    """Scores of every item's candidates by weights that were fitted without the item's fold."""
    scores = np.zeros(len(items.right))
    for train, held_out in folds:
        scores[items.rows(held_out)] = items.some(held_out).values @ _fit_weights(items.some(train), strength)
    return scores


def _cross_validated_trees(items: _Items, folds: Folds, scores: Reals, seed: int) -> Reals:
    """The same by trees; `scores` are those of the logit, cross-validated."""
    corrected = np.zeros(len(items.right))
    for train, held_out in folds:
        trees = _fit_trees(items.some(train), scores[items.rows(train)], seed)
        some, rows = items.some(held_out), items.rows(held_out)
        corrected[rows] = trees(_columns(some.values, some.offsets, scores[rows]))
    return corrected


def _fit_trees(items: _Items, scores: Reals, seed: int) -> Trees:
    """Learn which candidates are right. A source that comes n times counts the square root of n."""
    _, firsts, group, times = np.unique(items.groups, return_index=True, return_inverse=True, return_counts=True)
    once = items.some(firsts)
    places = np.arange(len(items.right)) - np.repeat(items.offsets[:-1], np.diff(items.offsets))
    rows = np.repeat(once.offsets[group], np.diff(items.offsets)) + places
    times = np.repeat(times, np.diff(once.offsets))
    right = np.bincount(rows, items.right, len(once.right))
    columns = _columns(once.values, once.offsets, scores[items.rows(firsts)])
    return Trees.fit(columns, right / np.sqrt(times), (times - right) / np.sqrt(times), seed)


def _columns(values: Reals, offsets: Integers, scores: Reals) -> Reals:
    """What the trees see of each candidate, float64 [candidates, COLUMNS].

    Its features, how far each is below the best of its list, its score likewise, its share and its place by the scores,
    and the length of the list.
    """
    starts, sizes = offsets[:-1], np.diff(offsets)
    best = np.repeat(np.maximum.reduceat(values, starts), sizes, axis=0)
    behind = scores - np.repeat(np.maximum.reduceat(scores, starts), sizes)
    order = np.lexsort((-scores, np.repeat(np.arange(len(sizes)), sizes)))
    place = np.empty(len(scores))
    place[order] = np.arange(len(scores)) - np.repeat(starts, sizes)
    shares = _shares(scores, offsets)
    return np.column_stack([values, values - best, behind, shares, place, np.repeat(sizes, sizes)])


def _shares(scores: Reals, offsets: Integers) -> Reals:
    """Probability of each candidate to be the right one of its list, by the scores: float64 [candidates]."""
    sizes = np.diff(offsets)
    odds = np.exp(scores - np.repeat(np.maximum.reduceat(scores, offsets[:-1]), sizes))
    return odds / np.repeat(np.add.reduceat(odds, offsets[:-1]), sizes)
