"""Test accuracies of a benchmark and their resamples: the base of every interval in its tables.

The words of a running text are not independent of those around them: a passage about bees has bees in it again and
again, always right or always wrong. So passages of consecutive tokens are resampled there. (On two corpora that made
standard errors 1.2 to 2 times those of single tokens; different words as units, each with all its tokens, made them
five times as large, because a text without its function words is a possible resample then.) Of lists of words single
ones are resampled.

One resample is the same for all strategies, sizes and folds of a corpus, so every difference is paired; corpora are
resampled independently. The intervals hold for these training sets on new text of the same kind.

Source: Efron & Tibshirani (1993), An Introduction to the Bootstrap, chapters 8 (blocks) and 13 (percentiles). Weights
from a multinomial distribution are the same as drawing passages, and serve all strategies in one matrix product.
"""

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.results import Cell, Results
from pipeline.errors import UserError
from pipeline.evaluation.metrics import CONFIDENCE, RESAMPLES, Interval

# float64 [1 + resamples]: the value itself, and below it its resamples. What is computed from samples elementwise is
# samples again.
Samples = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Accuracies:
    """Test accuracy by (corpus, size, strategy) and fold."""

    samples: dict[tuple[str, int, str], dict[int, Samples]]

    @classmethod
    def of(
        cls, results: Results, strategies: Collection[str], passage: int, resamples: int = RESAMPLES
    ) -> "Accuracies":
        """The accuracies of these strategies, in all cells that have them.

        passage: number of items in a row that are resampled together; the last of a test set may be shorter.
        """
        runs = [run for run in results.accuracies() if run[1] in strategies]
        samples: dict[tuple[str, int, str], dict[int, Samples]] = defaultdict(dict)
        for corpus in dict.fromkeys(cell.corpus for cell, _ in runs):
            some = [run for run in runs if run[0].corpus == corpus]
            for (cell, strategy), drawn in zip(some, _resample(results, some, passage, resamples), strict=True):
                samples[corpus, cell.size, strategy][cell.fold] = drawn
        return cls(dict(samples))

    def cells(self, strategy: str) -> list[tuple[str, int]]:
        """(corpus, size) of a strategy: corpora as they come, sizes ascending."""
        cells = [(corpus, size) for corpus, size, name in self.samples if name == strategy]
        corpora = [corpus for corpus, _ in cells]
        return sorted(cells, key=lambda cell: (corpora.index(cell[0]), cell[1]))

    def mean(self, corpus: str, size: int, strategy: str) -> Samples | None:
        """The mean over folds; None if the strategy was measured on no fold of the cell."""
        return _mean(list(self.samples.get((corpus, size, strategy), {}).values()))

    def difference(self, corpus: str, size: int, strategy: str, baseline: str) -> Samples | None:
        """How much more accurate a strategy is than another, over the folds that both have; None without such folds."""
        ours, theirs = (self.samples.get((corpus, size, name), {}) for name in (strategy, baseline))
        return _mean([ours[fold] - theirs[fold] for fold in ours.keys() & theirs.keys()])


def interval(samples: Samples) -> Interval:
    """The value with its percentile interval."""
    low, high = np.quantile(samples[1:], [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval(float(samples[0]), float(low), float(high))


def _resample(results: Results, runs: list[tuple[Cell, str]], length: int, resamples: int) -> Samples:
    """Accuracies of runs on one test set, float64 [runs, 1 + resamples]."""
    tests = [results.test_predictions(*run) for run in runs]
    text = ["source", "target"]
    for run, test in zip(runs, tests, strict=True):
        if not test[text].equals(tests[0][text]):
            raise UserError(
                f"{results.predictions_file(*run)} and others of {run[0].corpus} are of different test sets: "
                "use another --out for other data"
            )
    passage = np.arange(len(tests[0])) // length
    counts = np.column_stack([np.bincount(passage, test["correct"]) for test in tests] + [np.bincount(passage)])
    rng, passages = np.random.default_rng(list(runs[0][0].corpus.encode())), len(counts)
    weights = rng.multinomial(passages, np.full(passages, 1 / passages), size=resamples)
    sums = np.concatenate([counts.sum(axis=0)[None], weights @ counts])
    accuracies: Samples = (sums[:, :-1] / sums[:, -1:]).T
    return accuracies


def _mean(samples: list[Samples]) -> Samples | None:
    return np.mean(samples, axis=0) if samples else None
