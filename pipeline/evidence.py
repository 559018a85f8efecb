"""What speaks for a candidate beside the network: features of (source, candidate), and further candidates.

How much each feature counts is learned by `reranker`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import Levenshtein

from pipeline.alignment import same_symbols
from pipeline.alphabet import SPECIALS, Alphabet, split
from pipeline.channel import Channel
from pipeline.inference import Prediction
from pipeline.language_model import CharacterLanguageModel
from pipeline.prepared import Prepared
from pipeline.store import StringStore

Integers = NDArray[np.int64]
Reals = NDArray[np.float64]
Fingerprints = NDArray[np.uint64]
NBest = Sequence[Sequence[Prediction]]

FACTOR = np.uint64(0x9E3779B97F4A7C15)  # odd, so that no power of it is 0 modulo 2**64


@dataclass(frozen=True, eq=False)
class Tally:
    """How often strings were seen, without the strings: sorted fingerprints uint64 [n], and counts int64 [n]."""

    keys: Fingerprints
    counts: Integers

    @classmethod
    def of(cls, fingerprints_: Fingerprints) -> "Tally":
        return cls(*np.unique(fingerprints_, return_counts=True))

    def __getitem__(self, wanted: Fingerprints) -> Integers:
        """int64 [len(wanted)], 0 where never seen."""
        if not len(self.keys):
            return np.zeros(len(wanted), dtype=np.int64)
        places = np.minimum(np.searchsorted(self.keys, wanted), len(self.keys) - 1)
        return np.where(self.keys[places] == wanted, self.counts[places], 0)


def fingerprints(strings: StringStore) -> Fingerprints:
    """A number for each row that is the same for the same ids, and for different ones with probability 2**-64."""
    lengths = np.diff(strings.offsets)
    place = np.arange(len(strings.ids)) - np.repeat(strings.offsets[:-1], lengths)
    powers = np.cumprod(np.full(int(lengths.max(initial=0)) + 1, FACTOR))
    mixed = (strings.ids.astype(np.uint64) + np.uint64(1)) * powers[place]
    mixed = (mixed ^ (mixed >> np.uint64(31))) * FACTOR
    sums = np.concatenate([np.zeros(1, dtype=np.uint64), np.cumsum(mixed)])
    return sums[strings.offsets[1:]] - sums[strings.offsets[:-1]] + lengths.astype(np.uint64) * FACTOR
