"""From sources to chosen targets: candidates of a beam and of the target list, ordered by all that speaks for them."""

import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from pipeline.evidence import Evidence, merged
from pipeline.inference import Prediction, TrainedModel
from pipeline.reranker import Choice, Reranker

OWN_ORDER = Reranker()


@dataclass(frozen=True)
class Chooser:
    """A trained model, the evidence of pairs and target list, and a reranker fitted for the two.

    beam: candidates that the search writes. neighbours: listed targets near the best of them that are added, at most.
    """

    model: TrainedModel
    evidence: Evidence
    beam: int
    neighbours: int
    reranker: Reranker = OWN_ORDER

    def fitted(self, sources: Sequence[str], accepted: Sequence[Collection[str]], seed: int) -> "Chooser":
        """The same with a reranker fitted on development items; they may repeat, as running text does."""
        lists = self.candidates(sources)
        reranker = Reranker.fit(self.evidence.features(sources, lists), lists, sources, accepted, seed)
        return Chooser(self.model, self.evidence, self.beam, self.neighbours, reranker)

    def choose(self, sources: Sequence[str]) -> list[list[Choice]]:
        """All candidates of each source, the best first, each with the probability that it is right."""
        normalized = [unicodedata.normalize("NFC", source) for source in sources]
        different = list(dict.fromkeys(normalized))
        if not different:
            return []
        lists = self.candidates(different)
        chosen = self.reranker.rerank(self.evidence.features(different, lists), lists)
        by_source = dict(zip(different, chosen, strict=True))
        return [by_source[source] for source in normalized]

    def candidates(self, sources: Sequence[str]) -> list[list[Prediction]]:
        """What the beam wrote and what the evidence adds, all scored by the model, the most likely first."""
        written = self.model.predict(sources, n_best=self.beam, beam=self.beam)
        further = self.evidence.further_candidates(sources, written, self.neighbours)
        pairs = [(source, text) for source, texts in zip(sources, further, strict=True) for text in texts]
        if not pairs:
            return written
        different = list(dict.fromkeys(pairs))
        scores = self.model.log_probabilities(*zip(*different, strict=True))
        scored = dict(zip(different, scores.tolist(), strict=True))
        return merged(written, further, [scored[pair] for pair in pairs])
