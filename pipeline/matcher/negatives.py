"""Wrong targets that are easily mistaken for the right one: what a matcher is trained and measured against."""

from collections.abc import Mapping, Sequence

import numpy as np
from rapidfuzz import process
from rapidfuzz.distance import Levenshtein

from pipeline.config.options import Symbols
from pipeline.data.alphabet import split
from pipeline.data.examples import Example
from pipeline.model.inference import TrainedModel

POOL = 50_000  # targets among which neighbours are searched
ROWS_AT_ONCE = 256  # compared with the whole pool at once

Hard = Sequence[Sequence[str]]  # wrong targets of each example, none of them accepted
# By kind: `neighbours`, closest to the right one by edit distance, and `candidates`, which a predictor wrote.
Negatives = Mapping[str, Hard]


def all_of(negatives: Negatives) -> list[list[str]]:
    """Wrong targets of all kinds, for each example."""
    return [[word for some in kinds for word in some] for kinds in zip(*negatives.values(), strict=True)]


def edit_neighbours(
    examples: Sequence[Example], targets: Sequence[str], count: int, kind: Symbols, rng: np.random.Generator
) -> list[list[str]]:
    """For each example the `count` targets closest to its own by edit distance in symbols, drawn where they tie.

    What is accepted for its source is left out. Of more than 50,000 different targets a sample is searched.
    """
    accepted, pool = accepted_by_source(examples), list(dict.fromkeys(targets))
    if len(pool) > POOL:
        pool = [pool[place] for place in rng.permutation(len(pool))[:POOL]]
    places, comparable = {target: place for place, target in enumerate(pool)}, [split(target, kind) for target in pool]
    neighbours = []
    for start in range(0, len(examples), ROWS_AT_ONCE):
        some = examples[start : start + ROWS_AT_ONCE]
        targets_of_some = [split(example.target, kind) for example in some]
        distances = process.cdist(targets_of_some, comparable, scorer=Levenshtein.distance, dtype=np.uint16, workers=-1)
        for row, example in zip(distances + rng.random(distances.shape, dtype=np.float32), some, strict=True):
            right = [places[target] for target in accepted[example.source] if target in places]
            row[right] = np.inf
            possible = min(count, len(pool) - len(right))
            nearest = np.argpartition(row, max(possible - 1, 0))[:possible]
            neighbours.append([pool[place] for place in nearest[np.argsort(row[nearest])]])
    return neighbours


def wrong_candidates(examples: Sequence[Example], predictor: TrainedModel, count: int) -> list[list[str]]:
    """For each example those of the predictor's `count` best that are not accepted for its source."""
    if count == 0:
        return [[] for _ in examples]
    accepted = accepted_by_source(examples)
    predictions = predictor.predict([example.source for example in examples], count)
    return [
        [candidate.text for candidate in row if candidate.text not in accepted[example.source]]
        for example, row in zip(examples, predictions, strict=True)
    ]


def accepted_by_source(examples: Sequence[Example]) -> dict[str, frozenset[str]]:
    """All that counts as right for each source, over all examples of it."""
    accepted: dict[str, frozenset[str]] = {}
    for example in examples:
        accepted[example.source] = accepted.get(example.source, frozenset()) | example.accepted
    return accepted
