"""Neighbours by edit distance in symbols."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rapidfuzz.distance import Levenshtein

from pipeline.config.options import Symbols
from pipeline.data.alphabet import Alphabet
from pipeline.data.store import StringStore
from pipeline.reranking import neighbours
from pipeline.reranking.neighbours import Neighbourhood, comparable

ABC = Alphabet(Symbols.CHARACTERS, tuple("abc"))


def strings(found: Neighbourhood) -> list[str]:
    return [ABC.decode(ids) for ids in found.store.padded(np.arange(len(found.store)))]


def near(listed: list[str], queries: list[str], edits: int = 2) -> list[list[str]]:
    found = Neighbourhood.of(StringStore.of(listed, ABC), 100)
    return [[strings(found)[row] for row in rows] for rows in found.near(StringStore.of(queries, ABC), edits)]


@given(st.lists(st.text("abc", min_size=1, max_size=6), min_size=1, unique=True), st.lists(st.text("abc"), min_size=1))
def test_all_strings_within_the_distance_and_no_others(listed: list[str], queries: list[str]) -> None:
    for query, found in zip(queries, near(listed, queries), strict=True):
        assert sorted(found) == sorted(string for string in listed if Levenshtein.distance(query, string) <= 2)


def test_parts_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    listed, queries = ["a", "ab", "abc", "cab", "bbbb"], ["ab", "ba", "cc", "b"] * 3
    whole = near(listed, queries)
    monkeypatch.setattr(neighbours, "CELLS_AT_ONCE", 5)
    assert near(listed, queries) == whole


def test_symbols_of_several_characters_count_as_one() -> None:
    phonemes = Alphabet(Symbols.SPACES, ("AA", "AE", "B"))
    store = StringStore.of(["B AA", "B AE B AE"], phonemes)
    [rows] = Neighbourhood.of(store, 10).near(StringStore.of(["B AE"], phonemes), edits=1)
    assert rows.tolist() == [0]


def test_of_a_longer_list_an_even_selection_is_kept() -> None:
    store = StringStore.of(["a", "b", "c", "aa", "bb"], ABC)
    assert strings(Neighbourhood.of(store, 3)) == ["a", "c", "bb"]


def test_equal_strings_are_one_and_short_ones_come_first() -> None:
    assert strings(Neighbourhood.of(StringStore.of(["ab", "c", "ab", "aa"], ABC), 10)) == ["c", "aa", "ab"]


def test_the_largest_id_has_a_character() -> None:
    assert len(comparable(StringStore(np.array([0xFFFF, 0xD800], dtype=np.uint16), np.array([0, 2])))[0]) == 2
