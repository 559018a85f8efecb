"""A YAML file as plain content, with the line of everything in it. What the content must be is left to `config`.

Only what parameters need is read: numbers, text, true, false, null, lists and mappings. Aliases and tags, with which a
small file can stand for a huge one or for other objects, are not.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.composer import MaxDepthExceededError
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode

from pipeline.errors import UserError

LARGEST = 100_000  # bytes of a file
DEEPEST = 10  # mappings and lists within each other
LONGEST = 1000  # characters of a value: no number is so long, and turning it into one would take its time

TAG = "tag:yaml.org,2002:"
NUMBERS_AND_WORDS = tuple(TAG + name for name in ("int", "float", "bool", "null"))
TEXTS = (TAG + "str", TAG + "timestamp")  # a date is what is written there
NOTHING = object()


class DocumentError(UserError):
    """A file that is not YAML at all."""


@dataclass(frozen=True)
class Document:
    """content: without what cannot be read. lines: by dotted name, as are `problems`, each a sentence about its name.

    An item of a list has its number for a name: `tandem.schedule.0`.
    """

    content: Any = None
    lines: dict[str, int] = field(default_factory=dict)
    problems: list[tuple[str, str]] = field(default_factory=list)

    def line(self, name: str) -> int:
        """Where something stands, or what it belongs to; 0 where that is not known."""
        while name and name not in self.lines:
            name = name.rpartition(".")[0]
        return self.lines.get(name, 0)


def read_document(path: Path) -> Document:
    """Read a file of YAML 1.2, as DVC does: 1e-3 is a number, `no` is text.

    Raises `DocumentError`, or FileNotFoundError.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(LARGEST + 1)
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        raise DocumentError(f"{path} cannot be read: {error}") from error
    if len(raw) > LARGEST:
        raise DocumentError(f"{path} has more than {LARGEST:,} bytes, which cannot be parameters alone")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise DocumentError(f"{path}, line {line}: not UTF-8 text. Save it as UTF-8") from None
    yaml = YAML(typ="safe", pure=True)
    yaml.max_depth = DEEPEST
    try:
        root = yaml.compose(text)
    except (YAMLError, ValueError, RecursionError, AssertionError, LookupError, TypeError, AttributeError) as error:
        # Damaged YAML makes the parser raise more than its own errors.
        raise DocumentError(f"{path}{_place(error, text)} cannot be read as YAML: {_reason(error)}") from error
    if root is None:
        return Document()
    reader = _Reader(yaml)
    content = reader.plain(root, "")
    return Document(None if content is NOTHING else content, reader.lines, reader.problems)


class _Reader:
    """Goes through the nodes of a file and notes what cannot be read."""

    def __init__(self, yaml: YAML) -> None:
        self._yaml = yaml
        self._seen: set[int] = set()
        self.lines: dict[str, int] = {}
        self.problems: list[tuple[str, str]] = []

    def plain(self, node: Node, name: str) -> Any:
        """The content of a node, NOTHING where it cannot be read."""
        if id(node) in self._seen:  # it knows its first place alone
            return self._refuse(name, "is an alias (*), which is not supported: write the value itself")
        self._seen.add(id(node))
        self.lines.setdefault(name, node.start_mark.line + 1)
        if isinstance(node, ScalarNode):
            return self._scalar(node, name)
        if isinstance(node, MappingNode):
            return self._mapping(node, name) if node.tag == TAG + "map" else self._tagged(node, name)
        if node.tag != TAG + "seq":
            return self._tagged(node, name)
        items = (self.plain(item, _dotted(name, str(number))) for number, item in enumerate(node.value))
        return [item for item in items if item is not NOTHING]

    def _mapping(self, node: MappingNode, name: str) -> dict[str, Any]:
        content: dict[str, Any] = {}
        for key, line, value in self._items(node, name):
            inner = _dotted(name, key)
            first = self.lines.get(inner)
            self.lines[inner] = line
            if first:
                self._refuse(inner, f"stands twice, first in line {first}: leave one of them")
                continue
            if (plain := self.plain(value, inner)) is not NOTHING:
                content[key] = plain
        return content

    def _items(self, node: MappingNode, name: str) -> Iterator[tuple[str, int, Node]]:
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, ScalarNode) or key.tag not in (*TEXTS, *NUMBERS_AND_WORDS):
                self._refuse(name, f"has a key in line {line} that is no name")
            elif not key.value.isprintable() or len(key.value) > LONGEST:
                self._refuse(name, f"has a key in line {line} that is not printable text")
            else:
                yield key.value, line, value

    def _scalar(self, node: ScalarNode, name: str) -> Any:
        if len(node.value) > LONGEST:
            return self._refuse(name, f"has {len(node.value):,} characters, at most {LONGEST:,} are possible")
        if node.tag in TEXTS:
            if not _is_text(node.value):
                return self._refuse(name, f"is {node.value!r}, but must be text without NUL and surrogates")
            return node.value
        if node.tag not in NUMBERS_AND_WORDS:
            return self._tagged(node, name)
        try:
            return self._yaml.constructor.construct_object(node)
        except (YAMLError, ValueError, LookupError) as error:
            return self._refuse(name, f"is {node.value!r}, which cannot be read: {_reason(error)}")

    def _tagged(self, node: Node, name: str) -> Any:
        return self._refuse(name, f"has the tag {node.tag}, which is not supported: write a plain value")

    def _refuse(self, name: str, reason: str) -> Any:
        self.problems.append((name, reason))
        return NOTHING


def _dotted(name: str, key: str) -> str:
    return f"{name}.{key}" if name else key


def _is_text(text: str) -> bool:
    return not any(character == "\0" or "\ud800" <= character <= "\udfff" for character in text)


def _place(error: Exception, text: str) -> str:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if mark is not None:
        return f", line {mark.line + 1}:"
    position = getattr(error, "position", None)  # of a character that YAML does not allow
    return "" if position is None else f", line {text.count(chr(10), 0, position) + 1}:"


def _reason(error: Exception) -> str:
    if (character := getattr(error, "character", None)) is not None:
        return f"the character U+{character:04X} is not allowed"
    if isinstance(error, MaxDepthExceededError | RecursionError):
        return f"mappings and lists more than {DEEPEST} deep within each other"
    said = getattr(error, "problem", None) or str(error) or type(error).__name__
    return " ".join(str(said).split())
