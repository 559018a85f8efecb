"""Predictions that take no training, to hold strategies against: the source as it is, and a look into the pairs."""

from collections import Counter
from collections.abc import Iterable, Sequence

from pipeline.data.alphabet import Alphabet, join, split
from pipeline.data.examples import Example

IDENTITY, LOOKUP = "identity", "lookup"


def identity(sources: Iterable[str], source_alphabet: Alphabet, target_alphabet: Alphabet) -> list[str]:
    """Each source copied: its symbols, written as the targets write theirs."""
    return [join(split(source, source_alphabet.kind), target_alphabet.kind) for source in sources]


def lookup(
    pairs: Iterable[Example], sources: Sequence[str], source_alphabet: Alphabet, target_alphabet: Alphabet
) -> list[str]:
    """The most frequent target that the pairs give each source, the earliest of several; an unseen source is copied."""
    best: dict[str, str] = {}
    for (source, target), _ in Counter((pair.source, pair.target) for pair in pairs).most_common():
        best.setdefault(source, target)
    copies = identity(sources, source_alphabet, target_alphabet)
    return [best.get(source, copy) for source, copy in zip(sources, copies, strict=True)]


def controls(
    pairs: Iterable[Example], sources: Sequence[str], source_alphabet: Alphabet, target_alphabet: Alphabet
) -> dict[str, list[str]]:
    """The predictions of each control by its name; without `identity` where the alphabets have no symbol in common."""
    found = {LOOKUP: lookup(pairs, sources, source_alphabet, target_alphabet)}
    if set(source_alphabet.symbols).isdisjoint(target_alphabet.symbols):
        return found
    return {IDENTITY: identity(sources, source_alphabet, target_alphabet), **found}
