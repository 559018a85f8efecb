"""Wrong targets that are easily mistaken for the right one: what a matcher is trained and measured against."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from rapidfuzz import process
from rapidfuzz.distance import Levenshtein

from pipeline.config import params as config
from pipeline.config.options import Symbols
from pipeline.data.alphabet import split
from pipeline.data.examples import Example
from pipeline.model.inference import TrainedModel

POOL = 50_000  # targets among which neighbours are searched
ROWS_AT_ONCE = 256  # compared with the whole pool at once

Accepted = dict[str, frozenset[str]]  # all that counts as right, by source
Hard = Sequence[Sequence[str]]  # wrong targets of each example


@dataclass(frozen=True)
class Negatives:
    """Wrong targets of each example, by what makes them hard; no accepted target is among them."""

    neighbours: Hard  # targets closest to the right one by edit distance
    candidates: Hard  # wrong predictions of a trained predictor

    @cached_property
    def all(self) -> list[list[str]]:
        """Wrong targets of both kinds, for each example."""
        return [[*near, *written] for near, written in zip(self.neighbours, self.candidates, strict=True)]


def find_negatives(
    examples: Sequence[Example],
    targets: Sequence[str],
    predictor: TrainedModel,
    settings: config.Matcher,
    seed: int,
) -> Negatives:
    """Find neighbours among `targets`, and wrong predictions for the sources."""
    kind, rng = predictor.target_alphabet.kind, np.random.default_rng(seed)
    return Negatives(
        edit_neighbours(examples, targets, settings.neighbours, kind, rng),
        wrong_candidates(examples, predictor, settings.candidates),
    )


def edit_neighbours(
    examples: Sequence[Example], targets: Sequence[str], count: int, kind: Symbols, rng: np.random.Generator
) -> list[list[str]]:
    """For each example the `count` targets closest to its own by edit distance in symbols, drawn where they tie.

    What is accepted for its source is left out. Of more than 50,000 different targets a sample is searched.
    """
    accepted, pool = accepted_by_source(examples), list(dict.fromkeys(targets))
    if len(pool) > POOL:
        pool = [pool[place] for place in rng.permutation(len(pool))[:POOL]]
    places = {target: place for place, target in enumerate(pool)}
    comparable = _one_character_a_symbol([*pool, *(example.target for example in examples)], kind)
    neighbours = []
    for start in range(0, len(examples), ROWS_AT_ONCE):
        some = examples[start : start + ROWS_AT_ONCE]
        right_ones = comparable[len(pool) + start :][: len(some)]
        distances = process.cdist(
            right_ones, comparable[: len(pool)], scorer=Levenshtein.distance, dtype=np.uint16, workers=-1
        )
        for row, example in zip(distances + rng.random(distances.shape, dtype=np.float32), some, strict=True):
            right = [places[target] for target in accepted[example.source] if target in places]
            row[right] = np.inf
            possible = min(count, len(pool) - len(right))
            neighbours.append([pool[place] for place in _smallest(row, possible)])
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


def accepted_by_source(examples: Sequence[Example]) -> Accepted:
    """All that counts as right for each source, over all examples of it."""
    accepted: Accepted = {}
    for example in examples:
        accepted[example.source] = accepted.get(example.source, frozenset()) | example.accepted
    return accepted


def _smallest(values: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """Where the `count` smallest values are, in their order."""
    if count == 0:
        return np.zeros(0, dtype=np.int64)
    smallest = np.argpartition(values, count - 1)[:count]
    return smallest[np.argsort(values[smallest])]


def _one_character_a_symbol(strings: Sequence[str], kind: Symbols) -> list[str]:
    if kind is Symbols.CHARACTERS:
        return list(strings)
    characters: dict[str, str] = {}
    return [
        "".join(characters.setdefault(symbol, chr(0x10000 + len(characters))) for symbol in split(string, kind))
        for string in strings
    ]
