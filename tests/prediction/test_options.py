"""The one rule for order, beam width and n-best list."""

import pytest

from pipeline.config.params import Decoding, Order
from pipeline.errors import UserError
from pipeline.prediction.predictor import PredictionOptions

RERANK = Decoding(order=Order.RERANK, beam_width=8, neighbours=2, ensemble=False, seed=0)


@pytest.mark.parametrize(
    ("asked", "options"),
    [
        ({}, PredictionOptions(Order.RERANK, 8, 1)),
        ({"n_best": 3}, PredictionOptions(Order.RERANK, 8, 3)),
        ({"n_best": 20}, PredictionOptions(Order.RERANK, 20, 20)),
        ({"order": "beam", "beam_width": 2, "n_best": 5}, PredictionOptions(Order.BEAM, 5, 5)),
        ({"order": "greedy"}, PredictionOptions(Order.GREEDY, 1, 1)),
        ({"order": "greedy", "beam_width": 1}, PredictionOptions(Order.GREEDY, 1, 1)),
    ],
)
def test_what_is_not_asked_for_is_the_default_and_the_beam_holds_the_n_best(
    asked: dict[str, object], options: PredictionOptions
) -> None:
    assert PredictionOptions.resolve(RERANK, **asked) == options  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"order": "greedy", "n_best": 3}, "n_best is 3, but order greedy writes one hypothesis .* ask for order beam"),
        ({"order": "greedy", "beam_width": 2}, "beam_width is 2, but order greedy writes one hypothesis"),
        ({"n_best": 0}, "n_best is 0, but must be a whole number from 1 to 100"),
        ({"n_best": True}, "n_best is True, but must be a whole number from 1 to 100"),
        ({"beam_width": 101}, "beam_width is 101, but must be a whole number from 1 to 100"),
        ({"beam_width": 1.5}, "beam_width is 1.5, but must be a whole number"),
        ({"alignment": 1}, "alignment is 1, but must be true or false"),
        ({"order": "best"}, "order is 'best', but must be one of greedy, beam, rerank"),
        ({"order": ["beam"]}, "order is .* but must be one of greedy, beam, rerank"),
    ],
)
def test_other_combinations_and_values_are_refused_with_a_sentence(asked: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        PredictionOptions.resolve(RERANK, **asked)  # type: ignore[arg-type]
