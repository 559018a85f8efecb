"""Do intervals of differences hold what they promise? Coverage and false positives where the truth is known.

`python -m benchmarks.coverage` draws thousands of comparisons of two strategies. Whether a training answers an item
depends on the item, on the strategy and the item, on the seed, and on chance (a probit model with crossed random
effects). The seeds of a strategy vary by a chosen number of points. It prints how often 95% intervals contain the true
difference, and how often strategies that are equally good are told apart, for three methods:

- items: the percentile bootstrap over items, as if there were no other seeds
- two levels: the bootstrap that draws seeds and, crossed with them, items, as it comes
- variances: `pipeline.evaluation.variation`, as in the report

With `--samples` the strategies are trained with three seeds on each of several samples of the pairs, and both vary by a
chosen number of points. `one sample` is the method `variances` with the first sample alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

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
SAMPLES, POINTS_OF_SAMPLES = (3, 5, 10), ((0, 0), (0, 2), (2, 0), (2, 2), (5, 2))  # of samples, and of their seeds

Scores = NDArray[np.float32]


@dataclass(frozen=True)
class Truth:
    """Two strategies: items and seeds of a comparison, by how many points their seeds vary, and their difference.

    spread: standard deviations of accuracy, fractions. difference: of accuracies around `accuracy`, a fraction.
    samples: each with all seeds. sample_spread: like `spread`, of both strategies, by what samples do to one alone.
    """

    items: int
    seeds: int
    spread: tuple[float, float]
    difference: float = 0.0
    accuracy: float = 0.5
    samples: int = 1
    sample_spread: float = 0.0

    def draw(self, tests: int, rng: np.random.Generator) -> tuple[Scores, Scores]:
        """The answers of so many comparisons, right 1 or wrong 0, of each strategy: float32 [tests, seeds, items].

        With several samples [tests, samples, seeds, items].
        """

        def effect(deviation: float, *shape: int) -> Scores:
            return deviation * rng.standard_normal((tests, *shape), dtype=np.float32)

        several = (self.samples,) if self.samples > 1 else ()
        same = (1,) * len(several)  # in all samples
        items = effect(ITEM, *same, 1, self.items)
        fixed = np.sqrt(ITEM**2 + (1 + len(several)) * OWN**2 + CHANCE**2)
        slope = stats.norm.pdf(stats.norm.ppf(self.accuracy)) / fixed
        sides = []
        for spread, shift in zip(self.spread, (self.difference / 2, -self.difference / 2), strict=True):
            of_seeds, of_samples = spread / slope, self.sample_spread / slope
            mean = stats.norm.ppf(self.accuracy + shift) * np.sqrt(fixed**2 + of_seeds**2 + of_samples**2)
            own = effect(OWN, *same, 1, self.items)
            seeds = effect(of_seeds, *several, self.seeds, 1)
            if several:
                own = own + effect(OWN, *several, 1, self.items) + effect(of_samples, *several, 1, 1)
            chance = effect(CHANCE, *several, self.seeds, self.items)
            sides.append((items + own + seeds + chance + mean > 0).astype(np.float32))
        return sides[0], sides[1]


def covered(truth: Truth, tests: int, rng: np.random.Generator, only_first: bool = False) -> float:
    """The share of intervals by variances that contain the true difference. only_first: of several samples."""
    hits = 0
    for part in _parts(truth, tests):
        better, other = truth.draw(part, rng)
        if only_first:
            found = Estimate.of(better[:, 0], -other[:, 0])
        else:
            found = Estimate.of(better, -other) if truth.samples == 1 else Estimate.of_samples(better - other)
        low, high = found.interval(LEVEL)
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
    at_once = max(1, AT_ONCE // (truth.items * truth.seeds * truth.samples))
    return [min(at_once, tests - done) for done in range(0, tests, at_once)]


def seeds_table(tests: int, items: Sequence[int]) -> str:
    """False positives and coverage by items, seeds and what seeds vary by."""
    rows = []
    for number, (size, seeds, points) in enumerate(product(items, SEEDS, POINTS)):
        rng = np.random.default_rng(number)
        same = Truth(size, seeds, (points[0] / 100, points[1] / 100))
        better = Truth(size, seeds, same.spread, difference=0.05)
        missed = [1 - covered_by_bootstrap(same, tests // 5, rng, levels) for levels in (1, 2)]
        missed.append(1 - covered(same, tests, rng))
        vary = f"{points[0]:g}" if points[0] == points[1] else f"{points[0]:g} and {points[1]:g}"
        rows.append(_row([size, seeds, vary], [*missed, covered(better, tests, rng)]))
    header = ["items", "seeds", "seeds vary by, points", "items: false positives, %"]
    header += ["two levels: false positives, %", "variances: false positives, %", "variances: coverage, %"]
    return markdown_table(header, rows, left=0)


def samples_table(tests: int, items: Sequence[int]) -> str:
    """False positives and coverage by items, samples, and what samples and the three seeds vary by."""
    rows = []
    for number, (size, samples, points) in enumerate(product(items, SAMPLES, POINTS_OF_SAMPLES)):
        rng, spread = np.random.default_rng(number), (points[1] / 100, points[1] / 100)
        same = Truth(size, SEEDS[0], spread, samples=samples, sample_spread=points[0] / 100)
        missed = [1 - covered(same, tests // 5, rng, only_first=True), 1 - covered(same, tests, rng)]
        shares = [*missed, covered(replace(same, difference=0.05), tests, rng)]
        rows.append(_row([size, samples, *points], shares))
    header = ["items", "samples", "samples vary by, points", "seeds vary by, points", "one sample: false positives, %"]
    return markdown_table([*header, "all samples: false positives, %", "all samples: coverage, %"], rows, left=0)


def _row(given: Sequence[int | str], shares: Sequence[float]) -> list[str]:
    """A row as text, which is printed as well."""
    row = [f"{each:,}" if isinstance(each, int) else each for each in given]
    row += [f"{100 * share:.1f}" for share in shares]
    print(*row, flush=True)
    return row


def main(arguments: Sequence[str] | None = None) -> None:
    """Print one of the tables."""
    parser = parser_of(__doc__)
    parser.add_argument("--tests", type=count, default=10_000, help="comparisons for each number")
    parser.add_argument("--items", type=count, nargs="+", default=[200, 2000])
    parser.add_argument("--samples", action="store_true", help="the table of several samples")
    options = parser.parse_args(arguments)
    print((samples_table if options.samples else seeds_table)(options.tests, options.items))


if __name__ == "__main__":
    main()
