"""What counts as right, and how edits are counted; numbers worked out by hand."""

import pandas as pd
import pytest

from pipeline.config.options import Symbols
from pipeline.data.scoring import accuracy, error_rate, score


def first_row(prediction: str, target: str, accepted: set[str], symbols: Symbols = Symbols.CHARACTERS) -> tuple:
    return tuple(score([prediction], [target], [accepted], symbols).iloc[0])


def test_score_counts_edits_to_the_target() -> None:
    assert first_row("kitten", "sitting", {"sitting"}) == (False, 3, 7)


def test_any_accepted_spelling_is_correct() -> None:
    assert first_row("forke", "fork", {"fork", "forke"}) == (True, 0, 5)


def test_edits_are_counted_to_the_closest_accepted_target() -> None:
    assert first_row("write", "right", {"right", "wright", "writer"}) == (False, 1, 6)


def test_among_equally_close_targets_the_own_target_gives_the_length() -> None:
    # "ab" is one edit from each: an insertion or a deletion.
    assert first_row("ab", "abc", {"a", "abc"}) == (False, 1, 3)


def test_among_other_equally_close_targets_the_first_in_code_point_order_gives_the_length() -> None:
    assert first_row("ab", "wxyz", {"abc", "a", "wxyz"}) == (False, 1, 1)


def test_symbols_between_spaces_are_edited_as_wholes() -> None:
    assert first_row("F AO R", "F AO R K", {"F AO R K"}, Symbols.SPACES) == (False, 1, 4)
    assert first_row("F AH R K", "F AO R K", {"F AO R K"}, Symbols.SPACES) == (False, 1, 4)


def test_an_empty_prediction_costs_the_whole_target() -> None:
    assert first_row("", "fork", {"fork"}) == (False, 4, 4)
    assert first_row("", "F AO", {"F AO"}, Symbols.SPACES) == (False, 2, 2)


def test_score_has_its_columns_and_types_even_without_items() -> None:
    table = score([], [], [], Symbols.CHARACTERS)
    assert {name: str(kind) for name, kind in table.dtypes.items()} == {
        "correct": "bool",
        "edits": "int64",
        "length": "int64",
    }


def test_score_refuses_lists_of_different_lengths_and_items_that_accept_nothing() -> None:
    with pytest.raises(ValueError, match="shorter"):
        score(["a", "b"], ["a"], [{"a"}], Symbols.CHARACTERS)
    with pytest.raises(ValueError, match="nothing is accepted for the target 'b'"):
        score(["a"], ["b"], [set()], Symbols.CHARACTERS)


def test_accuracy_and_error_rate_are_over_all_items() -> None:
    scores = pd.DataFrame({"correct": [True, False], "edits": [0, 3], "length": [4, 2]})
    assert accuracy(scores) == 0.5
    assert error_rate(scores) == 0.5
