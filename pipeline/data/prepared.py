"""The folder data/prepared: its layout, writing and loading."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path

import numpy as np

from pipeline.config.options import Symbols
from pipeline.data.alignment import Alignment, align, same_symbols
from pipeline.data.alphabet import (
    SOURCE_ALPHABET,
    TARGET_ALPHABET,
    UNKNOWN,
    Alphabet,
    in_parts,
    load_alphabets,
    save_alphabets,
)
from pipeline.data.corpus import Corpus, Rejected
from pipeline.data.examples import Example
from pipeline.data.store import StringStore
from pipeline.errors import UserError
from pipeline.hashing import file_digest

PREPARED = Path("data/prepared")

TRAIN, DEV, TEST, TARGETS = "train.tsv", "dev.tsv", "test.tsv", "targets.txt"
REJECTED = "rejected.tsv"
ALIGNMENT = "alignment.npz"
DATA_FILES = (SOURCE_ALPHABET, TARGET_ALPHABET, TRAIN, DEV, TEST, TARGETS, ALIGNMENT)
TRAIN_SOURCES, TRAIN_TARGETS, UNPAIRED = "train_sources", "train_targets", "targets"


def write_prepared(folder: Path, corpus: Corpus, source_kind: Symbols, target_kind: Symbols) -> None:
    """Write a corpus to a folder; the same corpus gives identical bytes.

    The alphabets have the symbols of training pairs and unpaired targets, not of dev and test. If most symbols of the
    sources are symbols of targets, too, the alphabet of the sources has all symbols of targets: one that the pairs
    happen not to show is then not unknown, and most likely stays as it is.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sources = [example.source for example in corpus.train]
    targets = [example.target for example in corpus.train]
    source_alphabet = _alphabet("sources", sources, source_kind)
    target_alphabet = _alphabet("targets", chain(targets, corpus.targets), target_kind)
    if source_kind is target_kind and _mostly_known(sources, target_alphabet):
        source_alphabet = Alphabet.of([*sources, *target_alphabet.symbols], source_kind)
    save_alphabets(folder, source_alphabet, target_alphabet)
    for name, examples in ((TRAIN, corpus.train), (DEV, corpus.dev), (TEST, corpus.test)):
        _write_lines(folder / name, ("\t".join((row.source, row.target, *row.also)) for row in examples))
    _write_lines(folder / TARGETS, corpus.targets)
    train_sources, train_targets = StringStore.of(sources, source_alphabet), StringStore.of(targets, target_alphabet)
    train_sources.save(folder / TRAIN_SOURCES)
    train_targets.save(folder / TRAIN_TARGETS)
    StringStore.of(corpus.targets, target_alphabet).save(folder / UNPAIRED)
    same = same_symbols(source_alphabet, target_alphabet)
    align(train_sources, train_targets, same, len(source_alphabet)).save(folder / ALIGNMENT)
    _write_rejected(folder / REJECTED, corpus.rejected)


