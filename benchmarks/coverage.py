"""Do intervals of differences hold what they promise? Coverage and false positives where the truth is known.

`python -m benchmarks.coverage` draws thousands of comparisons of two strategies. Whether a training answers an item
depends on the item, on the strategy and the item, on the seed, and on chance (a probit model with crossed random
effects). The seeds of a strategy vary by a chosen number of points. It prints how often 95% intervals contain the true
difference, and how often strategies that are equally good are told apart, for three methods:

- items: the percentile bootstrap over items, as if there were no other seeds
- two levels: the bootstrap that draws seeds and, crossed with them, items, as it comes
- variances: `pipeline.evaluation.variation`, as in the report
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from benchmarks.timing import count, parser_of
from pipeline.evaluation.variation import Estimate
from pipeline.report.tables import markdown_table

LEVEL = 0.95
ITEM, OWN, CHANCE = 1.5, 0.5, 1.0  # standard deviations: of items, of items by strategy, of one answer
AT_ONCE = 10_000_000  # answers
RESAMPLES = 400
SEEDS, POINTS = (3, 5, 10), ((0, 0), (1, 1), (2, 2), (5, 5), (2, 0))

Scores = NDArray[np.float32]


@dataclass(frozen=True)
class Truth:
    """Two strategies: items and seeds of a comparison, by how many points their seeds vary, and their difference.

    spread: standard deviations of accuracy, fractions. difference: of accuracies around `accuracy`, a fraction.
    """

    items: int
    seeds: int
    spread: tuple[float, float]
    difference: float = 0.0
    accuracy: float = 0.5

    def draw(self, tests: int, rng: np.random.Generator) -> tuple[Scores, Scores]:
        """The answers of so many comparisons, right 1 or wrong 0, of each strategy: float32 [tests, seeds, items]."""
        items = ITEM * rng.standard_normal((tests, 1, self.items), dtype=np.float32)
        fixed = np.sqrt(ITEM**2 + OWN**2 + CHANCE**2)
        slope = stats.norm.pdf(stats.norm.ppf(self.accuracy)) / fixed
        sides = []
        for spread, shift in zip(self.spread, (self.difference / 2, -self.difference / 2), strict=True):
            of_seeds = spread / slope
            mean = stats.norm.ppf(self.accuracy + shift) * np.hypot(fixed, of_seeds)
            own = OWN * rng.standard_normal((tests, 1, self.items), dtype=np.float32)
            seeds = of_seeds * rng.standard_normal((tests, self.seeds, 1), dtype=np.float32)
            chance = CHANCE * rng.standard_normal((tests, self.seeds, self.items), dtype=np.float32)
            sides.append((items + own + seeds + chance + mean > 0).astype(np.float32))
        return sides[0], sides[1]


def covered(truth: Truth, tests: int, rng: np.random.Generator) -> float:
    """The share of intervals by variances that contain the true difference."""
    hits = 0
    for part in _parts(truth, tests):
        better, other = truth.draw(part, rng)
        low, high = Estimate.of(better, -other).interval(LEVEL)
        hits += int(np.count_nonzero((low <= truth.difference) & (truth.difference <= high)))
    return hits / tests


def covered_by_bootstrap(truth: Truth, tests: int, rng: np.random.Generator, levels: int) -> float:
    """The share of bootstrap intervals that contain the true difference. levels: 1 for items, 2 for seeds as well."""
    hits, shape = 0, (RESAMPLES, truth.seeds)
    items = rng.multinomial(truth.items, np.full(truth.items, 1 / truth.items), size=RESAMPLES).astype(np.float32)
    for part in _parts(truth, tests):
        means = []
        for side in truth.draw(part, rng):
            seeds = np.full(shape, 1.0)
            if levels == 2:
                seeds = rng.multinomial(truth.seeds, np.full(truth.seeds, 1 / truth.seeds), size=RESAMPLES)
            means.append(np.einsum("tsr,rs->tr", side @ items.T, seeds) / (truth.items * truth.seeds))
        low, high = np.quantile(means[0] - means[1], [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=1)
        hits += int(np.count_nonzero((low <= truth.difference) & (truth.difference <= high)))
    return hits / tests


def _parts(truth: Truth, tests: int) -> list[int]:
    at_once = max(1, AT_ONCE // (truth.items * truth.seeds))
    return [min(at_once, tests - done) for done in range(0, tests, at_once)]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = parser_of(__doc__)
    parser.add_argument("--tests", type=count, default=10_000, help="comparisons for each number")
    parser.add_argument("--items", type=count, nargs="+", default=[200, 2000])
    options = parser.parse_args(arguments)
    rows = []
    for number, (items, seeds, points) in enumerate((i, s, p) for i in options.items for s in SEEDS for p in POINTS):
        rng = np.random.default_rng(number)
        same = Truth(items, seeds, (points[0] / 100, points[1] / 100))
        better = Truth(items, seeds, same.spread, difference=0.05)
        missed = [1 - covered_by_bootstrap(same, options.tests // 5, rng, levels) for levels in (1, 2)]
        missed.append(1 - covered(same, options.tests, rng))
        shares = [*missed, covered(better, options.tests, rng)]
        vary = f"{points[0]:g}" if points[0] == points[1] else f"{points[0]:g} and {points[1]:g}"
        rows.append([f"{items:,}", str(seeds), vary, *(f"{100 * share:.1f}" for share in shares)])
        print(*rows[-1], flush=True)
    header = ["items", "seeds", "seeds vary by, points", "items: false positives, %"]
    header += ["two levels: false positives, %", "variances: false positives, %", "variances: coverage, %"]
    print(markdown_table(header, rows, left=0))


if __name__ == "__main__":
    main()
