"""The channel: the probability of a source for a target, over all ways to cut it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config.options import Symbols
from pipeline.data.alignment import Edits, _Lattice, align, same_symbols
from pipeline.data.alphabet import Alphabet
from pipeline.data.store import StringStore
from pipeline.reranking.channel import STRENGTH, Channel

ABC = Alphabet(Symbols.CHARACTERS, tuple("abc"))
SAME = same_symbols(ABC, ABC)
PAIRS = [("ab", "ab"), ("cca", "ca"), ("b", "bc"), ("abb", "ab"), ("ca", "ca"), ("aab", "cab"), ("a", "a")]


def stores(pairs: list[tuple[str, str]]) -> tuple[StringStore, StringStore]:
    return StringStore.of([source for source, _ in pairs], ABC), StringStore.of([target for _, target in pairs], ABC)


def learned(pairs: list[tuple[str, str]] = PAIRS) -> Channel:
    sources, targets = stores(pairs)
    return Channel.learn(sources, targets, align(sources, targets, SAME, len(ABC)))


def edits_by_hand() -> Edits:
    """Every target symbol gives a with 0.8 at first and 0.3 further, or nothing."""
    first, further = np.full((2, 7, 7), 1e-9)
    first[4], further[4] = 0.8, 0.3
    return Edits(np.log(first), np.log(further), np.log(np.full(7, 0.2)), np.log(np.full(7, 0.7)))


def test_without_counts_the_edits_alone_decide() -> None:
    one_each, both_in_one = (0.8 * 0.7) ** 2, 2 * 0.2 * 0.8 * 0.3 * 0.7
    bare = Channel(edits_by_hand(), np.zeros(1, dtype=np.int64), ())
    found = bare.log_probabilities(*stores([("aa", "ab")]))
    assert np.exp(found[0]) == pytest.approx(one_each + both_in_one)


def test_counts_weigh_against_the_edits_by_hand() -> None:
    model = learned([("a", "a")] * 3)  # in each of five contexts seen three times, always as a
    keep = STRENGTH / (STRENGTH + 3)
    by_edits = np.exp(model.edits.first[4, 4] + model.edits.stop[4])
    expected = (1 - keep**5) + keep**5 * by_edits
    assert np.exp(model.log_probabilities(*stores([("a", "a")])))[0] == pytest.approx(expected, rel=1e-5)


def test_what_the_pairs_do_is_likely() -> None:
    found = learned().log_probabilities(*stores([("cca", "ca"), ("bba", "ca"), ("ca", "bb")]))
    assert found[0] > found[1]
    assert found[0] > found[2]


def test_the_context_tells_apart_what_the_symbol_alone_cannot() -> None:
    model = learned([("ac", "ab"), ("cb", "cb")] * 10)  # b is c after a, and b after c
    found = model.log_probabilities(*stores([("ac", "ab"), ("ab", "ab"), ("cb", "cb"), ("cc", "cb")]))
    assert found[0] > found[1]
    assert found[2] > found[3]


@settings(max_examples=30)
@given(st.lists(st.tuples(st.text("abc", min_size=1, max_size=6), st.text("abc", min_size=1, max_size=5)), min_size=1))
def test_other_pairs_in_the_batch_change_nothing(pairs: list[tuple[str, str]]) -> None:
    model = learned()
    alone = [model.log_probabilities(*stores([pair]))[0] for pair in pairs]
    np.testing.assert_allclose(model.log_probabilities(*stores(pairs)), alone, rtol=1e-6)


def test_the_sources_of_a_target_share_one() -> None:
    model = learned()
    sources = [""]
    total = 0.0
    for _ in range(7):
        sources = [source + symbol for source in sources for symbol in "abc"]
        total += np.exp(model.log_probabilities(*stores([(source, "ca") for source in sources]))).sum()
    assert 0.8 < total < 1  # the rest: the empty source, longer ones, and the special ids


def test_empty_strings() -> None:
    found = learned().log_probabilities(*stores([("", ""), ("a", ""), ("", "a")]))
    assert found.tolist() == [0, -np.inf, -np.inf]


def test_the_longest_strings_keep_a_finite_probability() -> None:
    found = learned().log_probabilities(*stores([("b" * 60, "c" * 60), ("a" * 60, "c")]))
    assert np.isfinite(found).all()


def test_long_pieces_are_left_to_the_edits() -> None:
    pairs = [("aaaaaaa", "b"), ("aaaaaaa", "b"), ("c", "c")]
    model = learned(pairs)
    sources, targets = stores([("aaaaaaa", "b")])
    by_edits = _Lattice(sources, targets, np.array([0]), model.edits)._after(np.logaddexp)[0][0, 0, 0]
    assert model.log_probabilities(sources, targets)[0] == pytest.approx(by_edits)
