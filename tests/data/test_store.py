"""Strings as flat ids and offsets."""

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config.options import Symbols
from pipeline.data import alphabet, store
from pipeline.data.alphabet import END, PADDING, START, Alphabet
from pipeline.data.store import PackedStrings, StringStore
from pipeline.errors import UserError

ABC = Alphabet(Symbols.CHARACTERS, ("a", "b", "c"))  # ids 4, 5, 6


def test_rows_lie_end_to_end_between_their_offsets() -> None:
    strings = StringStore.of(["ab", "", "cab"], ABC)
    assert strings.ids.tolist() == [4, 5, 6, 4, 5]
    assert strings.offsets.tolist() == [0, 2, 2, 5]
    assert len(strings) == 3
    assert strings.lengths(np.array([2, 0])).tolist() == [3, 2]


def test_rows_are_padded_to_the_longest_one_asked_for() -> None:
    strings = StringStore.of(["ab", "", "cab"], ABC)
    assert strings.padded(np.array([0, 1])).tolist() == [[4, 5], [0, 0]]
    assert strings.padded(np.array([2, 0])).tolist() == [[6, 4, 5], [4, 5, 0]]


def test_the_end_symbol_follows_the_last_symbol_of_each_row() -> None:
    strings = StringStore.of(["ab", "", "cab"], ABC)
    padded = strings.padded(np.array([0, 1, 2]), end=True)
    assert padded.dtype == np.int32
    assert padded.tolist() == [[4, 5, END, 0], [END, 0, 0, 0], [6, 4, 5, END]]


def test_no_rows_and_empty_rows_are_matrices_of_width_zero() -> None:
    strings = StringStore.of(["", ""], ABC)
    assert strings.padded(np.array([], dtype=np.int64)).shape == (0, 0)
    assert strings.padded(np.array([0, 1])).shape == (2, 0)
    assert len(StringStore.of([], ABC)) == 0


@given(st.lists(st.text()), st.booleans())
def test_a_padded_row_decodes_to_its_string(strings: list[str], end: bool) -> None:
    symbols = Alphabet.of(strings, Symbols.CHARACTERS)
    padded = StringStore.of(strings, symbols).padded(np.arange(len(strings)), end)
    assert [symbols.decode(row) for row in padded] == strings


def test_encoding_in_parts_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    strings = ["ab", "", "cab", "c", "aa"]
    whole = StringStore.of(strings, ABC)
    monkeypatch.setattr(alphabet, "STRINGS_AT_ONCE", 2)
    parts = StringStore.of(strings, ABC)
    assert parts.ids.tolist() == whole.ids.tolist()
    assert parts.offsets.tolist() == whole.offsets.tolist()


@given(st.lists(st.text(st.characters(exclude_characters="\n"))), st.integers(1, 5))
def test_packed_strings_are_gone_through_as_they_came(strings: list[str], strings_at_once: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(alphabet, "STRINGS_AT_ONCE", strings_at_once)
        packed = PackedStrings.of(iter(strings))
    assert list(packed) == strings
    assert len(packed) == len(strings)
    assert all(string in packed for string in strings)
    assert "\n" not in packed


@pytest.mark.parametrize("strings", [["ab", "", "cab"], ["", ""], []])
def test_a_saved_store_opens_as_it_was_without_reading_it(tmp_path: Path, strings: list[str]) -> None:
    saved = StringStore.of(strings, ABC)
    saved.save(tmp_path / "x")
    opened = StringStore.open(tmp_path / "x")
    assert isinstance(opened.ids, np.memmap)
    assert opened.ids.tolist() == saved.ids.tolist()
    assert opened.offsets.tolist() == saved.offsets.tolist()


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


WHOLE = npy(np.array([4, 5], dtype=np.uint16))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\x03\x04 begins like a zip file",
        WHOLE[:-1],
        WHOLE[:60],
        WHOLE.replace(b"(2,)", b"(2(("),
        npy(np.array([4, 5, 6], dtype=np.uint16)),
        npy(np.array([4, 5], dtype=np.int64)),
        npy(np.array([[4, 5]], dtype=np.uint16)),
        npy(np.array([None, "code"], dtype=object)),
    ],
)
def test_damaged_ids_are_an_error_that_says_what_to_run(tmp_path: Path, content: bytes) -> None:
    StringStore.of(["ab"], ABC).save(tmp_path / "x")
    (tmp_path / "x.ids.npy").write_bytes(content)
    with pytest.raises(UserError, match=r"x is not a store of strings .* run `dvc repro prepare`"):
        StringStore.open(tmp_path / "x")


