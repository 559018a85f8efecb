"""How a difference of accuracies varies with items and with seeds, and what follows: interval, p-value, power.

Seeds and items are crossed: every training of a strategy answers every item. So a difference varies with the items that
were drawn, with the seeds that were drawn on each side, and with what one training does on one item beyond both. The
variances of all three are estimated from one table of scores for each side, and give the difference's standard error
for any number of items and seeds. Where strategies were trained on several samples of the pairs, samples are a third
level (`Estimate.of_samples`). Which differences are shown together is left to `verdict`.

Sources: Bouthillier et al. 2021, "Accounting for variance in machine learning benchmarks"; Searle, Casella and
McCulloch 1992, "Variance components", chapter 4; Welch 1947, "The generalization of 'Student's' problem".
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtr, stdtrit

POWER, DRAWS = 0.8, 10_000
# The variance is at least that of a test in which so many answers of a training differ: four items that all agree by
# chance are no proof, and a sign test needs six.
DIFFERING = 4
# Both sides have the same few samples. Where these cause nearly all of the variance, three would give up to 6% false
# positives if their share of it were not overstated (`benchmarks.coverage`).
CAUTION = 1.15

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Variation:
    """Variances of a difference, fractions squared: float64 [...], and [sides, ...] where each side has its own.

    item: of an item's difference, the same for all seeds. training: of the accuracy of a training, by its seed; as an
    estimate it may be below zero. residual: of an answer, beyond item and training. With a single seed on a side the
    last two are zero, because nothing is known of them. caution: at least 1, by which the share of the variance that
    seeds cause is overstated.
    """

    item: Any
    training: Any
    residual: Any
    caution: float = 1.0

    def standard_error(self, items: int, seeds: ArrayLike, new: int = 0) -> tuple[Array, Array]:
        """The standard error of the difference with so many items and seeds, and its degrees of freedom.

        seeds: of each side. new: 1 for the difference of one further training on each side.
        """
        counts = np.reshape(seeds, (-1, *[1] * np.ndim(self.item)))
        by_side = (self.training + self.residual / items) / counts + new * np.maximum(self.training, 0)
        return self._standard_error(by_side, items, counts)

    def _standard_error(self, by_side: Array, items: int, counts: NDArray[np.int64]) -> tuple[Array, Array]:
        """by_side: variance of the difference by the seeds of each side, [sides, ...].

        The degrees of freedom are those of the seeds (Welch's) divided by the share of the variance that seeds cause.
        Satterthwaite's own formula divides by the square of that share, which with three seeds is too daring
        (`benchmarks.coverage`).
        """
        of_seeds, tiny = by_side.sum(axis=0), np.finfo(float).tiny
        variance = np.maximum(self.item / items + of_seeds, DIFFERING / counts.min() / items / items)
        by_degrees = (by_side**2 / np.maximum(counts - 1, 1)).sum(axis=0) / np.maximum(of_seeds, tiny)
        return np.sqrt(variance), 1 / (1 / (items - 1) + by_degrees / np.maximum(variance / self.caution, of_seeds))

    def detectable(self, items: int, seeds: ArrayLike, level: float, power: float = POWER) -> float:
        """The difference, a fraction, that is told from zero at this level with this probability.

        seeds: of each side, or one number for every side. The variances are taken for the true ones, and what so many
        trainings would show of them is drawn `DRAWS` times: a difference is found if it is larger than the noise of its
        mean and the critical value.
        """
        rng, counts = np.random.default_rng(0), np.broadcast_to(seeds, len(self.training))[:, None]
        true, free = (np.maximum(self.training, 0) + self.residual / items)[:, None] / counts, np.maximum(counts - 1, 1)
        shown = true * rng.chisquare(free, (len(true), DRAWS)) / free
        error, degrees = self._standard_error(shown, items, counts)
        noise = rng.standard_normal(DRAWS) * self._standard_error(true, items, counts)[0]
        return float(np.quantile(stdtrit(degrees, (1 + level) / 2) * error - noise, power))


@dataclass(frozen=True, eq=False)
class Estimate:
    """A difference of mean accuracies, a fraction, or an array of them [...], with what it is uncertain by.

    items: at least 1. seeds: of each side, in their place the number of samples by `of_samples`; 1 if nothing is known
    of seeds, so that all is said of these trainings.
    """

    difference: Any
    variation: Variation
    items: int
    seeds: tuple[int, ...]

    @classmethod
    def of(cls, *sides: ArrayLike) -> "Estimate":
        """Estimate the sum of the mean scores of all sides: those of a strategy, and with a minus those of its rival.

        sides: numbers [..., seeds, items] in [-1, 1]; seeds of different sides are independent. What the same seeds
        gave in two ways is one side, the difference of the two.
        """
        tables = [np.asarray(side, dtype=np.float64) for side in sides]
        items, seeds = tables[0].shape[-1], tuple(table.shape[-2] for table in tables)
        if any(table.shape[-1] != items or table.ndim < 2 or table.size == 0 for table in tables):
            raise ValueError("sides must be [seeds, items], with the same items and at least one of each")
        by_item = sum((table.mean(axis=-2) for table in tables), np.zeros(1))
        difference, item = by_item.mean(axis=-1), by_item.var(axis=-1, ddof=1 if items > 1 else 0)
        none = np.zeros((len(tables), *np.shape(item)))
        if min(seeds) == 1 or items == 1:
            return cls(difference, Variation(item, none, none), items, tuple(1 for _ in seeds))
        residual = np.stack([_residual(table) for table in tables])
        of_seeds = np.stack([table.mean(axis=-1).var(axis=-1, ddof=1) for table in tables])
        counts = np.reshape(seeds, (-1, *[1] * np.ndim(item)))
        item = np.maximum(item - (residual / counts).sum(axis=0), 0)
        return cls(difference, Variation(item, of_seeds - residual / items, residual), items, seeds)

    @classmethod
    def of_samples(cls, scores: ArrayLike) -> "Estimate":
        """Estimate a mean score, for new samples of the pairs to train on, new seeds and new items.

        scores: numbers [..., samples, seeds, items] in [-1, 1], at least two samples: those of a strategy, or less
        those of its rival. No seed draws the same on two samples, so each sample counts as one training, whose scores
        are the mean of its seeds.
        """
        estimate = cls.of(np.asarray(scores, dtype=np.float64).mean(axis=-2))
        return replace(estimate, variation=replace(estimate.variation, caution=CAUTION))

    def __neg__(self) -> "Estimate":
        return Estimate(-self.difference, self.variation, self.items, self.seeds)

    @property
    def knows_seeds(self) -> bool:
        """Whether it speaks of new seeds, too."""
        return min(self.seeds) > 1

    @property
    def p_value(self) -> Any:
        """Two-sided, of the hypothesis that the difference is zero for all items and seeds."""
        if self.items == 1:
            return np.ones_like(self.difference)
        error, degrees = self.variation.standard_error(self.items, self.seeds)
        return 2 * stdtr(degrees, -np.abs(self.difference) / error)

    def interval(self, level: float) -> tuple[Any, Any]:
        """Its ends, within [-1, 1]; zero lies outside exactly if the p-value is below 1 - level."""
        if self.items == 1:
            return -np.ones_like(self.difference), np.ones_like(self.difference)
        error, degrees = self.variation.standard_error(self.items, self.seeds)
        width = stdtrit(degrees, (1 + level) / 2) * error
        return np.maximum(self.difference - width, -1), np.minimum(self.difference + width, 1)

    @property
    def probability(self) -> Any:
        """That a further training of the first side is more accurate than one of the other; needs `knows_seeds`."""
        error, degrees = self.variation.standard_error(self.items, self.seeds, new=1)
        return stdtr(degrees, self.difference / error)


def _residual(table: Array) -> Array:
    """The variance of scores [..., seeds, items] beyond the means of their item and of their seed."""
    seeds, items = table.shape[-2:]
    of_items, of_seeds = table.var(axis=-2).sum(axis=-1) * seeds, table.mean(axis=-1).var(axis=-1) * seeds * items
    variance: Array = np.maximum(of_items - of_seeds, 0) / ((seeds - 1) * (items - 1))
    return variance
