"""The folder data/prepared: its layout, writing and loading."""

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass, field, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.config.options import Symbols
from pipeline.data.alignment import Alignment, align, same_symbols
from pipeline.data.alphabet import SOURCE_ALPHABET, TARGET_ALPHABET, UNKNOWN, Alphabet, load_alphabets, save_alphabets
from pipeline.data.examples import Example
from pipeline.data.store import Integers, StringStore
from pipeline.errors import UserError
from pipeline.hashing import file_digest

if TYPE_CHECKING:  # whatever reads prepared data does not depend on the code that reads raw data
    from pipeline.data.corpus import Corpus

PREPARED = Path("data/prepared")

TRAIN, DEV, TEST, TARGETS, SOURCES = "train.tsv", "dev.tsv", "test.tsv", "targets.txt", "sources.txt"
COUNTS = "target_counts.npy"  # of no rows if the targets have none
REJECTED = "rejected.tsv"
ALIGNMENT, ALIGNMENT_WITH_DEV = "alignment.npz", "alignment_with_dev.npz"  # the latter follows from the other files
DATA_FILES = (SOURCE_ALPHABET, TARGET_ALPHABET, TRAIN, DEV, TEST, TARGETS, COUNTS, ALIGNMENT)
STORES = TRAIN_SOURCES, TRAIN_TARGETS, UNPAIRED = "train_sources", "train_targets", "targets"


def write_prepared(folder: Path, corpus: "Corpus", source_kind: Symbols, target_kind: Symbols) -> None:
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
    known = target_alphabet.encode_all(sources)[0] != UNKNOWN
    if source_kind is target_kind and 2 * np.count_nonzero(known) > len(known):
        source_alphabet = Alphabet.of([*sources, *target_alphabet.symbols], source_kind)
    save_alphabets(folder, source_alphabet, target_alphabet)
    for name, examples in ((TRAIN, corpus.train), (DEV, corpus.dev), (TEST, corpus.test)):
        _write_lines(folder / name, ("\t".join((row.source, row.target, *row.also)) for row in examples))
    _write_lines(folder / TARGETS, corpus.targets)
    _write_lines(folder / SOURCES, corpus.sources)
    train_sources, train_targets = StringStore.of(sources, source_alphabet), StringStore.of(targets, target_alphabet)
    train_sources.save(folder / TRAIN_SOURCES)
    train_targets.save(folder / TRAIN_TARGETS)
    StringStore.of(corpus.targets, target_alphabet).save(folder / UNPAIRED)
    np.save(folder / COUNTS, np.zeros(0, dtype=np.int64) if corpus.target_counts is None else corpus.target_counts)
    same = same_symbols(source_alphabet, target_alphabet)
    align(train_sources, train_targets, same, len(source_alphabet)).save(folder / ALIGNMENT)
    both = Prepared.open(folder).with_dev()
    align(both.train_sources, both.train_targets, same, len(source_alphabet)).save(folder / ALIGNMENT_WITH_DEV)
    (folder / REJECTED).unlink(missing_ok=True)
    if corpus.rejected is not None:
        rows = ("\t".join(map(str, astuple(row))) for row in corpus.rejected)
        _write_lines(folder / REJECTED, chain(["file\tline\treason\ttext"], rows))


