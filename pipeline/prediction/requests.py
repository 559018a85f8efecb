"""A model behind requests: what one may ask for, and what it is answered. It knows neither MLflow nor HTTP."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from pipeline.config.params import Decoding, Order
from pipeline.data.alphabet import split
from pipeline.errors import UserError
from pipeline.text import check_sources

if TYPE_CHECKING:  # without tensorflow it says what may be asked for
    from pipeline.prediction.bundle import Bundle

WIDEST = 100  # n_best and beam
MOST_BEGINNINGS = 100_000  # strings of a request times beam: some ten seconds on two cores


class Row(NamedTuple):
    """One prediction for one source; rank 1 is the best."""

    source: str
    rank: int
    prediction: str
    log_probability: float
    confidence: float


@dataclass(frozen=True)
class Question:
    """A request that can be answered."""

    sources: Sequence[str]
    n_best: int
    beam: int
    order: Order

    @property
    def beginnings(self) -> int:
        """How many beginnings of strings are kept while searching: what the answer costs."""
        return len(self.sources) * (self.n_best if self.order is Order.GREEDY else max(self.n_best, self.beam))


@dataclass(frozen=True, eq=False)
class Service:
    """A bundle, and how many symbols a source may have: as many as in the data that it was trained on."""

    bundle: "Bundle"
    max_symbols: int

    def question(self, sources: Sequence[str], params: Mapping[str, Any]) -> Question:
        """What is asked for; raises `UserError` with a sentence for what cannot be answered.

        params: `n_best`, how many rows each source gets, fewer where the search finds fewer; `beam`; `order`: greedy,
        beam or rerank. By default it is one row, as the model was evaluated.
        """
        given = defaults(self.bundle.decoding)
        if unknown := [name for name in params if name not in given]:
            raise UserError(f"there is no parameter {unknown[0]!r}, only {', '.join(given)}")
        given |= params
        question = Question(sources, _width("n_best", given), _width("beam", given), _order(given))
        if question.beginnings > MOST_BEGINNINGS:
            width = question.beginnings // len(sources)
            raise UserError(
                f"{len(sources):,} strings are too many for one request: "
                f"with beam {width} at most {MOST_BEGINNINGS // width:,}"
            )
        check_sources(sources)
        kind = self.bundle.model.source_alphabet.kind
        for number, source in enumerate(sources, start=1):
            if (symbols := len(split(source, kind))) > self.max_symbols:
                raise UserError(f"source {number} has {symbols:,} symbols, at most {self.max_symbols} are possible")
        return question

    def answer(self, question: Question) -> list[Row]:
        """Predictions for all sources, decoded together: the best of each source first."""
        found = self.bundle.chooser(question.n_best, question.beam, question.order).choose(question.sources)
        return [
            Row(source, rank, choice.text, choice.log_probability, choice.confidence)
            for source, choices in zip(question.sources, found, strict=True)
            for rank, choice in enumerate(choices[: question.n_best], start=1)
        ]


def defaults(decoding: Decoding) -> dict[str, Any]:
    """The parameters of a request that gives none."""
    return {"n_best": 1, "beam": decoding.beam_width, "order": decoding.order.value}


def _width(name: str, given: Mapping[str, Any]) -> int:
    value = given[name]
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= WIDEST:
        raise UserError(f"{name} is {value!r}, but must be a whole number from 1 to {WIDEST}")
    return value


def _order(given: Mapping[str, Any]) -> Order:
    if given["order"] not in list(Order):
        raise UserError(f"order is {given['order']!r}, but must be one of {', '.join(Order)}")
    return Order(given["order"])
