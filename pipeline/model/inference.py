"""Trained runs, loaded from their folders: strings in, ranked strings with their log probabilities out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.data.alphabet import Alphabet, load_alphabets
from pipeline.data.store import StringStore
from pipeline.errors import UserError

if TYPE_CHECKING:  # tensorflow, which `plain` does without
    from pipeline.model.network import Network


@dataclass(frozen=True)
class Hypothesis:
    """A target that the search wrote for a source; log_probability is a natural logarithm."""

    text: str
    log_probability: float


@dataclass(frozen=True)
class TrainedModel:
    """The predictor of a run, or those of several whose probabilities are averaged, and the alphabets they share."""

    networks: tuple["Network", ...]
    source_alphabet: Alphabet
    target_alphabet: Alphabet
    _compiled: dict[object, Any] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def load(cls, *folders: Path, instead_of: "TrainedModel | None" = None) -> "TrainedModel":
        """Load run folders; raises `UserError` where one is missing or damaged, or their alphabets differ.

        instead_of: a model that must not be used any more; if the architectures are the same, the functions compiled
        for it are reused.
        """
        alphabets = [load_alphabets(folder) for folder in folders]
        sizes = tuple(map(len, alphabets[0]))
        old = instead_of.networks if instead_of and len(instead_of.networks) == len(folders) else [None] * len(folders)
        networks = tuple(cls._load_network(folder, into) for folder, into in zip(folders, old, strict=True))
        for folder, pair, network in zip(folders, alphabets, networks, strict=True):
            if pair != alphabets[0]:
                raise UserError(f"{folder} and {folders[0]} have different alphabets: were they trained on other data?")
            if sizes != (network.sizes.source_symbols, network.sizes.target_symbols):
                raise UserError(f"the alphabets in {folder} are not those of its network: run `dvc repro`")
        same = instead_of is not None and all(new is network for new, network in zip(networks, old, strict=True))
        return cls(networks, *alphabets[0], instead_of._compiled if instead_of and same else {})

    def predict(self, sources: Sequence[str], beam_width: int = 1) -> list[list[Hypothesis]]:
        """Up to `beam_width` different hypotheses for each source, the most likely first; 1 is greedy decoding.

        sources: in normal form. Symbols that training never saw are read as unknown.
        """
        if not sources:
            return []
        different = list(dict.fromkeys(sources))
        ids_of, scores_of = self._search(StringStore.of(different, self.source_alphabet), beam_width)
        by_source = {
            source: [
                Hypothesis(self.target_alphabet.decode(row.tolist()), float(score))
                for row, score in zip(ids, scores, strict=True)
                if score > -float("inf")
            ]
            for source, ids, scores in zip(different, ids_of, scores_of, strict=True)
        }
        return [by_source[source] for source in sources]

    def log_probabilities(self, sources: Sequence[str], targets: Sequence[str]) -> NDArray[np.float32]:
        """Natural log probability of each source's target, float32 [n], as a search that wrote it would score it.

        sources: in normal form.
        """
        return self._score(StringStore.of(sources, self.source_alphabet), StringStore.of(targets, self.target_alphabet))

    @staticmethod
    def _load_network(folder: Path, into: "Network | None") -> "Network":
        from pipeline.model.network import load_network

        return load_network(folder, into)

    def _search(self, sources: StringStore, beam_width: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """What a search writes for N sources: ids int32 [N, K, T], log probabilities float32 [N, K]."""
        from pipeline.model.search import beam_search, decode, greedy_search

        longest = self.networks[0].sizes.longest_output
        search = self._once(beam_search, longest, beam_width) if beam_width > 1 else self._once(greedy_search, longest)
        written = decode(search, sources)
        return written.ids, written.log_probabilities

    def _score(self, sources: StringStore, targets: StringStore) -> NDArray[np.float32]:
        from pipeline.model.search import forced_scoring, log_probabilities

        return log_probabilities(self._once(forced_scoring), sources, targets)

    def _once(self, compile_models: Callable[..., Any], *settings: int) -> Any:
        if (compile_models, settings) not in self._compiled:
            models = [network.predictor for network in self.networks]
            self._compiled[compile_models, settings] = compile_models(models, *settings)
        return self._compiled[compile_models, settings]
