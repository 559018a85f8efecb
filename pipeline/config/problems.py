"""Problems of parameters as sentences: dotted name, value, and what is allowed, as their JSON schema has it."""

import difflib
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.config.document import Document
from pipeline.text import shown

Schema = Mapping[str, Any]
Location = Sequence[str | int]
Problem = tuple[str, str]  # a dotted name, and a sentence about it

CONTRADICTION = "contradiction"  # type of pydantic's errors for values that contradict each other
BOUNDS = {"exclusiveMinimum": "above", "minimum": "of at least", "exclusiveMaximum": "below", "maximum": "at most"}
TYPES = {"integer": "a whole number", "number": "a number", "boolean": "true or false", "null": "null"}

# Names of earlier versions. Further keys of the sections supervised, two_stage and tandem keep their last part.
RENAMED = {
    "supervised.updates": "strategies.supervised.steps",
    "two_stage.updates": "strategies.two_stage.frozen_steps",
    "two_stage.finetune": "strategies.two_stage.steps (with the tasks of these steps in strategies.two_stage.tasks)",
    "tandem.schedule": "strategies.tandem.tasks",
    "tandem.updates": "strategies.tandem.steps",
    "tandem.finetune": "strategies.tandem.finetune_steps",
    "pretrain.updates": "pretrain.steps",
    "matcher.updates": "matcher.steps",
    "decoding.beam": "decoding.beam_width",
}


def renamed(content: Mapping[str, Any]) -> dict[str, str]:
    """Find old names, in the content of a params.yaml or a mapping by dotted name, with their new names."""
    names = dict.fromkeys(".".join(name.split(".")[:2]) for name, _ in leaves(content))
    moved = [name for name in names if name.split(".")[0] in ("supervised", "two_stage", "tandem")]
    return {name: RENAMED.get(name, f"strategies.{name}") for name in names if name in RENAMED or name in moved}


def leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Walk through nested mappings: dotted names and values; an empty mapping is a value."""
    for key, content in tree.items():
        if isinstance(content, dict) and content:
            yield from leaves(content, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", content


def listed(name: str, document: Document, problems: Iterable[Problem]) -> str:
    """List all problems of a file by line, as the message of an error."""
    ordered = sorted((document.line(key), sentence) for key, sentence in problems)
    lines = [f"line {line}: {sentence}" if line else sentence for line, sentence in ordered]
    return "\n  ".join([f"{name} has {len(lines)} problem(s):", *lines])


def dotted(location: Location) -> str:
    """The name that the user types for a place in the content."""
    return ".".join(map(str, location))


@dataclass(frozen=True)
class Allowed:
    """Words for the values that a JSON schema allows."""

    schema: Schema

    def at(self, location: Location) -> str:
        """Describe the values allowed at a place."""
        return self._words(self._find(location))

    def keys(self, location: Location) -> list[str]:
        """The keys that a section may have; none if it is not a section."""
        return list(self._find(location).get("properties", ()))

    def nearest(self, location: Location, missing: Container[str]) -> str | None:
        """Guess the dotted name meant by an unknown one: missing or similar in its section, or equal in another."""
        *section, key = location
        near = [dotted((*section, name)) for name in difflib.get_close_matches(str(key), self.keys(section))]
        near.sort(key=lambda name: name not in missing)
        elsewhere = [f"{place}.{key}" for place in self.keys(()) if key in self.keys((place,))]
        return next(iter(near or elsewhere * (len(elsewhere) == 1)), None)

    def _find(self, location: Location) -> Schema:
        schema = self.schema
        for part in location:
            others: Schema = next(iter(schema.get("patternProperties", {}).values()), {})
            inner = schema.get("items", {}) if isinstance(part, int) else schema.get("properties", {}).get(part, others)
            schema = self._resolved(inner)
        return schema

    def _resolved(self, schema: Schema) -> Schema:
        name = schema.get("$ref", "").rpartition("/")[2]
        return self.schema["$defs"][name] if name else schema

    def _words(self, schema: Schema) -> str:
        match schema:
            case {"$ref": _}:
                return self._words(self._resolved(schema))
            case {"anyOf": choices}:
                return " or ".join(map(self._words, choices))
            case {"enum": [*others, last]}:
                return f"{', '.join(map(repr, others))} or {last!r}" if others else repr(last)
            case {"type": "object", "properties": keys}:
                return f"a section with {', '.join(keys)}"
            case {"type": "array", "maxItems": most, "items": items}:
                return f"a list, not empty and of at most {most}, of {self._words(items)}"
            case {"type": kind} if kind in TYPES:
                bounds = [f"{word} {schema[key]:,.15g}" for key, word in BOUNDS.items() if key in schema]
                return f"{TYPES[kind]} {' and '.join(bounds)}".rstrip()
        return str(schema.get("description", "the path of a file"))


def sentences(errors: Iterable[Mapping[str, Any]], allowed: Allowed) -> Iterator[Problem]:
    """Explain errors of pydantic, each by dotted name; a misspelt name is not reported as missing, too."""
    errors = list(errors)
    missing = {dotted(error["loc"]): error["loc"] for error in errors if error["type"] == "missing"}
    for error in errors:
        location, name, kind = error["loc"], dotted(error["loc"]), error["type"]
        if kind == "unexpected_keyword_argument":
            near = allowed.nearest(location, missing)
            if near in missing and near.count(".") == name.count("."):
                del missing[near]
                yield name, f"{name} is unknown, and {near} is missing: did you mean that?"
            elif near:
                yield name, f"{name} is unknown: did you mean {near}?"
            else:
                section = name.rpartition(".")[0] or "params.yaml"
                yield name, f"{name} is unknown: {section} has {', '.join(allowed.keys(location[:-1]))}"
        elif location[-1] == "[key]":
            reason = error["msg"] if kind == CONTRADICTION else "use a letter, then a-z, 0-9 and _, 40 in all"
            yield name, f"{name.removesuffix('.[key]')} cannot have this name: {reason}"
        elif kind != "missing":
            value = {"None": "null", "True": "true", "False": "false"}.get(repr(error["input"]), shown(error["input"]))
            reason = error["msg"] if kind == CONTRADICTION else f"must be {allowed.at(location)}"
            yield name, f"{name} is {value}, but {reason}"
    for name, location in missing.items():
        yield name, f"{name} is missing: it must be {allowed.at(location)}"
