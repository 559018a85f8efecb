"""Which sources to annotate next: those whose pairs would teach the model most.

A source is worth the more, the more the model doubts its own prediction, the more often the source occurs, and the more
it has of what other sources have too but the pairs rarely show. Sources are chosen one by one, and what a chosen one
shows counts as shown from then on, so that the next one is of another kind.

Source of the greedy choice: Wei, Iyer & Bilmes (2015), "Submodularity in Data Subset Selection and Active Learning".
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import NamedTuple

import numpy as np
from rapidfuzz.distance import Levenshtein
from scipy.sparse import csr_array

from pipeline.config.options import Symbols
from pipeline.data.alphabet import split
from pipeline.data.store import Reals
from pipeline.model.inference import TrainedModel
from pipeline.prediction.predictor import Predictor
from pipeline.reranking.reranker import RankedPrediction

MOST_PREDICTED = 5_000  # different sources: the most frequent, and of equally frequent ones random ones
LONGEST_PART = 3  # symbols of the parts of a source that are counted, its ends included as symbols
OFTEN = 0.5  # power of the number of times a source occurs
LONG = 0.5  # power of the number of parts of a source: a long one shows more, and takes longer to annotate


class Suggestion(NamedTuple):
    """A source to annotate: how often it occurs, and what is predicted for it, the best first."""

    source: str
    occurrences: int
    predictions: Sequence[RankedPrediction]


def suggest(
    predictor: Predictor, occurrences: Mapping[str, int], annotated: Collection[str], count: int, n_best: int = 1
) -> list[Suggestion]:
    """Choose up to `count` sources that are not annotated, the one that teaches most first.

    occurrences: of each source, in normal form, that can be predicted. annotated: the sources of the pairs.
    """
    known = set(annotated)
    sources = _most_frequent({source: times for source, times in occurrences.items() if source not in known})
    ranked = predictor.predict(sources, predictor.options(n_best=n_best))
    times = np.array([occurrences[source] for source in sources], dtype=np.float64)
    doubts = np.array([1 - row[0].confidence for row in ranked]) + disagreement(predictor.model, sources)
    kind = predictor.model.source_alphabet.kind
    chosen = choose(sources, doubts * times**OFTEN, times, sorted(known), kind, count)
    return [Suggestion(sources[row], occurrences[sources[row]], ranked[row]) for row in chosen]


def disagreement(model: TrainedModel, sources: Sequence[str]) -> Reals:
    """How far the outputs of the seeds differ, float64 [sources]: the mean edit distance of two, as a share of length.

    It is 0 for a single seed.
    """
    alone = (replace(model, networks=(network,), _compiled={}) for network in model.networks)
    written = [[row[0].text for row in one.predict(sources)] for one in alone] if len(model.networks) > 1 else []
    pairs = list(combinations(written, 2))
    distances = [[Levenshtein.normalized_distance(*texts) for texts in zip(*pair, strict=True)] for pair in pairs]
    return np.mean(distances, axis=0, dtype=np.float64) if pairs else np.zeros(len(sources))


def choose(
    sources: Sequence[str], values: Reals, times: Reals, annotated: Sequence[str], kind: Symbols, count: int
) -> list[int]:
    """The rows of up to `count` sources, chosen greedily by their value times the novelty of their parts.

    values: of annotating each alone, float64 [sources]. times: how often each occurs. The novelty of a part is how
    often it occurs in all sources, divided by how often annotated and chosen sources show it.
    """
    numbers: dict[tuple[str, ...], int] = {}
    rows = [[numbers.setdefault(part, len(numbers)) for part in parts(source, kind)] for source in sources]
    shown = np.zeros(len(numbers))
    for part, number in Counter(part for source in annotated for part in parts(source, kind)).items():
        if part in numbers:
            shown[numbers[part]] = number
    lengths = np.array([len(row) for row in rows])
    columns = np.fromiter((number for row in rows for number in row), dtype=np.int64, count=int(lengths.sum()))
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    has = csr_array((np.ones(len(columns)), columns, offsets), shape=(len(sources), len(numbers)))
    common = np.sqrt(has.T @ times)
    left = values / np.maximum(lengths, 1) ** LONG
    chosen: list[int] = []
    for _ in range(min(count, len(sources))):
        row = int(np.argmax(np.where(left >= 0, left * (has @ (common / (1 + shown))), -1)))
        chosen.append(row)
        shown[rows[row]] += 1
        left[row] = -1
    return chosen


def parts(source: str, kind: Symbols) -> list[tuple[str, ...]]:
    """The different runs of up to `LONGEST_PART` symbols of a source; its ends count as symbols, alone they do not."""
    symbols = ["", *split(source, kind), ""]
    runs = (
        tuple(symbols[start : start + length])
        for length in range(1, LONGEST_PART + 1)
        for start in range(len(symbols) - length + 1)
    )
    return list(dict.fromkeys(run for run in runs if any(run)))


def _most_frequent(occurrences: Mapping[str, int]) -> list[str]:
    sources = list(occurrences)
    order = np.random.default_rng(0).permutation(len(sources))
    kept = sorted(order.tolist(), key=lambda row: -occurrences[sources[row]])[:MOST_PREDICTED]
    return [sources[row] for row in sorted(kept)]
