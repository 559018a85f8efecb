"""Copying the source, and looking it up in the pairs."""

from pipeline.config.options import Symbols
from pipeline.data.alphabet import Alphabet
from pipeline.data.examples import Example
from pipeline.evaluation.evaluate import controls, identity, lookup

CHARACTERS = Alphabet(Symbols.CHARACTERS, tuple("abcd"))
SPACED = Alphabet(Symbols.SPACES, tuple("abcd"))
PHONEMES = Alphabet(Symbols.SPACES, ("AA", "B"))
PAIRS = [Example("ab", "ba"), Example("ab", "cd"), Example("ab", "cd"), Example("c", "d"), Example("c", "a")]


def test_identity_copies() -> None:
    assert identity(["ab", "xyz", ""], CHARACTERS, CHARACTERS) == ["ab", "xyz", ""]


def test_a_copy_is_written_as_targets_are() -> None:
    assert identity(["a b"], SPACED, CHARACTERS) == ["ab"]
    assert identity(["ab"], CHARACTERS, SPACED) == ["a b"]


def test_lookup_gives_the_most_frequent_target_and_of_equally_frequent_ones_the_first() -> None:
    assert lookup(PAIRS, ["ab", "c"], CHARACTERS, CHARACTERS) == ["cd", "d"]


def test_lookup_copies_what_it_has_not_seen() -> None:
    assert lookup(PAIRS, ["b", "ab", "b"], CHARACTERS, CHARACTERS) == ["b", "cd", "b"]
    assert lookup([], ["a b"], SPACED, CHARACTERS) == ["ab"]


def test_nothing_can_be_copied_where_the_alphabets_have_no_symbol_in_common() -> None:
    assert list(controls(PAIRS, ["ab"], CHARACTERS, CHARACTERS)) == ["identity", "lookup"]
    assert list(controls([Example("AA B", "ab")], ["AA B"], PHONEMES, CHARACTERS)) == ["lookup"]
