"""Test accuracies of a benchmark and their resamples: the base of every interval in its tables.

Test sets are running text, whose words are not independent of those around them: a passage about bees has bees in it
again and again, always right or always wrong. So passages of consecutive tokens are resampled. (On two corpora
that made standard errors 1.2 to 2 times those of single tokens; different words as units, each with all its tokens,
made them five times as large, because a text without its function words is a possible resample then.) One resample is
the same for all strategies, sizes and folds of a corpus, so every difference is paired; corpora are resampled
independently. The intervals hold for these training sets on new text of the same kind.

Source: Efron & Tibshirani (1993), An Introduction to the Bootstrap, chapters 8 (blocks) and 13 (percentiles). Weights
from a multinomial distribution are the same as drawing passages, and serve all strategies in one matrix product.
"""

import sys
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.results import Cell, Results
from pipeline.errors import UserError
from pipeline.evaluation.metrics import CONFIDENCE, RESAMPLES, Interval

PASSAGE = 100  # tokens; the last of a test set may be shorter
RESAMPLED_AT_ONCE = 2_000_000  # passages

# float64 [1 + resamples]: the value itself, and below it its resamples, NaN where no predictions are kept. What is
# computed from samples elementwise is samples again.
Samples = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Accuracies:
    """Test accuracy by (corpus, size, strategy) and fold."""

    samples: dict[tuple[str, int, str], dict[int, Samples]]

    @classmethod
    def of(cls, results: Results, strategies: Collection[str], resamples: int = RESAMPLES) -> "Accuracies":
        """The accuracies of these strategies, in all cells that have them."""
        measured = [
            (cell, strategy, metrics["test_word_accuracy"])
            for (cell, strategy), metrics in results.metrics().items()
            if strategy in strategies
        ]
        samples: dict[tuple[str, int, str], dict[int, Samples]] = defaultdict(dict)
        for corpus in dict.fromkeys(cell.corpus for cell, _, _ in measured):
            runs = [run for run in measured if run[0].corpus == corpus]
            for (cell, strategy, accuracy), drawn in zip(runs, _resample_corpus(results, runs, resamples), strict=True):
                samples[corpus, cell.size, strategy][cell.fold] = np.concatenate([[accuracy], drawn])
        return cls(dict(samples))

    def has(self, corpus: str, size: int, strategy: str) -> bool:
        """Whether a strategy was measured on any fold of a cell."""
        return (corpus, size, strategy) in self.samples

    def cells(self, strategy: str) -> list[tuple[str, int]]:
        """(corpus, size) of a strategy: corpora as they come, sizes ascending."""
        cells = [(corpus, size) for corpus, size, name in self.samples if name == strategy]
        corpora = [corpus for corpus, _ in cells]
        return sorted(cells, key=lambda cell: (corpora.index(cell[0]), cell[1]))

    def folds(self, corpus: str, size: int, strategy: str) -> int:
        """The number of folds that the mean is over."""
        return len(self.samples[corpus, size, strategy])

    def mean(self, corpus: str, size: int, strategy: str) -> Samples:
        """The mean over folds."""
        return _mean(self.samples[corpus, size, strategy].values())

    def difference(self, corpus: str, size: int, strategy: str, baseline: str) -> Samples | None:
        """How much more accurate a strategy is than another, over the folds that both have; None without such folds."""
        ours, theirs = (self.samples.get((corpus, size, name), {}) for name in (strategy, baseline))
        folds = ours.keys() & theirs.keys()
        return _mean(ours[fold] - theirs[fold] for fold in folds) if folds else None


def interval(samples: Samples, confidence: float = CONFIDENCE) -> Interval:
    """The value with its percentile interval; NaN for one that is not known."""
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    low, high = np.quantile(samples[1:], tails) if len(samples) > 1 else (np.nan, np.nan)
    return Interval(float(samples[0]), float(low), float(high))


def _resample_corpus(results: Results, runs: Sequence[tuple[Cell, str, float]], resamples: int) -> list[Samples]:
    """Resampled accuracies of runs on one test set, each float64 [resamples]."""
    kept = [_test_tokens(results, *run) for run in runs]
    known = [tokens for tokens in kept if tokens is not None]
    unknown = np.full(resamples, np.nan)
    if not known:
        return [unknown for _ in runs]
    for (cell, strategy, _), tokens in zip(runs, kept, strict=True):
        if tokens is not None and not tokens[["source", "target"]].equals(known[0][["source", "target"]]):
            raise UserError(
                f"{results.predictions_file(cell, strategy)} and others of {cell.corpus} are of different test sets: "
                "use another --out for other data"
            )
    passages = np.arange(len(known[0])) // PASSAGE
    hits = np.column_stack([np.bincount(passages, tokens["correct"]) for tokens in known])
    rng = np.random.default_rng(list(runs[0][0].corpus.encode()))
    drawn = iter(_resample(hits, np.bincount(passages), resamples, rng))
    return [unknown if tokens is None else next(drawn) for tokens in kept]


def _test_tokens(results: Results, cell: Cell, strategy: str, accuracy: float) -> pd.DataFrame | None:
    """The test predictions that gave `accuracy`, token by token; None if they are not kept."""
    predictions = results.predictions(cell, strategy)
    if predictions is None:
        return None
    test = predictions[predictions["split"] == "test"].reset_index(drop=True)
    if abs(test["correct"].mean() - accuracy) > 1e-9:
        path = results.predictions_file(cell, strategy)
        print(f"warning: {path} does not give the accuracy in {results.out}: no interval", file=sys.stderr)
        return None
    return test


def _resample(
    hits: NDArray[np.number], tokens: NDArray[np.number], resamples: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Accuracies under resampling, float64 [runs, resamples]. hits: [passages, runs]. tokens: [passages]."""
    passages = len(tokens)
    counts = np.column_stack([hits, tokens])
    batch = max(1, RESAMPLED_AT_ONCE // passages)
    sums = np.concatenate(
        [
            rng.multinomial(passages, np.full(passages, 1 / passages), size=min(batch, resamples - start)) @ counts
            for start in range(0, resamples, batch)
        ]
    )
    accuracies: NDArray[np.float64] = (sums[:, :-1] / sums[:, -1:]).T
    return accuracies


def _mean(samples: Iterable[Samples]) -> Samples:
    mean: Samples = np.mean(list(samples), axis=0)
    return mean
