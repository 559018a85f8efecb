"""The language model: a distribution, smoothed by hand, better than what it is compared with."""

from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.config.options import Symbols
from pipeline.data.alphabet import END, PADDING, START, UNKNOWN, Alphabet, Ids
from pipeline.data.store import StringStore, load_arrays, save_arrays
from pipeline.reranking import language_model
from pipeline.reranking.language_model import CharacterLanguageModel

ABC = Alphabet(Symbols.CHARACTERS, tuple("abc"))
A, B, C = range(4, 7)


def store(*strings: str) -> StringStore:
    return StringStore.of(strings, ABC)


def learned(*strings: str, order: int = 3) -> CharacterLanguageModel:
    return CharacterLanguageModel.learn(store(*strings), len(ABC), order=order)


def next_symbol(model: CharacterLanguageModel, prefix: Sequence[int] | Ids) -> NDArray[np.float64]:
    """Probability of each id to follow the ids of a prefix, float64 [V]; END is that nothing follows."""
    order, V = len(model.levels), model.alphabet_size
    context = np.concatenate([np.full(order, START), prefix])[len(prefix) + 1 :]
    streams = np.column_stack([np.tile(context, (V, 1)), np.arange(V)]).astype(np.int64)
    probabilities = model._probabilities(streams.ravel(), np.arange(1, V + 1) * order - 1)
    probabilities[[PADDING, START]] = 0.0
    return probabilities


@given(st.lists(st.text("abc", max_size=5), min_size=1), st.integers(1, 5), st.text("abc?", max_size=6))
def test_the_probabilities_of_all_next_symbols_sum_to_one(strings: list[str], order: int, prefix: str) -> None:
    found = next_symbol(learned(*strings, order=order), ABC.encode(prefix))
    assert found.sum() == pytest.approx(1, abs=1e-6)
    assert (found[[END, UNKNOWN, A, B, C]] > 0).all()
    assert (found[[PADDING, START]] == 0).all()


def test_the_probability_of_a_string_is_that_of_its_symbols_and_its_end() -> None:
    model = learned("abc", "abca", "ba")
    parts = [next_symbol(model, [])[A], next_symbol(model, [A])[B], next_symbol(model, [A, B])[END]]
    assert model.log_probabilities(store("ab"))[0] == pytest.approx(np.log(parts).sum(), abs=1e-6)


def test_short_strings_take_most_of_the_probability() -> None:
    model = learned("a", "ab", "b")
    strings = ["".join(symbols) for length in range(8) for symbols in product("abc", repeat=length)]
    assert 0.85 < np.exp(model.log_probabilities(store(*strings))).sum() < 1  # the rest: longer, or unknown symbols


def test_discounts_by_hand() -> None:
    # Of the symbols after nothing: a and the end follow two different symbols, b one. Too few to estimate discounts.
    unigrams = next_symbol(learned("ab", "a", order=2), [C])  # c was never seen: only the shorter n-grams speak
    at_start, after_a, after_b = 1, 2, 1  # a after START; b and END after a; END after b
    total = at_start + after_a + after_b
    uniform = (0.5 + 0.5 + 1.0) / total / 5  # discounts of a (1), b (1), END (2); END, unknown, a, b, c
    assert unigrams[A] == pytest.approx(0.5 / total + uniform)
    assert unigrams[B] == pytest.approx(0.5 / total + uniform)
    assert unigrams[END] == pytest.approx(1.0 / total + uniform)
    assert unigrams[C] == pytest.approx(uniform)


def test_a_symbol_counts_by_the_contexts_it_follows_not_by_how_often() -> None:
    model = learned("ab", "ab", "ab", "ab", "ac", "bc", "cc", order=2)
    after_unknown = next_symbol(model, [UNKNOWN])
    assert after_unknown[C] > after_unknown[B]  # b is as frequent, but always after a


def test_at_the_start_a_symbol_counts_by_how_often() -> None:
    model = learned("ab", "ac", "aa", "b", order=4)
    assert next_symbol(model, [])[A] > 2 * next_symbol(model, [])[B]


def test_repeated_strings_are_likelier() -> None:
    few, many = (learned("abc", *["cab"] * times).log_probabilities(store("cab"))[0] for times in (1, 20))
    assert many > few


def test_a_row_that_counts_thrice_is_as_good_as_three_rows() -> None:
    strings, times = store("abc", "cab", "b"), np.array([3, 1, 2])
    repeated = learned(*["abc"] * 3, "cab", *["b"] * 2)
    weighted = CharacterLanguageModel.learn(strings, len(ABC), times, order=3)
    asked = store("abc", "cab", "b", "ca", "")
    np.testing.assert_array_equal(weighted.log_probabilities(asked), repeated.log_probabilities(asked))


def test_counting_and_scoring_in_parts_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    strings = store(*("".join(rng.choice(list("abc"), rng.integers(0, 7))) for _ in range(50)))
    whole = CharacterLanguageModel.learn(strings, len(ABC), order=4).log_probabilities(strings)
    monkeypatch.setattr(language_model, "ROWS_AT_ONCE", 7)
    model = CharacterLanguageModel.learn(strings, len(ABC), order=4)
    np.testing.assert_allclose(model.log_probabilities(strings), whole)


def test_longer_contexts_predict_held_out_strings_better() -> None:
    rng = np.random.default_rng(0)
    words = ["".join(rng.choice(["ab", "bca", "cc", "a"], rng.integers(1, 5))) for _ in range(2000)]
    scores = [learned(*words[:1500], order=order).log_probabilities(store(*words[1500:])).mean() for order in (1, 2, 4)]
    assert scores == sorted(scores)


def test_an_alphabet_too_large_for_the_order_gets_a_lower_one() -> None:
    strings = StringStore(np.array([5, 60_000, 7], dtype=np.uint16), np.array([0, 2, 3]))
    model = CharacterLanguageModel.learn(strings, 2**16, order=6)
    assert len(model.levels) == 3
    assert np.isfinite(model.log_probabilities(strings)).all()


def test_nothing_to_learn_from_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one string"):
        learned()


def test_a_model_of_saved_levels_is_the_same(tmp_path: Path) -> None:
    model, strings = learned("abc", "ab", "ccc"), store("abc", "", "bbb")
    save_arrays(tmp_path / "levels.npz", levels=model.levels)
    again = CharacterLanguageModel.of_levels(load_arrays(tmp_path / "levels.npz")["levels"], len(ABC))
    np.testing.assert_array_equal(again.log_probabilities(strings), model.log_probabilities(strings))
