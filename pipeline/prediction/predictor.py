"""From sources to chosen targets: a trained model's own order, or candidates ordered by all that speaks for them."""

import math
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from pipeline.config.params import Decoding, Order
from pipeline.data.prepared import Prepared
from pipeline.model.inference import Prediction, TrainedModel
from pipeline.reranking.features import Evidence, merged
from pipeline.reranking.reranker import Choice, Reranker
from pipeline.runs.folders import run_folder
from pipeline.runs.groups import RunGroup


def load_trained(group: RunGroup, instead_of: TrainedModel | None = None) -> TrainedModel:
    """The model of a run, or of all seeds together; errors and `instead_of` as for `TrainedModel.load`."""
    return TrainedModel.load(*(run_folder(group.strategy, seed) for seed in group.seeds), instead_of=instead_of)


def each_loaded(groups: Iterable[RunGroup]) -> Iterator[tuple[RunGroup, TrainedModel]]:
    """Each group with its model, which serves until the next is asked for: one architecture is compiled once."""
    models: dict[int, TrainedModel] = {}
    for group in groups:
        members = len(group.seeds)
        models[members] = load_trained(group, models.get(members))
        yield group, models[members]


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
        different = {source: number for number, source in enumerate(dict.fromkeys(sources))}
        lists = self.candidates(list(different))
        rows = [different[source] for source in sources]
        features = self.evidence.features(list(different), lists).take(np.array(rows, dtype=np.int64))
        reranker = Reranker.fit(features, [lists[row] for row in rows], sources, accepted, seed)
        return replace(self, reranker=reranker)

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


@dataclass(frozen=True)
class OwnOrder:
    """A trained model alone: what a beam of it wrote; a beam of 1 is greedy decoding. There is nothing to fit."""

    model: TrainedModel
    beam: int
    reranker: ClassVar[Reranker] = OWN_ORDER

    def fitted(self, sources: Sequence[str], accepted: Sequence[Collection[str]], seed: int) -> "OwnOrder":
        """The same, as nothing is learned from development items."""
        return self

    def choose(self, sources: Sequence[str]) -> list[list[Choice]]:
        """The candidates of each source, the most likely first; the model's probability stands for confidence."""
        found = self.model.predict(sources, n_best=self.beam, beam=self.beam)
        return [
            [Choice(one.text, one.log_probability, min(1.0, math.exp(one.log_probability))) for one in row]
            for row in found
        ]


def learn_evidence(decoding: Decoding, prepared: Prepared, held_out: bool) -> Evidence | None:
    """What the pairs and the target list say, where the order asks for it; `held_out` as in `Evidence.learn`."""
    return Evidence.learn(prepared, held_out) if decoding.order is Order.RERANK else None


def chooser(
    model: TrainedModel, decoding: Decoding, evidence: Evidence | None, reranker: Reranker = OWN_ORDER
) -> Chooser | OwnOrder:
    """What predicts with a model as `decoding` says; the order `rerank` needs evidence."""
    match decoding.order:
        case Order.GREEDY:
            return OwnOrder(model, beam=1)
        case Order.BEAM:
            return OwnOrder(model, decoding.beam_width)
        case Order.RERANK:
            if evidence is None:
                raise ValueError("the order 'rerank' needs evidence")
            return Chooser(model, evidence, decoding.beam_width, decoding.neighbours, reranker)


def fitted_chooser(
    model: TrainedModel, decoding: Decoding, evidence: Evidence | None, prepared: Prepared
) -> Chooser | OwnOrder:
    """The same, with a reranker fitted on the development data where the order has one."""
    sources, accepted = [item.source for item in prepared.dev], [item.accepted for item in prepared.dev]
    return chooser(model, decoding, evidence).fitted(sources, accepted, decoding.seed)
