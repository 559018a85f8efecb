"""Options of a prediction, and the one rule for their combinations."""

from dataclasses import dataclass

from pipeline.config.params import Decoding, Order
from pipeline.errors import UserError

LARGEST = 100  # beam width and n-best list


@dataclass(frozen=True)
class PredictionOptions:
    """Order of the candidates, beam width of the search, and predictions per source.

    Greedy decoding writes one hypothesis: with it, beam width and n_best are 1. Otherwise the beam is at least as wide
    as the n-best list; a narrower one is widened. Raises `UserError` for anything else.
    """

    order: Order
    beam_width: int = 1
    n_best: int = 1

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
        object.__setattr__(self, "beam_width", max(self.beam_width, self.n_best))

    @classmethod
    def resolve(
        cls, decoding: Decoding, order: str | None = None, beam_width: int | None = None, n_best: int = 1
    ) -> "PredictionOptions":
        """The given options, with the defaults of a model for the rest; raises `UserError` as the class does."""
        order = order or decoding.order
        if order not in list(Order):
            raise UserError(f"order is {order!r}, but must be one of {', '.join(Order)}")
        if beam_width is None:
            beam_width = 1 if order == Order.GREEDY else decoding.beam_width
        return cls(Order(order), beam_width, n_best)
