"""Problems of parameters as sentences: the dotted name, the value received and what is allowed.

The JSON schema of the parameters says what is allowed.
"""

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from pipeline.config.document import Document
from pipeline.errors import UserError
from pipeline.text import shown

T = TypeVar("T")
Schema = Mapping[str, Any]
Location = Sequence[str | int]
Problem = tuple[str, str]  # a dotted name, and a sentence about it

CONTRADICTION = "contradiction"  # type of pydantic's errors for values that contradict each other

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
    moved = ("supervised", "two_stage", "tandem")
    return {
        name: RENAMED.get(name, f"strategies.{name}")
        for name in names
        if name in RENAMED or name.split(".")[0] in moved
    }


def leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Walk through nested mappings: dotted names and values; an empty mapping is a value."""
    for key, content in tree.items():
        if isinstance(content, dict) and content:
            yield from leaves(content, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", content


class ConfigError(UserError):
    """A params.yaml, or another file of parameters, that cannot be used."""


def checked(
    document: Document, adapter: TypeAdapter[T], name: str, old_names: Mapping[str, str], context: dict[str, Any]
) -> T:
    """Convert the content of a document to the type of the adapter; raises `ConfigError` with all problems.

    name: of the file. old_names: those in the document, with their new ones. context: for validators.
    """
    problems = [(key, f"{key or name} {reason}") for key, reason in document.problems]
    problems += [(key, f"{key} has a new name: {new}") for key, new in old_names.items()]
    reported, expected = [key for key, _ in problems], [new.split()[0] for new in old_names.values()]
    try:
        # Through JSON, because pydantic's strict mode then takes strings for enums and lists for tuples.
        as_json = json.dumps(document.content, ensure_ascii=False).encode()
        content = adapter.validate_json(as_json, context=context)
        if not problems:
            return content
    except ValidationError as invalid:
        errors = invalid.errors(include_url=False)
        new = [error for error in errors if not _concerns(_dotted(error["loc"]), reported)]
        new = [error for error in new if error["type"] != "missing" or not _concerns(_dotted(error["loc"]), expected)]
        problems += sentences(new, Allowed(adapter.json_schema()))
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigError(f"{name} has a value that is neither number, text, list nor mapping: {error}") from error
    raise ConfigError(listed(name, document, problems))


def listed(name: str, document: Document, problems: Iterable[Problem]) -> str:
    """List all problems of a file by line, as the message of an error."""
    ordered = sorted((document.line(key), sentence) for key, sentence in problems)
    lines = [f"line {line}: {sentence}" if line else sentence for line, sentence in ordered]
    return "\n  ".join([f"{name} has {len(lines)} problem(s):", *lines])


def _concerns(key: str, others: Iterable[str]) -> bool:
    """Whether a dotted name is one of the others, lies in one of them, or contains one of them."""
    return any(f"{key}.".startswith(f"{other}.") or f"{other}.".startswith(f"{key}.") for other in others if other)


class Allowed:
    """Words for the values that a JSON schema allows."""

    def __init__(self, schema: Schema) -> None:
        self._root = schema

    def at(self, location: Location) -> str:
        """Describe the values allowed at a place."""
        return self._words(self._find(location))

    def keys(self, location: Location) -> list[str]:
        """The keys that a section may have; none if it is not a section."""
        return list(self._find(location).get("properties", ()))

    def nearest(self, location: Location, missing: Iterable[str]) -> str | None:
        """Guess the dotted name that is meant by an unknown one.

        Missing names come before others, those of the same section before the same name in another one.
        """
        section, key = location[:-1], str(location[-1])
        here = {".".join(map(str, (*section, name))): name for name in self.keys(section)}
        for names in ({name: here[name] for name in missing if name in here}, here):
            if near := difflib.get_close_matches(key, names.values(), n=1):
                return next(name for name, last in names.items() if last == near[0])
        elsewhere = [f"{place}.{key}" for place in self.keys(()) if key in self.keys((place,))]
        return elsewhere[0] if len(elsewhere) == 1 else None

    def _find(self, location: Location) -> Schema:
        schema = self._resolved(self._root)
        for part in location:
            others: Schema = next(iter(schema.get("patternProperties", {}).values()), {})
            inner = schema.get("items", {}) if isinstance(part, int) else schema.get("properties", {}).get(part, others)
            schema = self._resolved(inner)
        return schema

    def _resolved(self, schema: Schema) -> Schema:
        name = schema.get("$ref", "").rpartition("/")[2]
        return self._root["$defs"][name] if name else schema

    def _words(self, schema: Schema) -> str:
        schema = self._resolved(schema)
        if "anyOf" in schema:
            return " or ".join(map(self._words, schema["anyOf"]))
        if "enum" in schema:
            *others, last = map(repr, schema["enum"])
            return f"{', '.join(others)} or {last}" if others else str(last)
        match schema.get("type"):
            case "object" if "properties" in schema:
                return f"a section with {', '.join(schema['properties'])}"
            case "array":
                return f"a list, not empty and of at most {schema['maxItems']}, of {self._words(schema['items'])}"
            case "integer":
                return f"a whole number{_range(schema)}"
            case "number":
                return f"a number{_range(schema)}"
            case "boolean":
                return "true or false"
            case "null":
                return "null"
        return str(schema.get("description", "the path of a file"))


def sentences(errors: Iterable[Mapping[str, Any]], allowed: Allowed) -> Iterator[Problem]:
    """Explain errors of pydantic, each by dotted name; a misspelt name is not reported as missing, too."""
    errors = list(errors)
    missing = {_dotted(error["loc"]): error["loc"] for error in errors if error["type"] == "missing"}
    for error in errors:
        location, name = error["loc"], _dotted(error["loc"])
        match error["type"]:
            case "missing":
                continue
            case "unexpected_keyword_argument":
                near = allowed.nearest(location, missing)
                if near in missing and near.count(".") == name.count("."):
                    del missing[near]
                    yield name, f"{name} is unknown, and {near} is missing: did you mean that?"
                elif near:
                    yield name, f"{name} is unknown: did you mean {near}?"
                else:
                    section = name.rpartition(".")[0] or "params.yaml"
                    yield name, f"{name} is unknown: {section} has {', '.join(allowed.keys(location[:-1]))}"
            case kind if location[-1] == "[key]":
                reason = error["msg"] if kind == CONTRADICTION else "use a letter, then a-z, 0-9 and _, 40 in all"
                yield name, f"{name.removesuffix('.[key]')} cannot have this name: {reason}"
            case kind:
                reason = error["msg"] if kind == CONTRADICTION else f"must be {allowed.at(location)}"
                yield name, f"{name} is {_as_yaml(error['input'])}, but {reason}"
    for name, location in missing.items():
        yield name, f"{name} is missing: it must be {allowed.at(location)}"


def _as_yaml(value: Any) -> str:
    return {"None": "null", "True": "true", "False": "false"}.get(repr(value), shown(value))


def _dotted(location: Location) -> str:
    return ".".join(map(str, location))


def _range(schema: Schema) -> str:
    words = {"exclusiveMinimum": "above", "minimum": "of at least", "exclusiveMaximum": "below", "maximum": "at most"}
    bounds = [f"{word} {schema[key]:,.15g}" for key, word in words.items() if key in schema]
    return f" {' and '.join(bounds)}" if bounds else ""
