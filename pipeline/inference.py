"""Trained runs, loaded from their folders: strings in, ranked strings with their log probabilities out."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.alphabet import Alphabet, load_alphabets
from pipeline.errors import UserError
from pipeline.network import Network, load_network
from pipeline.search import beam_search, decode, forced_log_probabilities, greedy_search
from pipeline.store import StringStore


@dataclass(frozen=True)
class Prediction:
    """One candidate for a source; log_probability is a natural logarithm."""

    text: str
    log_probability: float


@dataclass(frozen=True)
class TrainedModel:
    """The predictor of a run, or those of several whose probabilities are averaged, and the alphabets they share."""

    networks: tuple[Network, ...]
    source_alphabet: Alphabet
    target_alphabet: Alphabet

    @classmethod
    def load(cls, *folders: Path) -> "TrainedModel":
        """Load run folders; raises `UserError` where one is missing or damaged, or their alphabets differ."""
        alphabets = [load_alphabets(folder) for folder in folders]
        for folder, found in zip(folders, alphabets, strict=True):
            if found != alphabets[0]:
                raise UserError(f"{folder} and {folders[0]} have different alphabets: were they trained on other data?")
        return cls(tuple(load_network(folder) for folder in folders), *alphabets[0])

    def predict(self, sources: Sequence[str], n_best: int = 1, beam: int = 1) -> list[list[Prediction]]:
        """Up to `n_best` different predictions for each source, the most likely first.

        Symbols that training never saw are read as unknown. `beam` is widened to `n_best` where it is smaller; 1 is
        greedy decoding.
        """
        if not sources:
            return []
        normalized = [unicodedata.normalize("NFC", source) for source in sources]
        different = list(dict.fromkeys(normalized))
        models, width = [network.predictor for network in self.networks], max(beam, n_best)
        longest = self.networks[0].sizes.longest_output
        search = greedy_search(models, longest) if width == 1 else beam_search(models, longest, width)
        found = decode(search, StringStore.of(different, self.source_alphabet))
        predictions = [
            [
                Prediction(self.target_alphabet.decode(row), float(score))
                for row, score in zip(ids[:n_best], scores[:n_best], strict=True)
                if score > -float("inf")
            ]
            for ids, scores in zip(found.ids, found.log_probabilities, strict=True)
        ]
        by_source = dict(zip(different, predictions, strict=True))
        return [by_source[source] for source in normalized]

    def log_probabilities(self, sources: Sequence[str], targets: Sequence[str]) -> NDArray[np.float32]:
        """How likely each source's target is, natural logarithms float32 [n]: what a search that found it would say."""
        normalized = [unicodedata.normalize("NFC", source) for source in sources]
        return forced_log_probabilities(
            [network.predictor for network in self.networks],
            StringStore.of(normalized, self.source_alphabet),
            StringStore.of(targets, self.target_alphabet),
        )
