"""Symbols, their ids, and alphabets on disk."""

import json
import unicodedata
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config.options import Symbols
from pipeline.data import alphabet
from pipeline.data.alphabet import CODE_POINTS, END, LARGEST_ALPHABET, PADDING, START, UNKNOWN, Alphabet, join, split
from pipeline.errors import UserError
from pipeline.text import MARKS, composed

characters = st.lists(st.text())
spaced = st.lists(st.lists(st.text(st.characters(exclude_characters=" "), min_size=1)).map(" ".join))


@given(characters)
def test_encode_then_decode_is_the_identity_for_characters(strings: list[str]) -> None:
    alphabet = Alphabet.of(strings, Symbols.CHARACTERS)
    assert [alphabet.decode(alphabet.encode(string)) for string in strings] == strings


@given(spaced)
def test_encode_then_decode_is_the_identity_for_symbols_between_spaces(strings: list[str]) -> None:
    alphabet = Alphabet.of(strings, Symbols.SPACES)
    assert [alphabet.decode(alphabet.encode(string)) for string in strings] == strings


@given(spaced, st.sampled_from(Symbols))
def test_join_is_the_inverse_of_split(strings: list[str], kind: Symbols) -> None:
    assert [join(split(string, kind), kind) for string in strings] == strings


@given(
    st.tuples(characters, st.just(Symbols.CHARACTERS)) | st.tuples(spaced, st.just(Symbols.SPACES)),
)
def test_encoding_all_is_encoding_each_end_to_end(strings_of_kind: tuple[list[str], Symbols]) -> None:
    strings, kind = strings_of_kind
    alphabet = Alphabet.of(strings[::2], kind)
    ids, offsets = alphabet.encode_all(strings)
    assert (ids.dtype, offsets.dtype) == (np.uint16, np.int64)
    rows = [ids[start:stop].tolist() for start, stop in pairwise(offsets)]
    assert rows == [alphabet.encode(string).tolist() for string in strings]


def test_symbols_are_numbered_from_4_in_code_point_order() -> None:
    alphabet = Alphabet.of(["ba", "č"], Symbols.CHARACTERS)
    assert alphabet.symbols == ("a", "b", "č")
    assert alphabet.encode("čab").tolist() == [6, 4, 5]
    assert len(alphabet) == 7


@given(characters, spaced, st.integers(1, 5))
def test_an_alphabet_holds_every_symbol_once_in_code_point_order(
    words: list[str], sounds: list[str], strings_at_once: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(alphabet, "STRINGS_AT_ONCE", strings_at_once)
        of_words, of_sounds = Alphabet.of(words, Symbols.CHARACTERS), Alphabet.of(sounds, Symbols.SPACES)
    assert of_words.symbols == tuple(sorted(set("".join(words))))
    assert of_sounds.symbols == tuple(sorted({symbol for sound in sounds for symbol in sound.split(" ") if symbol}))


def test_phonemes_are_symbols_as_a_whole() -> None:
    alphabet = Alphabet.of(["F AO R K", "AO"], Symbols.SPACES)
    assert alphabet.symbols == ("AO", "F", "K", "R")
    assert alphabet.encode("R AO").tolist() == [7, 4]


@pytest.mark.parametrize(("kind", "string"), [(Symbols.CHARACTERS, "a\U0001f600a"), (Symbols.SPACES, "a A a")])
def test_an_unseen_symbol_becomes_unknown_and_prints_as_a_replacement_character(kind: Symbols, string: str) -> None:
    alphabet = Alphabet(kind, ("a",))
    assert alphabet.encode(string).tolist() == [4, UNKNOWN, 4]
    assert alphabet.decode(alphabet.encode(string)) == join(["a", "\ufffd", "a"], kind)


def test_a_lone_surrogate_is_unknown_and_not_a_crash() -> None:
    assert Alphabet(Symbols.CHARACTERS, ("a",)).encode("a\ud800").tolist() == [4, UNKNOWN]


def test_decoding_skips_start_and_stops_at_end_or_padding() -> None:
    alphabet = Alphabet(Symbols.CHARACTERS, ("a", "b"))
    assert alphabet.decode([START, 4, 5, END, 4]) == "ab"
    assert alphabet.decode([5, PADDING, 4]) == "b"


@given(characters, st.sampled_from(Symbols))
def test_a_saved_alphabet_loads_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, strings: list[str], kind: Symbols
) -> None:
    path = tmp_path_factory.getbasetemp() / "alphabet.json"
    encodable = [string.encode("utf-8", "ignore").decode() for string in strings]
    alphabet = Alphabet.of([string for string in encodable if kind is Symbols.CHARACTERS or " " not in string], kind)
    alphabet.save(path)
    assert Alphabet.load(path) == alphabet


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff",
        b"[]",
        b"3",
        b"{}}",
        b'{"kind": "characters", "symbols": ["a"]}',
        b'{"kind": "characters", "symbols": "a"}',
        b'{"kind": "characters", "symbols": [1]}',
        b'{"kind": "characters", "symbols": [["a"]]}',
        b'{"kind": ["characters"], "symbols": ["a"]}',
        b'{"kind": "characters", "symbols": ["\\ud800"]}',
        b"{}",
        b"[" * 100_000,
        b'{"kind": "words", "symbols": []}',
        b'{"kind": "characters", "symbols": 3}',
        b'{"kind": "characters", "symbols": ["ab"]}',
        b'{"kind": "characters", "symbols": ["a", "a"]}',
        b'{"kind": "spaces", "symbols": ["a b"]}',
        b'{"kind": "spaces", "symbols": [""]}',
    ],
)
def test_a_file_that_is_no_alphabet_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "alphabet.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"alphabet\.json is not an alphabet"):
        Alphabet.load(path)


