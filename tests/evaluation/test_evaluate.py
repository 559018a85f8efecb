"""Copying the source, and looking it up in the pairs."""

from types import SimpleNamespace
from typing import Any, cast

from pipeline.config.options import Symbols
from pipeline.data.alphabet import Alphabet
from pipeline.data.examples import Example
from pipeline.data.prepared import Prepared
from pipeline.evaluation.evaluate import evaluate_controls, identity, lookup

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
    def controls(pair: Example, source_alphabet: Alphabet) -> list[str]:
        data: Any = {"train": [pair], "test": [pair], "source_alphabet": source_alphabet, "target_alphabet": CHARACTERS}
        return [result.strategy for result in evaluate_controls(cast(Prepared, SimpleNamespace(**data)))]

    assert controls(PAIRS[0], CHARACTERS) == ["identity", "lookup"]
    assert controls(Example("AA B", "ab"), PHONEMES) == ["lookup"]
