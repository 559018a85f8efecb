"""The one way from sources to ranked predictions: a trained model, the features of its data, and a reranker."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.config.params import Decoding, Order
from pipeline.data.alphabet import split
from pipeline.data.examples import Example
from pipeline.data.store import StringStore, evenly
from pipeline.errors import UserError
from pipeline.model.inference import Hypothesis, TrainedModel
from pipeline.prediction.alignments import EDITS, Aligner, Pieces, as_text
from pipeline.prediction.bundle import FEATURES, NETWORKS, RERANKER, group_metadata
from pipeline.reranking.counts import fingerprints
from pipeline.reranking.features import TO_PREDICT, FeatureExtractor, FeatureMatrix
from pipeline.reranking.reranker import RankedPrediction, Reranker
from pipeline.runs.folders import before_dev, run_folder
from pipeline.runs.groups import MAX_SYMBOLS, RerankMetadata, RunGroup
from pipeline.text import normal_form

LARGEST = 100  # beam width and n-best list
DEV_ITEMS = 20_000  # that a reranker is fitted on, at most


@dataclass(frozen=True)
class PredictionOptions:
    """Order of the candidates, beam width of the search, predictions per source, and how these are shown.

    alignment: whether they are aligned. at_least, copy: a first prediction whose confidence is lower is left empty, or
    is the source; only its text changes.

    Greedy decoding writes one hypothesis: with it, beam width and n_best are 1. Otherwise the beam is at least as wide
    as the n-best list; a narrower one is widened. Raises `UserError` for anything else.
    """

    order: Order
    beam_width: int = 1
    n_best: int = 1
    alignment: bool = False
    at_least: float = 0.0
    copy: bool = False

    def __post_init__(self) -> None:
        for name in ("beam_width", "n_best"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= LARGEST:
                raise UserError(f"{name} is {value!r}, but must be a whole number from 1 to {LARGEST}")
            if self.order is Order.GREEDY and value > 1:
                raise UserError(
                    f"{name} is {value}, but order greedy writes one hypothesis for each source: "
                    "ask for order beam, or for n_best 1 without beam_width"
                )
        if not isinstance(self.alignment, bool):
            raise UserError(f"alignment is {self.alignment!r}, but must be true or false")
        object.__setattr__(self, "beam_width", max(self.beam_width, self.n_best))

    @classmethod
    def resolve(
        cls,
        decoding: Decoding,
        order: str | None = None,
        beam_width: int | None = None,
        n_best: int = 1,
        **shown: Any,
    ) -> "PredictionOptions":
        """The given options, with the defaults of a model for the rest; raises `UserError` for what it cannot do."""
        order = order or decoding.order
        if order not in list(Order):
            raise UserError(f"order is {order!r}, but must be one of {', '.join(Order)}")
        if order == Order.RERANK and decoding.order is not Order.RERANK:
            raise UserError(f"this model has no reranker, its order is {decoding.order}: ask for order greedy or beam")
        if beam_width is None:
            beam_width = 1 if order == Order.GREEDY else decoding.beam_width
        return cls(Order(order), beam_width, n_best, **shown)

    def trusted(self, source: str, predictions: list[RankedPrediction]) -> list[RankedPrediction]:
        """The predictions for a source, the first one replaced if it is not sure enough."""
        if not predictions or predictions[0].confidence >= self.at_least:
            return predictions
        return [replace(predictions[0], text=source if self.copy else ""), *predictions[1:]]


@dataclass(frozen=True, eq=False)
class Predictor:
    """Predicts as `decoding` says unless options say otherwise; later calls reuse what an earlier one compiled.

    features: None where candidates are never reranked. max_symbols: of a source, as in the data of the training; it is
    for callers to check. known: the targets of sources that `predict` answers with before all others, with probability
    and confidence 1. aligner: None for that of the features, or else of data/prepared.
    """

    model: TrainedModel
    decoding: Decoding
    features: FeatureExtractor | None = None
    reranker: Reranker = field(default_factory=Reranker)
    max_symbols: int = MAX_SYMBOLS
    known: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    aligner: Aligner | None = None

    @classmethod
    def of_runs(
        cls,
        group: RunGroup,
        order: Order | None = None,
        model: TrainedModel | None = None,
        features: FeatureExtractor | None = None,
    ) -> "Predictor":
        """The predictor of a group in models/; raises `UserError` if a file is missing or damaged.

        order: the default, None for that of the last `dvc repro` (`bundle.group_metadata` says more). Features are
        loaded only if that is rerank. model, features: those of the group, if they are loaded already.
        """
        metadata = group_metadata(group, order)
        return cls._of(model or load_trained(group), metadata, features or TO_PREDICT, group.reranker)

    @classmethod
    def load(cls, folder: Path, order: Order | None = None, kind: type[TrainedModel] = TrainedModel) -> "Predictor":
        """The predictor in a bundle, which is not needed any more afterwards; `order` and errors as for `of_runs`.

        kind: of its model.
        """
        metadata = RerankMetadata.load(folder)
        if not metadata.networks:
            raise UserError(f"{folder} holds no network")
        model = kind.load(*(folder / NETWORKS / str(seed) for seed in metadata.seeds))
        decoding = replace(metadata.decoding, order=PredictionOptions.resolve(metadata.decoding, order).order)
        predictor = cls._of(model, replace(metadata, decoding=decoding), folder / FEATURES, folder / RERANKER)
        if not (folder / EDITS).exists():  # as in bundles of older versions
            return predictor
        return replace(predictor, aligner=Aligner.load(folder, model.source_alphabet, model.target_alphabet))

    @classmethod
    def _of(
        cls, model: TrainedModel, metadata: RerankMetadata, features: FeatureExtractor | Path, reranker: Path
    ) -> "Predictor":
        if metadata.decoding.order is not Order.RERANK:
            return cls(model, metadata.decoding, max_symbols=metadata.max_symbols)
        extractor = FeatureExtractor.load(features) if isinstance(features, Path) else features
        if extractor.data != metadata.data:
            raise UserError(f"{reranker} was fitted with other features than the existing ones: run `dvc repro`")
        return cls(model, metadata.decoding, extractor, Reranker.load(reranker), metadata.max_symbols)

    def options(self, *args: Any, **kwargs: Any) -> PredictionOptions:
        """Options as for `PredictionOptions.resolve`, with the defaults of this predictor."""
        return PredictionOptions.resolve(self.decoding, *args, **kwargs)

    def length_fault(self, source: str) -> str | None:
        """Why a source is too long, in words that follow its name; None if it is not."""
        most = self.max_symbols
        symbols = len(split(normal_form(source), self.model.source_alphabet.kind)) if len(source) > most else 0
        return f"has {symbols:,} symbols, at most {most} are possible" if symbols > most else None

    def unknown_symbols(self, sources: Sequence[str]) -> list[list[str]]:
        """The different symbols of each source that training never saw."""
        return [self.model.source_alphabet.unknown_in(normal_form(source)) for source in sources]

    def predict(self, sources: Sequence[str], options: PredictionOptions | None = None) -> list[list[RankedPrediction]]:
        """Up to `n_best` different predictions for each source, the best first.

        sources: what `text.fault_of` and `length_fault` find no fault with; they are brought to normal form.
        """
        options = options or self.options()
        if not sources:
            return []
        normalized = [normal_form(source) for source in sources]
        different = list(dict.fromkeys(normalized))
        ranked = self._ranked(different, self.model.predict(different, options.beam_width), options.order)
        by_source = dict(zip(different, ranked, strict=True))
        return [
            options.trusted(source, self._known_first(normal, by_source[normal])[: options.n_best])
            for source, normal in zip(sources, normalized, strict=True)
        ]

    def listed(self, texts: Sequence[str]) -> Sequence[bool | None]:
        """Whether each text is an unpaired target; None without features, or if these had targets held out."""
        features = self.features
        if features is None or features.neighbourhood is None:
            return [None] * len(texts)
        counts = features.listed[fingerprints(StringStore.of(texts, features.target_alphabet))]
        return [bool(count) for count in counts]

    def alignments(
        self, sources: Sequence[str], predictions: Sequence[Sequence[RankedPrediction]]
    ) -> list[list[Pieces]]:
        """The alignment of each prediction for each source with the symbols of that source in normal form.

        Raises `UserError` if the model has none, and data/prepared is missing or of another model.
        """
        normalized = [normal_form(source) for source, row in zip(sources, predictions, strict=True) for _ in row]
        aligned = iter(self._aligner().align(normalized, [one.text for row in predictions for one in row]))
        return [list(islice(aligned, len(row))) for row in predictions]

    def _aligner(self) -> Aligner:
        if self.aligner is not None:
            return self.aligner
        if (known := self.features) is not None:
            return Aligner(known.source_alphabet, known.target_alphabet, known.channel.edits)
        return Aligner.prepared(self.model.source_alphabet, self.model.target_alphabet)

    def alignment_texts(
        self, sources: Sequence[str], predictions: Sequence[Sequence[RankedPrediction]]
    ) -> list[list[str]]:
        """The alignment of each prediction for each source, as `as_text` shows it; errors as for `alignments`."""
        kinds = self.model.source_alphabet.kind, self.model.target_alphabet.kind
        return [
            [
                as_text(split(normal_form(source), kinds[0]), split(one.text, kinds[1]), pieces)
                for one, pieces in zip(row, aligned, strict=True)
            ]
            for source, row, aligned in zip(sources, predictions, self.alignments(sources, predictions), strict=True)
        ]

    def predict_in_each_order(self, sources: Sequence[str]) -> dict[Order, list[list[RankedPrediction]]]:
        """All candidates for each source, greedily and in every order up to that of `decoding`, its last key.

        The n-best lists are searched once.
        """
        different = list(dict.fromkeys(sources))
        ranked = {Order.GREEDY: self.predict(different, PredictionOptions(Order.GREEDY))}
        if self.decoding.order is not Order.GREEDY:
            hypotheses = self.model.predict(different, self.decoding.beam_width)
            for order in dict.fromkeys((Order.BEAM, self.decoding.order)):
                ranked[order] = self._ranked(different, hypotheses, order)
        places = {source: place for place, source in enumerate(different)}
        return {order: [rows[places[source]] for source in sources] for order, rows in ranked.items()}

    def fitted(self, examples: Sequence[Example]) -> "Predictor":
        """The same predictor with a reranker fitted on development examples; their sources may repeat.

        Of more than `DEV_ITEMS` examples it takes an even selection. Without features nothing is fitted, but the
        reranker says which examples are right, too.
        """
        examples = [examples[place] for place in evenly(len(examples), DEV_ITEMS)]
        sources, accepted = ([getattr(example, side) for example in examples] for side in ("source", "accepted"))
        if self.features is None:
            right = [row[0].text in some for row, some in zip(self.predict(sources), accepted, strict=True)]
            return replace(self, reranker=self.reranker.measured(right, sources, accepted))
        different = {source: number for number, source in enumerate(dict.fromkeys(sources))}
        rows = np.array([different[source] for source in sources], dtype=np.int64)
        hypotheses = self.model.predict(list(different), self.decoding.beam_width)
        matrix, lists = self._candidates(list(different), hypotheses)
        n_best = [lists[row] for row in rows]
        return replace(self, reranker=Reranker.fit(matrix.take(rows), n_best, sources, accepted, self.decoding.seed))

    def _known_first(self, source: str, ranked: list[RankedPrediction]) -> list[RankedPrediction]:
        targets = self.known.get(source, ())
        return [RankedPrediction(text, 0.0, 1.0) for text in targets] + [
            one for one in ranked if one.text not in targets
        ]

    def _ranked(
        self, sources: Sequence[str], hypotheses: Sequence[list[Hypothesis]], order: Order
    ) -> list[list[RankedPrediction]]:
        if order is Order.RERANK:
            ranked = self.reranker.rerank(*self._candidates(sources, hypotheses))
        else:
            ranked = [[_as_sure_as_the_model(one) for one in row] for row in hypotheses]
        trusts = map(self.model.source_alphabet.trust, sources)
        return [
            row if trust == 1.0 else [replace(one, confidence=trust * one.confidence) for one in row]
            for row, trust in zip(ranked, trusts, strict=True)
        ]

    def _candidates(
        self, sources: Sequence[str], hypotheses: Sequence[list[Hypothesis]]
    ) -> tuple[FeatureMatrix, list[list[Hypothesis]]]:
        """The hypotheses and what the features add to them, scored by the model, the most likely first."""
        if self.features is None:
            raise ValueError("this predictor was loaded without its features")
        further = self.features.further_candidates(sources, hypotheses, self.decoding.neighbours)
        added = zip(sources, further, strict=True)
        pairs = list(dict.fromkeys((source, text) for source, texts in added for text in texts))
        numbers = self.model.log_probabilities(*zip(*pairs, strict=True)).tolist() if pairs else []
        scores, by_score = dict(zip(pairs, numbers, strict=True)), attrgetter("log_probability")
        lists = [
            sorted([*row, *(Hypothesis(text, scores[source, text]) for text in texts)], key=by_score, reverse=True)
            for source, row, texts in zip(sources, hypotheses, further, strict=True)
        ]
        return self.features.features(sources, lists), lists


def _as_sure_as_the_model(one: Hypothesis) -> RankedPrediction:
    return RankedPrediction(one.text, one.log_probability, min(1.0, math.exp(one.log_probability)))


def load_trained(
    group: RunGroup,
    instead_of: TrainedModel | None = None,
    held_out: bool = False,
    kind: type[TrainedModel] = TrainedModel,
) -> TrainedModel:
    """The model of a run, or of all seeds together; errors and `instead_of` as for `TrainedModel.load`.

    held_out: whether it must not have learned dev.
    """
    runs = [run_folder(group.strategy, seed) for seed in group.seeds]
    return kind.load(*(map(before_dev, runs) if held_out else runs), instead_of=instead_of)


def each_model(groups: Iterable[RunGroup], held_out: bool = False) -> Iterator[tuple[RunGroup, TrainedModel]]:
    """Each group with its model, which serves until the next is asked for: one architecture is compiled once."""
    models: dict[int, TrainedModel] = {}
    for group in groups:
        members = len(group.seeds)
        models[members] = load_trained(group, models.get(members), held_out)
        yield group, models[members]


def each_predictor(groups: Iterable[RunGroup]) -> Iterator[tuple[RunGroup, Predictor]]:
    """Each group with its predictor, which serves until the next is asked for; features are loaded once."""
    features = None
    for group, model in each_model(groups):
        predictor = Predictor.of_runs(group, model=model, features=features)
        features = predictor.features
        yield group, predictor
