"""A trained run, loaded from its folder: strings in, ranked strings with their log probabilities out."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.alphabet import Alphabet
from pipeline.network import Network, load_network
from pipeline.runs import load_alphabets
from pipeline.search import beam_search, decode, greedy_search
from pipeline.store import StringStore


@dataclass(frozen=True)
class Prediction:
    """One candidate for a source; log_probability is a natural logarithm."""

    text: str
    log_probability: float


@dataclass(frozen=True)
class TrainedModel:
    """The predictor of a run and the alphabets of its two sides."""

    network: Network
    source_alphabet: Alphabet
    target_alphabet: Alphabet

    @classmethod
    def load(cls, folder: Path) -> "TrainedModel":
        """Load a run folder; raises `UserError` where it is missing or damaged."""
        return cls(load_network(folder), *load_alphabets(folder))

    def predict(self, sources: Sequence[str], n_best: int = 1, beam: int = 1) -> list[list[Prediction]]:
        """Up to `n_best` different predictions for each source, the most likely first.

        Symbols that training never saw are read as unknown. `beam` is widened to `n_best` where it is smaller; 1 is
        greedy decoding.
        """
        if not sources:
            return []
        normalized = [unicodedata.normalize("NFC", source) for source in sources]
        different = list(dict.fromkeys(normalized))
        models, longest, width = [self.network.predictor], self.network.sizes.longest_output, max(beam, n_best)
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
