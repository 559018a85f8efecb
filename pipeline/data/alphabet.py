"""Symbols and their ids, the special ones included; splitting strings into symbols and joining them."""

import hashlib
import json
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, islice, repeat
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.config.options import Symbols
from pipeline.errors import UserError
from pipeline.text import is_unicode

PADDING, START, END, UNKNOWN = range(4)
SPECIALS = 4
UNKNOWN_SYMBOL = "\N{REPLACEMENT CHARACTER}"
LARGEST_ALPHABET = 2**16 - SPECIALS
CODE_POINTS = 0x110000

LOSS = 4.0  # how fast trust in a string falls with the share of its symbols that are unknown

STRINGS_AT_ONCE = 2**16

SOURCE_ALPHABET, TARGET_ALPHABET = "source_alphabet.json", "target_alphabet.json"  # file names in any folder

Ids = NDArray[np.uint16]


@dataclass(frozen=True)
class Alphabet:
    """The symbols of sources or of targets, in the order of their ids.

    Ids 0 to 3 are padding, start, end and unknown; symbol i has id i + 4. Raises `UserError` for a symbol that appears
    twice or is not of the kind, and for too many symbols.
    """

    kind: Symbols
    symbols: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(set(self.symbols)) != len(self.symbols):
            raise UserError("an alphabet lists a symbol twice")
        if len(self.symbols) > LARGEST_ALPHABET:
            raise UserError(
                f"{len(self.symbols):,} different symbols, at most {LARGEST_ALPHABET:,} are possible: "
                "are the strings really sequences of symbols of this kind?"
            )
        for symbol in self.symbols:
            if not symbol or (self.kind is Symbols.SPACES and " " in symbol):
                raise UserError(f"{symbol!r} cannot be a symbol of an alphabet of {self.kind}")
            if self.kind is Symbols.CHARACTERS and len(symbol) != 1:
                raise UserError(f"{symbol!r} is not a single character")

    @classmethod
    def of(cls, strings: Iterable[str], kind: Symbols) -> "Alphabet":
        """Collect the symbols of strings, in code point order."""
        symbols: set[str] = set()
        for part in in_parts(strings):
            symbols.update(split(join(part, kind), kind))
        return cls(kind, tuple(sorted(symbols - {""})))

    @classmethod
    def load(cls, path: Path) -> "Alphabet":
        """Read what `save` wrote; raises `UserError` for anything else, even if a single byte has changed."""
        try:
            content = json.loads(path.read_bytes().decode())
            alphabet = cls(Symbols(content["kind"]), tuple(content["symbols"]))
            if content != alphabet._content() or not all(map(is_unicode, alphabet.symbols)):
                raise ValueError("it is damaged or from another version")
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, UserError) as error:
            raise UserError(f"{path} is not an alphabet: {error}") from error
        return alphabet

    def save(self, path: Path) -> None:
        """Write the alphabet as JSON."""
        path.write_text(json.dumps(self._content(), ensure_ascii=False, indent=1) + "\n", encoding="utf-8")

    def _content(self) -> dict[str, object]:
        content = {"kind": self.kind.value, "symbols": list(self.symbols)}
        return {**content, "sha256": hashlib.sha256(json.dumps(content).encode()).hexdigest()}

    def __len__(self) -> int:
        """The number of ids, V, the special ones included."""
        return len(self.symbols) + SPECIALS

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {symbol: index + SPECIALS for index, symbol in enumerate(self.symbols)}

    @cached_property
    def _ids_by_code_point(self) -> Ids:
        table = np.full(CODE_POINTS, UNKNOWN, dtype=np.uint16)
        for symbol, index in self._ids.items():
            table[ord(symbol)] = index
        return table

    def encode(self, string: str) -> Ids:
        """Encode a string as the ids of its symbols, uint16 [length]; unseen symbols become `UNKNOWN`."""
        return self.encode_all([string])[0]

    def encode_all(self, strings: Sequence[str]) -> tuple[Ids, NDArray[np.int64]]:
        """Encode strings as one array of ids, uint16 [symbols], and the offset of each string, int64 [strings + 1]."""
        if self.kind is Symbols.CHARACTERS:
            # Lone surrogates are code points too, so that any Python string passes.
            code_points = np.frombuffer("".join(strings).encode("utf-32-le", "surrogatepass"), dtype="<u4")
            return self._ids_by_code_point[code_points], np.cumsum([0, *map(len, strings)])
        symbols = [split(string, self.kind) for string in strings]
        offsets = np.cumsum([0, *map(len, symbols)])
        ids = map(self._ids.get, chain.from_iterable(symbols), repeat(UNKNOWN))
        return np.fromiter(ids, np.uint16, offsets[-1]), offsets

    def unknown_in(self, string: str) -> list[str]:
        """The different symbols of a string in normal form that the alphabet lacks, in their order."""
        return [symbol for symbol in dict.fromkeys(split(string, self.kind)) if symbol not in self._ids]

    def trust(self, string: str) -> float:
        """The factor, in [0, 1], by which what is said about a string in normal form is less sure for unknown symbols.

        The fraction of its symbols that are known, to the power `LOSS`: 0 if there are none.
        """
        symbols = split(string, self.kind)
        return (sum(symbol in self._ids for symbol in symbols) / max(len(symbols), 1)) ** LOSS

    def known_spelling(self, string: str) -> str | None:
        """A string that differs from this one in case, width or spaces alone and has no unknown symbol, if any.

        Otherwise one that differs in the case or width of single symbols and has fewer, if any.
        """
        together = string.replace(" ", "")
        for form in (string, together, " ".join(together)):
            for changed in _spellings(form):
                if changed and not self.unknown_in(changed):
                    return changed
        known = (
            next((one for one in _spellings(symbol) if one in self._ids), symbol) for symbol in split(string, self.kind)
        )
        changed = join(known, self.kind)
        return changed if changed != string else None

    def decode(self, ids: Iterable[int]) -> str:
        """Decode ids up to the first end or padding; start is skipped, unknown becomes U+FFFD."""
        symbols = []
        for index in ids:
            if index in (END, PADDING):
                break
            if index >= SPECIALS:
                symbols.append(self.symbols[index - SPECIALS])
            elif index == UNKNOWN:
                symbols.append(UNKNOWN_SYMBOL)
        return join(symbols, self.kind)