@dataclass(frozen=True)
class Prepared:
    """The data of data/prepared, memory-mapped or read when first needed."""

    folder: Path
    source_alphabet: Alphabet
    target_alphabet: Alphabet
    train_sources: StringStore  # row i of these two is train pair i
    train_targets: StringStore
    targets: StringStore  # unpaired

    def __post_init__(self) -> None:
        sides = (self.source_alphabet, self.target_alphabet, self.target_alphabet)
        stores = (self.train_sources, self.train_targets, self.targets)
        for name, store, alphabet in zip((TRAIN_SOURCES, TRAIN_TARGETS, UNPAIRED), stores, sides, strict=True):
            if store.largest() >= len(alphabet):
                raise _damaged(self.folder / name, "it has ids of symbols that are not in the alphabet")
        if len(self.train_sources) != len(self.train_targets):
            raise _damaged(self.folder, f"{TRAIN_SOURCES} and {TRAIN_TARGETS} differ in their number of rows")

    @classmethod
    def open(cls, folder: Path = PREPARED) -> "Prepared":
        """Load the alphabets and map the stores.

        Raises `UserError` if a file is missing or damaged, as do all properties that read one.
        """
        for name in DATA_FILES:
            if not (folder / name).is_file():
                raise _damaged(folder / name, "no such file")
        try:
            alphabets = load_alphabets(folder)
            stores = [StringStore.open(folder / name) for name in (TRAIN_SOURCES, TRAIN_TARGETS, UNPAIRED)]
        except UserError as error:
            raise _damaged(folder, str(error)) from error
        return cls(folder, *alphabets, *stores)

    @cached_property
    def train(self) -> tuple[Example, ...]:
        """The training pairs."""
        return _read_examples(self.folder / TRAIN)

    @cached_property
    def dev(self) -> tuple[Example, ...]:
        """The development examples, which decide early stopping."""
        return _read_examples(self.folder / DEV)

    @cached_property
    def test(self) -> tuple[Example, ...]:
        """The test examples, which compare strategies."""
        return _read_examples(self.folder / TEST)

    @cached_property
    def alignment(self) -> Alignment:
        """The alignment of the training pairs, with the edits learned from them."""
        shape = len(self.source_alphabet), len(self.target_alphabet)
        try:
            return Alignment.load(self.folder / ALIGNMENT, self.train_sources, self.train_targets, shape)
        except UserError as error:
            raise _damaged(self.folder / ALIGNMENT, str(error)) from error

    def among_unpaired(self, strings: Iterable[str]) -> set[str]:
        """Find the strings that are unpaired targets; the list is read, not kept in memory."""
        wanted = set(strings)
        try:
            with (self.folder / TARGETS).open(encoding="utf-8", newline="\n") as file:
                return {target for line in file if (target := line.removesuffix("\n")) in wanted}
        except (OSError, ValueError) as error:
            raise _damaged(self.folder / TARGETS, str(error)) from error

    @cached_property
    def longest_source(self) -> int:
        """The number of symbols of the longest training source; other sources may be longer."""
        return int(np.diff(self.train_sources.offsets).max(initial=0))

    @cached_property
    def longest_target(self) -> int:
        """The number of symbols of the longest training or unpaired target."""
        return max(int(np.diff(store.offsets).max(initial=0)) for store in (self.train_targets, self.targets))

    @cached_property
    def digest(self) -> str:
        """SHA-256 in hex over all `DATA_FILES`: the same for the same data."""
        whole = hashlib.sha256()
        for name in DATA_FILES:
            try:
                whole.update(bytes.fromhex(file_digest(self.folder / name)))
            except OSError as error:
                raise _damaged(self.folder / name, str(error)) from error
        return whole.hexdigest()


def _alphabet(side: str, strings: Iterable[str], kind: Symbols) -> Alphabet:
    try:
        return Alphabet.of(strings, kind)
    except UserError as error:
        raise UserError(f"the {side} cannot be used: {error}") from None


def _mostly_known(strings: Sequence[str], alphabet: Alphabet) -> bool:
    ids, _ = alphabet.encode_all(strings)
    return bool(np.mean(ids != UNKNOWN) > 0.5) if len(ids) else False


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for part in in_parts(lines):
            file.write("\n".join([*part, ""]))


def _write_rejected(path: Path, rejected: Sequence[Rejected] | None) -> None:
    if rejected is None:
        path.unlink(missing_ok=True)
        return
    rows = ("\t".join((row.file, str(row.line), row.reason, row.text)) for row in rejected)
    _write_lines(path, chain(["file\tline\treason\ttext"], rows))


def _read_examples(path: Path) -> tuple[Example, ...]:
    try:
        text = path.read_bytes().decode()
    except (OSError, ValueError) as error:
        raise _damaged(path, str(error)) from error
    examples = []
    # Rows end at a line feed alone: str.splitlines would also end them at characters such as U+2028.
    for number, line in enumerate(text.removesuffix("\n").split("\n"), start=1):
        match line.split("\t"):
            case [source, target, *also]:
                examples.append(Example(source, target, tuple(also)))
            case _:
                raise _damaged(path, f"line {number} has no target")
    return tuple(examples)


def _damaged(path: Path, reason: str) -> UserError:
    return UserError(f"{path} is missing or damaged ({reason}): run `dvc repro prepare`")
