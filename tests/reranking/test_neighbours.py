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


def near(listed: list[str], groups: list[list[str]], edits: int = 1, from_first: int = 3) -> list[list[str]]:
    found = Neighbourhood.of(StringStore.of(listed, ABC), 100)
    queries = StringStore.of([query for group in groups for query in group], ABC)
    rows_of_groups = found.near(queries, np.cumsum([0, *map(len, groups)]), edits, from_first)
    return [[strings(found)[row] for row in rows] for rows in rows_of_groups]


@given(
    st.lists(st.text("abc", min_size=1, max_size=6), min_size=1, unique=True),
    st.lists(st.lists(st.text("abc"), min_size=1), min_size=1),
)
def test_all_strings_within_the_distances_and_no_others(listed: list[str], groups: list[list[str]]) -> None:
    for group, found in zip(groups, near(listed, groups), strict=True):
        near_first = [string for string in listed if Levenshtein.distance(group[0], string) <= 3]
        assert sorted(found) == sorted(
            string for string in near_first if any(Levenshtein.distance(query, string) <= 1 for query in group)
        )


def test_parts_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    listed, groups = ["a", "ab", "abc", "cab", "bbbb"], [["ab", "ba"], ["cc", "b"], ["b"]] * 3
    whole = near(listed, groups)
    monkeypatch.setattr(neighbours, "CELLS_AT_ONCE", 5)
    assert near(listed, groups) == whole


def test_symbols_of_several_characters_count_as_one() -> None:
    phonemes = Alphabet(Symbols.SPACES, ("AA", "AE", "B"))
    store = StringStore.of(["B AA", "B AE B AE"], phonemes)
    [rows] = Neighbourhood.of(store, 10).near(StringStore.of(["B AE"], phonemes), np.array([0, 1]), 1, 1)
    assert rows.tolist() == [0]


def test_of_a_longer_list_an_even_selection_is_kept() -> None:
    store = StringStore.of(["a", "b", "c", "aa", "bb"], ABC)
    assert strings(Neighbourhood.of(store, 3)) == ["a", "c", "bb"]


def test_equal_strings_are_one_and_short_ones_come_first() -> None:
    assert strings(Neighbourhood.of(StringStore.of(["ab", "c", "ab", "aa"], ABC), 10)) == ["c", "aa", "ab"]


def test_the_largest_id_has_a_character() -> None:
    assert len(comparable(StringStore(np.array([0xFFFF, 0xD800], dtype=np.uint16), np.array([0, 2])))[0]) == 2