@settings(max_examples=50)
@given(st.data())
def test_a_saved_alphabet_with_a_changed_byte_loads_as_it_was_or_not_at_all(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / "changed.json"
    alphabet = Alphabet(Symbols.CHARACTERS, ("a", "b", "č", "\U0001f600"))
    alphabet.save(path)
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        loaded = Alphabet.load(path)
    except UserError:
        return
    assert loaded == alphabet


def test_an_alphabet_of_another_symbol_in_the_same_place_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "alphabet.json"
    Alphabet(Symbols.CHARACTERS, ("a", "b")).save(path)
    path.write_text(path.read_text(encoding="utf-8").replace('"b"', '"c"'), encoding="utf-8")
    with pytest.raises(UserError, match=r"alphabet\.json is not an alphabet: it is damaged"):
        Alphabet.load(path)


def test_a_lone_surrogate_is_no_symbol_of_a_saved_alphabet(tmp_path: Path) -> None:
    path = tmp_path / "alphabet.json"
    path.write_text(json.dumps(Alphabet(Symbols.CHARACTERS, ("\ud800",))._content()), encoding="utf-8")
    with pytest.raises(UserError, match=r"alphabet\.json is not an alphabet"):
        Alphabet.load(path)


# Composing


@given(st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("ac\u0301\u0323\u0344\u0f73\u1100\u1161")))
def test_composing_is_normal_form_c(string: str) -> None:
    assert composed(string) == unicodedata.normalize("NFC", string)


@pytest.mark.parametrize("pair", ["\u0301\u0323", "\u0f73\u0f71"])
def test_more_marks_out_of_order_than_any_script_has_are_refused(pair: str) -> None:
    assert composed("a" + pair * 15) == unicodedata.normalize("NFC", "a" + pair * 15)
    with pytest.raises(ValueError, match="more than 30 combining marks in a row"):
        composed("a" + pair * 16)


def test_what_is_composed_already_stays_however_many_marks_it_has() -> None:
    assert composed("á" + "\u0301" * 100) == "á" + "\u0301" * 100


def test_no_character_that_has_to_be_put_in_order_is_overlooked() -> None:
    marks = [
        point
        for point in range(CODE_POINTS)
        if not 0xD800 <= point <= 0xDFFF and unicodedata.combining(unicodedata.normalize("NFD", chr(point))[0])
    ]
    assert len(marks) > 800
    assert set(marks) <= set(MARKS)


def test_more_symbols_than_ids_are_refused() -> None:
    symbols = [str(number) for number in range(LARGEST_ALPHABET)]
    assert Alphabet(Symbols.SPACES, tuple(symbols)).encode(symbols[-1]).tolist() == [2**16 - 1]
    with pytest.raises(UserError, match="65,533 different symbols"):
        Alphabet(Symbols.SPACES, (*symbols, "x"))
