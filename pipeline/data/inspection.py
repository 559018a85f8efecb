"""What files of people hold: which column is what, whether there is a header, what symbols are, words or a text.

`tables` reads the files. Nothing here writes.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pipeline.config.options import Rows, Symbols
from pipeline.data.alphabet import split
from pipeline.data.checks import has_header
from pipeline.data.raw import LONGEST_LINE, clean_cells
from pipeline.data.tables import Row, Table, read_table
from pipeline.errors import UserError
from pipeline.text import composed, shown

PAIRS, DEV, TEST, TARGETS, SOURCES = ROLES = ("pairs", "dev", "test", "targets", "sources")
NAMED = {DEV: {"dev", "devel", "development", "val", "valid", "validation"}, TEST: {"test", "eval", "heldout"}}

NUMBERS = 0.95  # of the cells of a column are digits: it has counts, or the numbers of the rows
# A count and a string in one column, as `uniq -c` and word lists have it.
COUNT_FIRST, COUNT_LAST = re.compile(r"(?P<count>\d+)\s+(?P<text>\D.*)"), re.compile(r"(?P<text>.*\D)\s+(?P<count>\d+)")
NAMES = {
    "source": re.compile("source|src|input|old|orig|hist|foreign|dialect|sound|pron", re.I),
    "target": re.compile("target|tgt|trg|output|new|mod|norm|correct|gold|spelling|standard", re.I),
}  # beginnings of the names of columns
SHORT, SHORTER = 3, 2  # characters of a symbol between spaces, on average: if repeated often, and in any case
OFTEN = 3  # times, on average, that a symbol between spaces is repeated
REPEATED = 0.1  # of the rows repeat others in a text, hardly any in a list of words
UNLIKE = 0.1  # by which a list is more like sources than like targets, if it is taken for sources
FEWEST = 30  # rows that can be told to be a text


@dataclass(frozen=True)
class Content:
    """The strings of a table, and of each row its line. columns: one or two. counts: of a list, if it has them.

    skipped: lines of rows that cannot be used, with the reason.
    """

    table: Table
    lines: list[int]
    columns: tuple[list[str], ...]
    kinds: tuple[Symbols, ...]
    counts: list[int] | None
    header: str
    skipped: tuple[tuple[int, str], ...]

    @property
    def is_pairs(self) -> bool:
        """Whether it has two columns."""
        return len(self.columns) == 2

    @cached_property
    def rows(self) -> Rows:
        """Whether pairs look like a list of words or like running text."""
        pairs = list(zip(*self.columns, strict=True))
        repeated = 1 - len(set(pairs)) / len(pairs)
        return Rows.RUNNING_TEXT if len(pairs) >= FEWEST and repeated > REPEATED else Rows.WORDS


def read_content(path: Path, encoding: str | None = None, columns: Sequence[str] | None = None) -> Content:
    """Read the strings of a file; raises `UserError` where that needs a person.

    columns: the names or numbers, from 1, of those to read, if it has more than pairs or a list need.
    """
    table = read_table(path, encoding)
    numbers = _numbers(table)
    texts = [number for number in range(table.width) if number not in numbers]
    if not texts:
        raise UserError(f"{path} has nothing but numbers: name another file")
    if len(texts) > 1:
        texts = [_place(name, table) for name in columns] if columns else _sides(table, texts)
    counted = [number for number, are_counts in numbers.items() if are_counts and number not in texts]
    rows = [row for row in table.rows if len(row.cells) == table.width]
    cells = [[row.cells[number] for number in texts] for row in rows]
    counts = [row.cells[counted[0]] for row in rows] if counted else []
    if len(texts) == 1 and not counted and (split := _counted([row[0] for row in cells])):
        cells, counts = [[text] for text, _ in split], [count for _, count in split]
    kinds = tuple(symbols_of([row[side] for row in cells[1:] or cells]) for side in range(len(texts)))
    titled = has_header([list(column) for column in zip(*cells, strict=True)], kinds)
    titled = titled or (bool(counts) and not counts[0].isdigit() and len(counts) > 1)
    start = 1 if titled else 0
    return _content(table, rows[start:], cells[start:], counts[start:], kinds, "\t".join(cells[0]) if titled else "")


def symbols_of(strings: Sequence[str]) -> Symbols:
    """Whether symbols are separated by spaces: most strings have some, and what is between them is short."""
    parts = [part for string in strings for part in string.split()]
    spaced = sum(" " in string for string in strings)
    if 2 * spaced < len(strings) or not parts:
        return Symbols.CHARACTERS
    length, repeated = sum(map(len, parts)) / len(parts), len(parts) / len(set(parts))
    short = length <= SHORTER or (length <= SHORT and repeated >= OFTEN)
    return Symbols.SPACES if short else Symbols.CHARACTERS


def assign(contents: Sequence[Content], given: Mapping[str, Path]) -> dict[str, Content]:
    """What each file is for, by the names in `ROLES`; raises `UserError` where that cannot be told.

    given: files whose role is known. Of lists, the one that is more like the targets of the pairs has the targets.
    """
    found = {role: next(one for one in contents if one.table.path == path) for role, path in given.items()}
    for role, content in found.items():
        if (role in (PAIRS, DEV, TEST)) != content.is_pairs:
            number = "one column" if not content.is_pairs else "two columns"
            raise UserError(f"{content.table.path} was given as {role}, but has {number}: correct it, or use --columns")
    rest = [one for one in contents if one not in found.values()]
    pairs, lists = [one for one in rest if one.is_pairs], [one for one in rest if not one.is_pairs]
    for role, words in NAMED.items():
        named = [one for one in pairs if not words.isdisjoint(re.split(r"[\W_]+", one.table.path.name.lower()))]
        if role not in found and len(named) == 1 and len(pairs) > 1:
            found[role] = named[0]
            pairs.remove(named[0])
    if len(pairs) > (PAIRS not in found):
        names = " and ".join(str(one.table.path) for one in pairs)
        raise UserError(f"{names} have pairs: say which is for what with --pairs, --dev, --test, or give one of them")
    found |= dict(zip([PAIRS], pairs, strict=False))
    if PAIRS not in found:
        raise UserError(_no_pairs(contents))
    free = [role for role in (TARGETS, SOURCES) if role not in found]
    if len(lists) > len(free):
        names = ", ".join(str(one.table.path) for one in lists)
        raise UserError(f"{names}: one list of targets and one of sources can be used, leave the others out")
    if len(lists) == 1 and _likeness(lists[0], found[PAIRS]) < -UNLIKE:
        free.reverse()
    lists.sort(key=lambda content: -_likeness(content, found[PAIRS]))
    found |= dict(zip(free, lists, strict=False))
    return {role: found[role] for role in ROLES if role in found}


def _numbers(table: Table) -> dict[int, bool]:
    """The columns of numbers, and of each whether it has counts: else it has the numbers of the rows."""
    found = {}
    for number in range(table.width if table.width > 1 else 0):
        cells = table.column(number)
        digits = [int(cell) for cell in cells[1:] if cell.isdecimal()]
        if digits and len(digits) >= NUMBERS * len(cells[1:]):
            found[number] = (
                len(digits) < 2 or digits[0] > 2 or digits != list(range(digits[0], digits[0] + len(digits)))
            )
    return found


def _counted(strings: Sequence[str]) -> list[tuple[str, str]]:
    """Strings and counts that stand in one column, if all but a header do."""
    for pattern in (COUNT_FIRST, COUNT_LAST):
        matches = [pattern.fullmatch(string) for string in strings]
        if sum(match is None for match in matches) <= (len(strings) > 1 and matches[0] is None):
            return [(match["text"], match["count"]) if match else (strings[0], "") for match in matches]
    return []


def _place(name: str, table: Table) -> int:
    if name in table.rows[0].cells:
        return table.rows[0].cells.index(name)
    if name.isdecimal() and 1 <= int(name) <= table.width:
        return int(name) - 1
    first = " ".join(map(shown, table.rows[0].cells))
    raise UserError(f"--columns {name}: {table.path} has {table.width} columns, and its first row is {first}")


def _sides(table: Table, texts: list[int]) -> list[int]:
    """The columns of source and target: by their names in the first row, or because there are only two."""
    names = table.rows[0].cells + ("",) * table.width
    for is_named in (str.__eq__, lambda name, word: NAMES[word].match(name)):
        both = [[number for number in texts if is_named(names[number], word)] for word in NAMES]
        if all(len(numbers) == 1 for numbers in both) and both[0] != both[1]:
            return [*both[0], *both[1]]
    if len(texts) == 2:
        return texts
    columns = ", ".join(f"{number + 1} {shown(names[number])}" for number in texts)
    raise UserError(
        f"{table.path} has {len(texts)} columns of text ({columns}): say which two have source and target, "
        "such as --columns 1,2"
    )


def _content(
    table: Table,
    rows: Sequence[Row],
    cells: list[list[str]],
    counts: list[str],
    kinds: tuple[Symbols, ...],
    header: str,
) -> Content:
    names = ("source", "target") if len(kinds) == 2 else ("string",)
    columns = dict(zip(names, kinds, strict=True))
    kept, kept_lines, kept_counts = [], [], []
    skipped = [(row.line, f"{len(row.cells)} columns") for row in table.rows if len(row.cells) != table.width]
    for row, strings, count in zip(rows, cells, counts or [""] * len(rows), strict=True):
        try:
            kept.append(clean_cells([composed(string) for string in strings], columns, LONGEST_LINE))
            kept_lines.append(row.line)
            kept_counts.append(int(count) if count.isdecimal() else 1)
        except ValueError as reason:
            skipped.append((row.line, str(reason)))
    if not kept:
        raise UserError(f"{table.path} has no row that can be used (line {skipped[0][0]}: {skipped[0][1]})")
    sides = tuple(map(list, zip(*kept, strict=True)))
    has_counts = bool(counts) and len(kinds) == 1
    return Content(table, kept_lines, sides, kinds, kept_counts if has_counts else None, header, tuple(sorted(skipped)))


def _likeness(content: Content, pairs: Content) -> float:
    """How much more a list is like the targets than like the sources of the pairs: by symbols, and by strings."""
    listed = set(content.columns[0])
    symbols = {symbol for string in listed for symbol in string}
    shares = []
    for column in pairs.columns:
        different = set(column)
        written = [symbol in symbols for string in different for symbol in string]
        foreign = symbols - {symbol for string in different for symbol in string}
        shares.append(
            sum(written) / len(written) + len(different & listed) / len(different) - len(foreign) / len(symbols)
        )
    return shares[1] - shares[0]


def _no_pairs(contents: Sequence[Content]) -> str:
    rows = {len(one.columns[0]) for one in contents}
    if len(contents) > 1 and len(rows) == 1:
        names = [str(one.table.path) for one in contents]
        joined = f"if they belong together row by row, `paste {names[0]} {names[1]} > pairs.tsv` makes pairs of them"
        return f"no file has pairs, but {' and '.join(names)} have equally many rows: {joined}"
    spaced = next((one for one in contents if all(string.count(" ") == 1 for string in one.columns[0])), None)
    hint = f"; if {spaced.table.path} has source and target, put a tab between them" if spaced else ""
    return f"no file has pairs, which are two columns, source and target{hint}"


def described(role: str, content: Content) -> Iterator[str]:
    """What was found in a file, in plain words: a line about the file, and further ones about what is in it."""
    table = content.table
    form = [f"{table.encoding}"]
    if table.delimiter:
        form.append(f"columns separated by {table.delimiter}")
    if content.header:
        form.append(f"a header, {shown(content.header)}, which is left out")
    if content.counts is not None:
        form.append("with counts")
    yield f"{table.path}: {len(content.columns[0]):,} {'pairs' if content.is_pairs else role}; {'; '.join(form)}"
    sides = ("sources", "targets") if content.is_pairs else (role,)
    for side, strings, kind in zip(sides, content.columns, content.kinds, strict=True):
        lengths = [len(split(string, kind)) for string in strings]
        how = "symbols separated by spaces" if kind is Symbols.SPACES else "every character is a symbol"
        mean = sum(lengths) / len(lengths)
        yield f"  {side}: {how}, {mean:.1f} on average and at most {max(lengths):,}, such as {shown(strings[0])}"
    for note in table.notes:
        yield f"  {note}: changed"