def _spellings(string: str) -> tuple[str, ...]:
    """The string, and how it is written in other case or width."""
    return string, string.lower(), string.upper(), unicodedata.normalize("NFKC", string)


def save_alphabets(folder: Path, source: Alphabet, target: Alphabet) -> None:
    """Write the alphabets of both sides into a folder."""
    source.save(folder / SOURCE_ALPHABET)
    target.save(folder / TARGET_ALPHABET)


def load_alphabets(folder: Path) -> tuple[Alphabet, Alphabet]:
    """Load the source and target alphabet of a folder; raises `UserError` if one is missing or damaged."""
    return Alphabet.load(folder / SOURCE_ALPHABET), Alphabet.load(folder / TARGET_ALPHABET)


def split(string: str, kind: Symbols) -> list[str]:
    """Split a string into its symbols."""
    if kind is Symbols.CHARACTERS:
        return list(string)
    return string.split(" ") if string else []


def join(symbols: Iterable[str], kind: Symbols) -> str:
    """Join symbols to a string, the inverse of `split`."""
    return ("" if kind is Symbols.CHARACTERS else " ").join(symbols)


def in_parts(strings: Iterable[str]) -> Iterator[list[str]]:
    """Cut strings into lists of `STRINGS_AT_ONCE`: fast to process, and small compared with millions."""
    rest = iter(strings)
    while part := list(islice(rest, STRINGS_AT_ONCE)):
        yield part
