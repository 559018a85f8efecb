"""Which parameters contradict each other, though each may be right by itself.

Values are plain, as in params.yaml, and known by their dotted names, so that those which are right can be held against
each other while others of the same file are wrong or missing.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

FILES = ("data.pairs", "data.targets", "data.dev", "data.test")
Check = Callable[..., str | None]


@dataclass(frozen=True)
class Rule:
    """check: gets the values of `names`, in their order; says what is wrong with them, if anything."""

    names: tuple[str, ...]
    check: Check


RULES: list[Rule] = []


def contradictions(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Every contradiction between `values`: the first name that it is about, and a sentence.

    A rule that needs a value which is not there says nothing.
    """
    for rule in RULES:
        if values.keys() >= set(rule.names) and (sentence := rule.check(*(values[name] for name in rule.names))):
            yield rule.names[0], sentence


def _rule(*names: str) -> Callable[[Check], Check]:
    def add(check: Check) -> Check:
        RULES.append(Rule(names, check))
        return check

    return add


@_rule("seeds")
def _no_seed_twice(seeds: list[int]) -> str | None:
    return f"seeds names a seed twice: {list(seeds)}" if len(set(seeds)) < len(seeds) else None


def _file_rules(name: str) -> None:
    @_rule(name, "data.source")
    def _dictionary_needs_no_files(path: str | None, source: str) -> str | None:
        if path is not None and source == "cmudict":
            return f"{name} must be null with data.source: cmudict; own data: `files`"
        return None

    @_rule(name)
    def _below_raw(path: str | None) -> str | None:
        if path is None:
            return None
        pure = PurePosixPath(path)
        if pure.is_absolute() or ".." in pure.parts or pure.parts[:2] != ("data", "raw"):
            return f"{name} is {path!r}, but must lie below data/raw, where DVC notices its changes"
        if not path.isprintable():
            return f"{name} is {path!r}, but a file's name must not have control characters"
        return None


for _name in FILES:
    _file_rules(_name)


@_rule("data.source", "data.source_symbols", "data.target_symbols")
def _symbols_of_the_dictionary(source: str, source_symbols: str, target_symbols: str) -> str | None:
    if source == "cmudict" and (source_symbols, target_symbols) != ("spaces", "characters"):
        return "data.source: cmudict has data.source_symbols: spaces and data.target_symbols: characters"
    return None


@_rule("data.source", "data.pairs", "data.targets")
def _files_are_named(source: str, pairs: str | None, targets: str | None) -> str | None:
    if source == "files" and (pairs is None or targets is None):
        return "data.source: files needs data.pairs and data.targets"
    return None


@_rule("model.bridge", "model.decoder")
def _repetition_has_one_embedding(bridge: str, decoder: str) -> str | None:
    if (bridge, decoder) == ("attention", "repeat"):
        return "model.bridge: attention needs model.decoder: autoregressive; a repeating decoder reads one embedding"
    return None


@_rule("model.units", "model.bidirectional")
def _directions_have_half_each(units: int, bidirectional: bool) -> str | None:
    if bidirectional and units % 2:
        return f"model.units is {units}, but model.bidirectional gives half to each direction"
    return None


@_rule("matcher.units", "matcher.encoder")
def _matcher_directions_have_half_each(units: int, encoder: str) -> str | None:
    if encoder == "lstm" and units % 2:
        return f"matcher.units is {units}, but each direction of the LSTM gets half of them"
    return None


@_rule("matcher.neighbours", "matcher.candidates")
def _matcher_has_negatives(neighbours: int, candidates: int) -> str | None:
    if neighbours + candidates == 0:
        return "matcher.neighbours and matcher.candidates are both 0: there would be no hard negatives"
    return None
