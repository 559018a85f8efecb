"""Does a file hold what it should? Looks at files of pairs and targets, and notes what seems wrong, in sentences.

A note is no error: data may look odd and be right. `prepare.strict` makes errors of notes.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path

import numpy as np

from pipeline.config.options import Rows, Symbols
from pipeline.config.params import Data
from pipeline.data.alphabet import join, split
from pipeline.data.examples import Example
from pipeline.data.prepared import Prepared
from pipeline.data.raw import blocks, lines
from pipeline.text import shown

FEWEST = 10  # rows of a file that is judged by its symbols
LONGER = 4  # times the length of the targets of pairs: such rows of the list are not targets

# First cells of tables. A row is taken for a header if each of its cells is one, or has only symbols of its own.
TITLE = re.compile(
    "((source|src|input|target|tgt|trg|output|word|form|lemma|token|text|string|original|orig|old|historical|hist|new|"
    "modern|mod|normali[sz]ed|norm|spelling|pronunciation|pron|phoneme|ipa|sound|grapheme|transcription|transliteration|"
    "native|latin|roman|romani[sz]ed|name|english|foreign|gold|label|count|frequency)s?[ _.-]?)+",
    re.IGNORECASE,
)
# Characters that nobody sees: zero width, marks of byte order and direction, soft hyphen, controls, Hangul filler;
# and joiners that are not beside a letter of Persian, an Indic script or the like, or an emoji.
INVISIBLE = re.compile(
    "[\x7f-\x9f\xad\u034f\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\u3164\ufeff\ufff9-\ufffb]|"
    "(?<![\u0530-\u1fff\u2100-\U0010ffff])[\u200c\u200d](?![\u0530-\u1fff\u2100-\U0010ffff])"
)


def look_at_rows(files: Mapping[str, Sequence[Example]], targets: Iterable[str], data: Data) -> list[str]:
    """Notes about the rows of files as they are read: headers, files that are the same, repeated rows.

    files: the rows of the files of pairs, by train, dev and test.
    """
    paths = {"train": data.pairs, "dev": data.dev, "test": data.test}
    kinds = (data.source_symbols, data.target_symbols)
    columns = {name: ([row.source for row in rows], [row.target for row in rows]) for name, rows in files.items()}
    notes = [f"{paths[name]}: {note}" for name, both in columns.items() if (note := _header(both, kinds))]
    head = [target for target, _ in zip(targets, range(1000), strict=False)]
    if head and (note := _header((head,), kinds[1:])):
        notes.append(f"{data.targets}: {note}")
    for one, other in (("dev", "train"), ("test", "train"), ("dev", "test")):
        if one in files and other in files:
            rows, existing = files[one], set(files[other])
            share = sum(row in existing for row in rows) / len(rows)
            if share == 1 or (share > 0.5 and data.rows is Rows.WORDS):
                notes.append(f"{paths[one]}: {share:.0%} of its rows are in {paths[other]} as well")
    train = files["train"]
    for name in ("dev", "test"):
        if name in files and (note := _columns(columns[name], columns["train"], kinds)):
            notes.append(f"{paths[name]}: {note} of {data.pairs}: are its columns swapped, or is it in another script?")
    if len(train) >= FEWEST and all(row.source == row.target for row in train):
        notes.append(f"{data.pairs}: every source is its own target")
    if data.rows is Rows.WORDS and 2 * len(set(train)) < len(train):
        notes.append(f"{data.pairs}: most rows repeat others: if it is running text, set data.rows: running_text")
    for name, path in paths.items():
        if path and any(INVISIBLE.search(f"{row.source}\t{row.target}") for row in files[name]):
            notes.append(f"{path}: {_invisible(path)}")
    return notes


def look_at_list(prepared: Prepared, data: Data) -> list[str]:
    """Notes about the unpaired targets: whether they are written as the targets of pairs are."""
    path, notes = data.targets, []
    if path is None:
        return []
    if any(INVISIBLE.search(symbol) for symbol in prepared.target_alphabet.symbols) and (note := _invisible(path)):
        notes.append(f"{path}: {note}")
    if min(len(prepared.targets), len(prepared.train)) < FEWEST:
        return notes
    alphabet = prepared.target_alphabet
    occurs = np.bincount(prepared.targets.ids, minlength=len(alphabet)) > 0
    sides = ((one.source for one in prepared.train), (one.target for one in prepared.train))
    columns = [list(dict.fromkeys(side)) for side in sides]
    in_list = prepared.among_unpaired(chain.from_iterable(columns))
    written = [float(occurs[alphabet.encode_all(column)[0]].mean()) for column in columns]  # in symbols of the list
    listed = [sum(map(in_list.__contains__, column)) / len(column) for column in columns]
    swapped = f"are the columns of {data.pairs} swapped, or is this a list of sources?"
    if written[1] < 0.5 <= written[0]:
        notes.append(f"{path}: it is written in the symbols of sources, not of targets: {swapped}")
    elif written[1] < 0.5:
        notes.append(
            f"{path}: it lacks {1 - written[1]:.0%} of the symbols in the targets of {data.pairs}: is it in another "
            "script, or is data.target_symbols wrong?"
        )
    elif listed[0] > max(0.1, 1.5 * listed[1]):
        notes.append(f"{path}: it has {listed[0]:.0%} of the sources, but {listed[1]:.0%} of the targets: {swapped}")
    listed_length, length = (float(np.diff(one.offsets).mean()) for one in (prepared.targets, prepared.train_targets))
    if listed_length > LONGER * length:
        notes.append(
            f"{path}: its rows have {listed_length:.0f} symbols on average, the targets of {data.pairs} {length:.0f}: "
            "write one target a line"
        )
    elif written[1] >= 0.5 and not any(note.endswith(swapped) for note in notes):
        both = ((path, prepared.targets), (data.pairs, prepared.train_targets))
        for (one, strings), (other, others) in (both, both[::-1]):
            counts, existing = (np.bincount(some.ids, minlength=len(alphabet)) for some in (strings, others))
            if (strange := (2 * counts > len(strings)) & (existing == 0)).any():
                symbol = shown(alphabet.decode([int(np.argmax(strange))]))
                notes.append(f"{one}: most targets have {symbol}, but none has it in {other}: is it part of them?")
    return notes


def _columns(columns: Sequence[Sequence[str]], train: Sequence[Sequence[str]], kinds: Sequence[Symbols]) -> str | None:
    """A note about columns of dev or test that are written in other symbols than those of train, or are the others."""
    if min(len(columns[0]), len(train[0])) < FEWEST:
        return None
    for side, column, known, kind in zip(("sources", "targets"), columns, train, kinds, strict=True):
        symbols, written = set(split(join(known, kind), kind)), split(join(column, kind), kind)
        share = sum(symbol in symbols for symbol in written) / len(written)
        if share < 0.5:
            return f"{1 - share:.0%} of the symbols in its {side} are not in the {side}"
    (sources, targets), (known_sources, known_targets) = map(set, columns), map(set, train)
    straight = len(sources & known_sources) + len(targets & known_targets)
    crossed = len(sources & known_targets) + len(targets & known_sources)
    if crossed > max(0.1 * (len(sources) + len(targets)), 1.5 * straight):
        return "its sources are rather among the targets, and its targets among the sources,"
    return None


def _header(columns: Sequence[Sequence[str]], kinds: Sequence[Symbols]) -> str | None:
    first = "\t".join(column[0] for column in columns)
    if has_header(columns, kinds):
        return f"its first row looks like a header, {shown(first)}: files have none, delete the row"
    return None


def has_header(columns: Sequence[Sequence[str]], kinds: Sequence[Symbols]) -> bool:
    """Whether the first cells of columns, of the kinds of symbols, are their names."""
    return len(columns[0]) > 1 and (all(map(_is_title, columns, kinds)) or any(map(_is_word, columns, kinds)))


def _is_title(column: Sequence[str], kind: Symbols) -> bool:
    """Whether the first cell of a column is a `TITLE`, or alone has only symbols of its own."""
    title, *others = column
    if TITLE.fullmatch(title.strip("#*_ .:")):
        return True
    if kind is Symbols.SPACES or len(others) < FEWEST or len(title) < 3:
        return False
    if not set(title).isdisjoint(chain.from_iterable(others)):
        return False
    cells = Counter(chain.from_iterable(map(set, column)))  # with a symbol; few in scripts of thousands of symbols
    return not any(all(cells[symbol] == 1 for symbol in other) for other in others)


def _is_word(column: Sequence[str], kind: Symbols) -> bool:
    """Whether the first cell of a column is a word that no other cell has, and most of those have spaces."""
    title, *others = column
    if kind is not Symbols.SPACES or len(others) < FEWEST or len(title) < 3 or not title.isalpha():
        return False
    spaced = sum(" " in other for other in others)
    return 2 * spaced >= len(others) and not any(title in split(other, kind) for other in others)


def _invisible(path: Path) -> str | None:
    """A note about the lines of a file with characters that nobody sees."""
    rows = (line.decode(errors="ignore") for block in blocks(path) for line in lines(block))
    found = [(number, match[0]) for number, row in enumerate(rows, start=1) if (match := INVISIBLE.search(row))]
    if not found:
        return None
    number, character = found[0]
    more = f" and {len(found) - 1:,} more" if len(found) > 1 else ""
    return f"line {number}{more} with characters that nobody sees, U+{ord(character):04X}: delete what does not belong"
