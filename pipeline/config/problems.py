"""What is wrong with parameters, in sentences: the dotted name, the value received and what is allowed.

What is allowed is read from the JSON schema of the parameters, so that it is said nowhere else.
"""

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pipeline.text import shown

Schema = Mapping[str, Any]
Location = Sequence[str | int]


class Allowed:
    """What may stand where; `schema` is that of a mapping of sections."""

    def __init__(self, schema: Schema) -> None:
        self._root = schema

    def at(self, location: Location) -> str:
        """What may stand at a place, in words."""
        return self._words(self._find(location))

    def keys(self, location: Location) -> list[str]:
        """The names of what may stand in a section; none where there can be no section."""
        return list(self._find(location).get("properties", ()))

    def nearest(self, location: Location, missing: Iterable[str]) -> str | None:
        """The dotted name that somebody may have meant who wrote one that is unknown.

        Names that are missing come before others, those of the same section before the same name in another one.
        """
        section, key = location[:-1], str(location[-1])
        here = {".".join(map(str, (*section, name))): name for name in self.keys(section)}
        for names in ({name: here[name] for name in missing if name in here}, here):
            if near := difflib.get_close_matches(key, names.values(), n=1):
                return next(name for name, last in names.items() if last == near[0])
        elsewhere = [f"{place}.{key}" for place in self.keys(()) if key in self.keys((place,))]
        return elsewhere[0] if len(elsewhere) == 1 else None

    def _find(self, location: Location) -> Schema:
        found: Schema = self._resolved(self._root)
        for part in location:
            inner = found.get("items", {}) if isinstance(part, int) else found.get("properties", {}).get(part, {})
            found = self._resolved(inner)
        return found

    def _resolved(self, schema: Schema) -> Schema:
        name = schema.get("$ref", "").rpartition("/")[2]
        return self._root["$defs"][name] if name else schema

    def _words(self, schema: Schema) -> str:
        schema = self._resolved(schema)
        if "anyOf" in schema:
            return " or ".join(map(self._words, schema["anyOf"]))
        if "enum" in schema:
            return _either(schema["enum"])
        match schema.get("type"):
            case "object":
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


def sentences(errors: Iterable[Mapping[str, Any]], allowed: Allowed) -> Iterator[tuple[str, str]]:
    """Dotted names and what is wrong with each, of what pydantic found; a name that is misspelt is not missing as well.

    What validators of our own raised is left to them.
    """
    errors = list(errors)
    missing = {_dotted(error["loc"]): error for error in errors if error["type"] == "missing"}
    for error in errors:
        location, name = error["loc"], _dotted(error["loc"])
        match error["type"]:
            case "missing" | "value_error":
                continue
            case "unexpected_keyword_argument":
                near = allowed.nearest(location, missing)
                if near in missing and near.count(".") == name.count("."):
                    del missing[near]
                    yield name, f"{name} is unknown, and {near} is missing: did you mean that?"
                elif near:
                    yield name, f"{name} is unknown: did you mean {near}?"
                else:
                    place = name.rpartition(".")[0] or "params.yaml"
                    yield name, f"{name} is unknown: {place} has {', '.join(allowed.keys(location[:-1]))}"
            case _:
                yield name, f"{name} is {shown(error['input'])}, but must be {allowed.at(location)}"
    for name, error in missing.items():
        yield name, f"{name} is missing: it must be {allowed.at(error['loc'])}"


def _dotted(location: Location) -> str:
    return ".".join(map(str, location))


def _either(values: Sequence[str]) -> str:
    *others, last = map(repr, values)
    return f"{', '.join(others)} or {last}" if others else last


def _range(schema: Schema) -> str:
    bounds = [
        f"{words} {schema[key]:,.15g}"
        for key, words in (
            ("exclusiveMinimum", "above"),
            ("minimum", "of at least"),
            ("exclusiveMaximum", "below"),
            ("maximum", "at most"),
        )
        if key in schema
    ]
    return " " + " and ".join(bounds) if bounds else ""
