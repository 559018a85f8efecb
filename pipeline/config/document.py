"""A YAML file as plain content, with the line of everything in it. Only `params` knows what the content must be.

It reads what parameters need: numbers, text, true, false, null, lists and mappings. It refuses aliases and tags, with
which a small file can stand for a huge one or for other objects.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.composer import MaxDepthExceededError
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from pipeline.errors import UserError
from pipeline.text import is_unicode

LARGEST = 100_000  # bytes of a file
DEEPEST = 10  # mappings and lists within each other
LONGEST = 1000  # characters of a value: no number is so long, and parsing a longer one would be slow

SCALARS = [f"tag:yaml.org,2002:{name}" for name in ("str", "timestamp", "int", "float", "bool", "null")]
UNREADABLE = object()


class ConfigError(UserError):
    """A params.yaml, or another file of parameters, that cannot be used."""


@dataclass
class Document:
    """A file's readable content, its lines by dotted name such as `seeds.0`, and sentences about names as problems."""

    content: Any = None
    lines: dict[str, int] = field(default_factory=dict)
    problems: list[tuple[str, str]] = field(default_factory=list)

    def line(self, name: str) -> int:
        """The line of a name, or of what contains it; 0 if neither has one."""
        while name and name not in self.lines:
            name = name.rpartition(".")[0]
        return self.lines.get(name, 0)


def read_document(path: Path, if_missing: str) -> Document:
    """Read a file of YAML 1.2, as DVC does: 1e-3 is a number, `no` is text.

    if_missing: what to do if there is no such file. Raises `ConfigError` for a file that is not YAML at all.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(LARGEST + 1)
        if len(raw) > LARGEST:
            raise ConfigError(f"{path} has more than {LARGEST:,} bytes, which cannot be parameters alone")
        text = raw.decode("utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(f"no {path} in {Path.cwd()}: {if_missing}") from None
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}, line {line}: not UTF-8 text. Save it as UTF-8") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    yaml = YAML(typ="safe", pure=True)
    yaml.max_depth = DEEPEST
    reader = _Reader(yaml)
    try:
        root = yaml.compose(text)
    except (YAMLError, ValueError, RecursionError, AssertionError, LookupError, TypeError, AttributeError) as error:
        # Damaged YAML makes the parser raise more than its own errors.
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        position = getattr(error, "position", None)  # of a character that YAML does not allow
        line = mark.line if mark else text.count("\n", 0, position or 0)
        place = f", line {line + 1}:" if mark or position is not None else ""
        raise ConfigError(f"{path}{place} cannot be read as YAML: {_reason(error)}") from error
    if root is not None and (content := reader.read(root, "")) is not UNREADABLE:
        reader.content = content
    return reader


class _Reader(Document):
    def __init__(self, yaml: YAML) -> None:
        super().__init__()
        self._yaml = yaml
        self._seen: set[int] = set()

    def read(self, node: Node, name: str) -> Any:
        """The content of a node, or UNREADABLE."""
        if id(node) in self._seen:  # nodes know only their first place
            return self._refuse(name, "is an alias (*), which is not supported: write the value itself")
        self._seen.add(id(node))
        self.lines.setdefault(name, node.start_mark.line + 1)
        prefix = name and f"{name}."
        match node:
            case ScalarNode() if len(node.value) > LONGEST:
                return self._refuse(name, f"has {len(node.value):,} characters, at most {LONGEST:,} are possible")
            case ScalarNode() if node.tag in SCALARS[:2]:  # dates stay text
                if "\0" in node.value or not is_unicode(node.value):
                    return self._refuse(name, f"is {node.value!r}, but must be text without NUL and surrogates")
                return node.value
            case ScalarNode() if node.tag in SCALARS:
                try:
                    return self._yaml.constructor.construct_object(node)
                except (YAMLError, ValueError, LookupError) as error:
                    return self._refuse(name, f"is {node.value!r}, which cannot be read: {_reason(error)}")
            case MappingNode(tag="tag:yaml.org,2002:map"):
                return self._mapping(node, name, prefix)
            case SequenceNode(tag="tag:yaml.org,2002:seq"):
                items = (self.read(item, f"{prefix}{number}") for number, item in enumerate(node.value))
                return [item for item in items if item is not UNREADABLE]
        return self._refuse(name, f"has the tag {node.tag}, which is not supported: write a plain value")

    def _mapping(self, node: MappingNode, name: str, prefix: str) -> dict[str, Any]:
        content: dict[str, Any] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, ScalarNode) or key.tag not in SCALARS:
                self._refuse(name, f"has a key in line {line} that is not a name")
            elif not key.value.isprintable() or len(key.value) > LONGEST:
                self._refuse(name, f"has a key in line {line} that is not printable text")
            else:
                inner = prefix + key.value
                first, self.lines[inner] = self.lines.get(inner), line
                twice = f"appears twice, first in line {first}: remove one of them"
                content[key.value] = self._refuse(inner, twice) if first else self.read(value, inner)
        return {key: item for key, item in content.items() if item is not UNREADABLE}

    def _refuse(self, name: str, reason: str) -> Any:
        self.problems.append((name, reason))
        return UNREADABLE


def _reason(error: Exception) -> str:
    if (character := getattr(error, "character", None)) is not None:
        return f"the character U+{character:04X} is not allowed"
    if isinstance(error, MaxDepthExceededError | RecursionError):
        return f"mappings and lists more than {DEEPEST} deep within each other"
    return " ".join(str(getattr(error, "problem", None) or error or type(error).__name__).split())