@pytest.mark.parametrize("offsets", [[0, 2, 1, 2], [0, -1, 2], [1, 2], [0, 1], [0, 3], []])
def test_offsets_that_do_not_ascend_from_0_to_the_end_are_damage(tmp_path: Path, offsets: list[int]) -> None:
    StringStore.of(["ab"], ABC).save(tmp_path / "x")
    np.save(tmp_path / "x.offsets.npy", np.array(offsets, dtype=np.int64))
    with pytest.raises(UserError, match="ids and offsets do not fit"):
        StringStore.open(tmp_path / "x")


def test_the_largest_id_is_found_wherever_it_stands() -> None:
    assert StringStore.of(["ab", "cab"], ABC).largest() == 6
    assert StringStore.of([], ABC).largest() == 0


def test_taken_rows_are_a_store_in_that_order() -> None:
    taken = StringStore.of(["ab", "", "cab"], ABC).take(np.array([2, 1, 2]))
    assert taken.ids.tolist() == [6, 4, 5, 6, 4, 5]
    assert taken.offsets.tolist() == [0, 3, 3, 6]


def test_spans_count_on_from_their_starts() -> None:
    places, offsets = store.spans(np.array([7, 2, 0]), np.array([2, 0, 3]))
    assert places.tolist() == [7, 8, 0, 1, 2]
    assert offsets.tolist() == [0, 2, 2, 5]


def test_pairs_of_similar_lengths_come_together_and_those_with_an_empty_side_not_at_all() -> None:
    sources, targets = (StringStore.of(strings, ABC) for strings in (["a", "", "abc", "b"], ["b", "a", "abc", "c"]))
    assert [rows.tolist() for rows in store.similar_pairs(sources, targets, cells=10)] == [[0, 3], [2]]


def test_neighbours_by_hand() -> None:
    ids = np.array([[4, 5], [6, 0]], dtype=np.int32)
    found = [places.tolist() for places in store.neighbours(ids, (-1, 1, -2))]
    assert found == [[START, 4, START], [5, END, END], [PADDING, START, PADDING]]


def test_arrays_of_any_depth_are_loaded_as_they_were_saved(tmp_path: Path) -> None:
    strings, numbers = StringStore.of(["ab", "", "cab"], ABC), np.array([0.5, -np.inf])
    for name in ("one", "two"):
        store.save_arrays(tmp_path / name, numbers=numbers, strings=strings, both=(strings, strings))
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    loaded = store.load_arrays(tmp_path / "one")
    np.testing.assert_array_equal(loaded["numbers"], numbers)
    for arrays in (loaded["strings"], *loaded["both"].values()):
        np.testing.assert_array_equal(arrays["ids"], strings.ids)
        np.testing.assert_array_equal(arrays["offsets"], strings.offsets)


@settings(max_examples=50)
@given(st.integers(0, 200), st.integers(0, 255), st.sampled_from(["ids", "offsets"]), st.booleans())
def test_a_store_with_a_changed_byte_opens_with_whole_rows_or_not_at_all(
    tmp_path_factory: pytest.TempPathFactory, place: int, byte: int, half: str, cut: bool
) -> None:
    prefix = tmp_path_factory.getbasetemp() / "changed"
    StringStore.of(["ab", "", "cab"], ABC).save(prefix)
    path = prefix.with_name(f"changed.{half}.npy")
    content = bytearray(path.read_bytes())
    place %= len(content)
    content[place] = byte
    path.write_bytes(content[:place] if cut else content)
    try:
        opened = StringStore.open(prefix)
    except UserError:
        return
    assert opened.lengths(np.arange(len(opened))).sum() == len(opened.ids)
    assert opened.padded(np.arange(len(opened))).max() == opened.largest()


def test_a_missing_half_is_an_error(tmp_path: Path) -> None:
    StringStore.of(["ab"], ABC).save(tmp_path / "x")
    (tmp_path / "x.offsets.npy").unlink()
    with pytest.raises(UserError, match="run `dvc repro prepare`"):
        StringStore.open(tmp_path / "x")
