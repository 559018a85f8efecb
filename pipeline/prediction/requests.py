"""Requests to a predictor: their parameters, their limits and their answers, whether from MLflow or over HTTP."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

from pipeline.config.params import Decoding
from pipeline.errors import UserError
from pipeline.text import check_sources, listed

if TYPE_CHECKING:  # the defaults are needed without tensorflow
    from pipeline.prediction.predictor import PredictionOptions, Predictor

MOST_HYPOTHESES = 100_000  # strings of a request times beam width: some ten seconds on two cores


class Prediction(NamedTuple):
    """The fields of one prediction for one source; rank 1 is the best.

    unknown: symbols of the source that training never saw. On request there are further fields: `alignment` has for
    each symbol of the prediction the places of the source symbols that it came from, counted from 0, the source in
    normal form; `listed` says whether the prediction is an unpaired target, None if the model does not know.
    """

    source: str
    rank: int
    prediction: str
    log_probability: float
    confidence: float
    unknown: str


@dataclass(frozen=True)
class PredictionRequest:
    """A request that can be answered."""

    sources: Sequence[str]
    options: "PredictionOptions"
    listed: bool = False

    @property
    def hypotheses(self) -> int:
        """How many hypotheses the search keeps: the cost of the answer."""
        return len(self.sources) * self.options.beam_width


@dataclass(frozen=True, eq=False)
class Service:
    """Answers requests with a predictor."""

    predictor: "Predictor"

    def parse(self, sources: Sequence[str], params: Mapping[str, Any]) -> PredictionRequest:
        """Check a request; raises `UserError` with a sentence for one that cannot be answered.

        params: those of `defaults`. `n_best` is the number of predictions for each source; there are fewer if the
        search finds fewer. A beam width of None stands for the default.
        """
        given = defaults(self.predictor.decoding)
        if unknown := [name for name in params if name not in given]:
            raise UserError(f"there is no parameter {unknown[0]!r}, only {', '.join(given)}")
        given |= params
        if not isinstance(listed := given.pop("listed"), bool):
            raise UserError(f"listed is {listed!r}, but must be true or false")
        request = PredictionRequest(sources, self.predictor.options(**given), listed)
        if request.hypotheses > MOST_HYPOTHESES:
            width = request.options.beam_width
            most = f"with beam width {width} at most {MOST_HYPOTHESES // width:,}"
            raise UserError(f"{len(sources):,} strings are too many for one request: {most}")
        check_sources(sources)
        for number, source in enumerate(sources, start=1):
            if fault := self.predictor.length_fault(source):
                raise UserError(f"source {number} {fault}")
        return request

    def answer(self, request: PredictionRequest) -> list[dict[str, Any]]:
        """Predictions, with the fields of `Prediction`, for all sources, decoded together: the best of each first."""
        ranked = self.predictor.predict(request.sources, request.options)
        unknown = map(listed, self.predictor.unknown_symbols(request.sources))
        rows = [
            Prediction(source, rank, one.text, one.log_probability, one.confidence, symbols)._asdict()
            for source, row, symbols in zip(request.sources, ranked, unknown, strict=True)
            for rank, one in enumerate(row, start=1)
        ]
        if request.options.alignment:
            alignments = chain.from_iterable(self.predictor.alignments(request.sources, ranked))
            rows = [row | {"alignment": pieces} for row, pieces in zip(rows, alignments, strict=True)]
        if request.listed:
            known = self.predictor.listed([row["prediction"] for row in rows])
            rows = [row | {"listed": is_listed} for row, is_listed in zip(rows, known, strict=True)]
        return rows


def defaults(decoding: Decoding) -> dict[str, Any]:
    """The parameters of a request with their defaults. That of the beam width, None, depends on order and n_best."""
    return {"n_best": 1, "beam_width": None, "order": decoding.order.value, "alignment": False, "listed": False}
