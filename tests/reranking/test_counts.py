"""Counting strings by their fingerprints."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.options import Symbols
from pipeline.data.alphabet import Alphabet
from pipeline.data.store import StringStore
from pipeline.reranking import counts
from pipeline.reranking.counts import Counts, fingerprints

ABC = Alphabet(Symbols.CHARACTERS, tuple("abc"))


@given(st.lists(st.text("abc", max_size=4)), st.lists(st.text("abc", max_size=4)))
def test_counts_are_those_of_a_dictionary(seen: list[str], asked: list[str]) -> None:
    counted = Counts.of(fingerprints(StringStore.of(seen, ABC)))[fingerprints(StringStore.of(asked, ABC))]
    assert counted.tolist() == [Counter(seen)[string] for string in asked]


def test_different_strings_have_different_fingerprints() -> None:
    rng = np.random.default_rng(0)
    strings = sorted({"".join(rng.choice(list("abc"), rng.integers(0, 12))) for _ in range(20_000)})
    assert len(np.unique(fingerprints(StringStore.of(strings, ABC)))) == len(strings)


def test_a_fingerprint_does_not_depend_on_the_other_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    strings = ["abc", "", "ca", "abc", "b"]
    whole = fingerprints(StringStore.of(strings, ABC))
    np.testing.assert_array_equal(whole, [fingerprints(StringStore.of([string], ABC))[0] for string in strings])
    monkeypatch.setattr(counts, "ROWS_AT_ONCE", 2)
    np.testing.assert_array_equal(fingerprints(StringStore.of(strings, ABC)), whole)