@dataclass(frozen=True)
class Prepared:
    """The data of data/prepared, memory-mapped or read when first needed.

    includes_dev: whether the pairs of dev are among the training pairs, as by `with_dev`.
    """

    folder: Path
    source_alphabet: Alphabet
    target_alphabet: Alphabet
    train_sources: StringStore  # row i of these two is train pair i
    train_targets: StringStore
    targets: StringStore  # unpaired
    includes_dev: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        sides = (self.source_alphabet, self.target_alphabet, self.target_alphabet)
        stores = (self.train_sources, self.train_targets, self.targets)
        for name, store, alphabet in zip(STORES, stores, sides, strict=True):
            with _reading(self.folder / name):
                if store.largest() >= len(alphabet):
                    raise ValueError("it has ids of symbols that are not in the alphabet")
        with _reading(self.folder):
            if len(self.train_sources) != len(self.train_targets):
                raise ValueError(f"{TRAIN_SOURCES} and {TRAIN_TARGETS} differ in their number of rows")

    @classmethod
    def open(cls, folder: Path = PREPARED) -> "Prepared":
        """Load the alphabets and map the stores.

        Raises `UserError` if a file is missing or damaged, as do all properties that read one.
        """
        with _reading(folder):
            if missing := [name for name in DATA_FILES if not (folder / name).is_file()]:
                raise FileNotFoundError(f"it has no {' and no '.join(missing)}")
            alphabets = load_alphabets(folder)
        return cls(folder, *alphabets, *(StringStore.open(folder / name) for name in STORES))

    @cached_property
    def train(self) -> tuple[Example, ...]:
        """The training pairs."""
        pairs = read_examples(self.folder / TRAIN)
        return (*pairs, *self.dev) if self.includes_dev else pairs

    @cached_property
    def dev(self) -> tuple[Example, ...]:
        """The development examples, which decide early stopping."""
        return read_examples(self.folder / DEV)

    @cached_property
    def test(self) -> tuple[Example, ...]:
        """The test examples, which compare strategies."""
        return read_examples(self.folder / TEST)

    @cached_property
    def sources(self) -> tuple[str, ...]:
        """The unpaired sources. No training depends on them before a teacher has predicted their targets."""
        with _reading(self.folder / SOURCES):
            return tuple((self.folder / SOURCES).read_bytes().decode().split("\n")[:-1])

    @cached_property
    def target_counts(self) -> Integers | None:
        """How often each unpaired target occurs in text, int64 [targets]; None if that is not known."""
        with _reading(self.folder / COUNTS):
            counts: Integers = np.load(self.folder / COUNTS)
            if counts.dtype != np.int64 or counts.shape not in ((0,), (len(self.targets),)) or (counts < 1).any():
                raise ValueError(f"it does not hold a count for each of {len(self.targets):,} targets")
        return counts if len(counts) else None

    @cached_property
    def has_list(self) -> bool:
        """Whether there are unpaired targets besides those of the training pairs."""
        listed, paired = self.targets, self.train_targets
        return not (np.array_equal(listed.offsets, paired.offsets) and np.array_equal(listed.ids, paired.ids))

    @property
    def tempered_counts(self) -> Integers | None:
        """The binary digits of each count: 1 for 1, 10 for 1,000, 20 for a million. Words to learn from come so often.

        A word that is a thousand times as frequent as others is not worth a thousand times as much practice.
        """
        return None if self.target_counts is None else np.frexp(self.target_counts)[1].astype(np.int64)

    def with_dev(self) -> "Prepared":
        """The same data with the pairs of dev among those to train on. Symbols that only dev has stay unknown."""
        train = (*self.train, *self.dev)
        sources = StringStore.of([example.source for example in train], self.source_alphabet)
        targets = StringStore.of([example.target for example in train], self.target_alphabet)
        return replace(self, train_sources=sources, train_targets=targets, includes_dev=True)

    @cached_property
    def alignment(self) -> Alignment:
        """The alignment of the training pairs, with the edits learned from them."""
        shape = len(self.source_alphabet), len(self.target_alphabet)
        path = self.folder / (ALIGNMENT_WITH_DEV if self.includes_dev else ALIGNMENT)
        with _reading(path):
            return Alignment.load(path, self.train_sources, self.train_targets, shape)

    def among_unpaired(self, strings: Iterable[str]) -> set[str]:
        """Find the strings that are unpaired targets; the list is read, not kept in memory."""
        wanted = set(strings)
        path = self.folder / TARGETS
        with _reading(path), path.open(encoding="utf-8", newline="\n") as file:
            return wanted.intersection(line.removesuffix("\n") for line in file)

    @cached_property
    def longest_target(self) -> int:
        """The number of symbols of the longest training or unpaired target."""
        return max(int(np.diff(store.offsets).max(initial=0)) for store in (self.train_targets, self.targets))

    @cached_property
    def digest(self) -> str:
        """SHA-256 in hex over all `DATA_FILES`: the same for the same data."""
        whole = hashlib.sha256()
        with _reading(self.folder):
            for name in DATA_FILES:
                whole.update(bytes.fromhex(file_digest(self.folder / name)))
        return whole.hexdigest()


def _alphabet(side: str, strings: Iterable[str], kind: Symbols) -> Alphabet:
    try:
        return Alphabet.of(strings, kind)
    except UserError as error:
        raise UserError(f"the {side} cannot be used: {error}") from None


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{line}\n" for line in lines)


def read_examples(path: Path) -> tuple[Example, ...]:
    """The rows of a TSV: source, target, and others that are right as well; raises `UserError` for anything else."""
    examples = []
    with _reading(path):
        # Rows end at a line feed alone: str.splitlines would also end them at characters such as U+2028.
        for number, line in enumerate(path.read_bytes().decode().removesuffix("\n").split("\n"), start=1):
            source, *targets = line.split("\t")
            if not targets:
                raise ValueError(f"line {number} has no target")
            examples.append(Example(source, targets[0], tuple(targets[1:])))
    return tuple(examples)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, UserError) as error:
        raise UserError(f"{path} is missing or damaged ({error}): run `dvc repro prepare`") from error
