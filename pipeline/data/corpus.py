"""The corpus of params.yaml in memory: pairs, split into train, dev and test, and unpaired targets.

`raw` reads and cleans the rows of files, `prepared` writes the corpus.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, compress, filterfalse
from pathlib import Path
from typing import TypeVar

import numpy as np

from pipeline.config.options import Symbols
from pipeline.config.params import Data, Prepare
from pipeline.data.cmudict import find_cmudict, read_cmudict
from pipeline.data.examples import Example
from pipeline.data.raw import Rejected, read_rows
from pipeline.data.store import PackedStrings
from pipeline.errors import UserError

T = TypeVar("T")
Splits = dict[str, list[Example]]  # train, dev and test by name

WORDS_STREAM, PAIRS_STREAM, TARGETS_STREAM = range(3)  # independent random streams of prepare.seed


@dataclass(frozen=True)
class Corpus:
    """The data that strategies train on and are evaluated with."""

    train: Sequence[Example]
    dev: Sequence[Example]
    test: Sequence[Example]
    targets: Collection[str]  # unpaired
    held_out: int  # unpaired targets left out because they are dev or test targets
    rejected: Sequence[Rejected] | None  # skipped rows; None if bad rows are errors
    origin: str  # "files", or the dictionary and its version


def read_corpus(data: Data, prepare: Prepare) -> Corpus:
    """Read, clean, split and sample the data of params.yaml; raises `UserError` if that is not possible.

    Samples are nested: the pairs and targets of a smaller `prepare.pairs` or `prepare.targets` are among those of a
    larger one, and neither changes the other, dev or test.
    """
    rejected: list[Rejected] | None = [] if prepare.on_bad_row == "skip" else None
    if data.source == "cmudict":
        path, origin = find_cmudict()
        words = read_cmudict(path, prepare.max_symbols)
        splits = split_by_sound(words, prepare.dev, prepare.test, prepare.seed)
        targets = PackedStrings.of(words)
    else:
        origin = data.source
        splits, targets = _read_files(data, prepare, rejected)
    if prepare.pairs is not None:
        seed = [prepare.seed, PAIRS_STREAM]
        splits["train"] = list(_sample(splits["train"], prepare.pairs, seed, "prepare.pairs", "training pairs"))
    listed = len(targets)
    if prepare.hold_out_targets:
        targets = PackedStrings.of(hold_out(targets, [*splits["dev"], *splits["test"]]))
        if not targets:
            raise UserError(
                f"all {listed:,} unpaired targets are dev or test targets, so none are left: add targets, "
                "or set prepare.hold_out_targets: false"
            )
    held_out = listed - len(targets)
    if prepare.targets is not None:
        seed = [prepare.seed, TARGETS_STREAM]
        targets = PackedStrings.of(_sample(targets, prepare.targets, seed, "prepare.targets", "unpaired targets"))
    return Corpus(**splits, targets=targets, held_out=held_out, rejected=rejected, origin=origin)


def read_pairs(
    path: Path, source_kind: Symbols, target_kind: Symbols, max_symbols: int, rejected: list[Rejected] | None = None
) -> list[Example]:
    """Read a UTF-8 file of two tab-separated columns, source and target; a `.gz` file is unpacked.

    A bad row raises `UserError`, or is added to `rejected` if it is a list.
    """
    columns = {"source": source_kind, "target": target_kind}
    return [Example(source, target) for source, target in read_rows(path, columns, max_symbols, rejected)]


def read_targets(path: Path, kind: Symbols, max_symbols: int, rejected: list[Rejected] | None = None) -> list[str]:
    """Read a file of one target per line, in all else like `read_pairs`."""
    return [target for (target,) in read_rows(path, {"target": kind}, max_symbols, rejected)]


def split_by_sound(words: dict[str, str], dev: int, test: int, seed: int) -> Splits:
    """Make train, dev and test examples of words with their sounds: one example per sound.

    If several words share a sound, one is drawn. The others count as right in dev and test; train leaves them out.
    """
    spellings: dict[str, list[str]] = {}
    for word, sound in words.items():
        spellings.setdefault(sound, []).append(word)
    if dev + test >= len(spellings):
        raise UserError(
            f"prepare.dev + prepare.test is {dev + test:,}, but the dictionary has {len(spellings):,} different sounds "
            "(within prepare.max_symbols): lower them, so that some are left for training"
        )
    rng = np.random.default_rng([seed, WORDS_STREAM])
    examples = []
    for (sound, same), draw in zip(spellings.items(), rng.random(len(spellings)), strict=True):
        target = same[int(draw * len(same))]
        examples.append(Example(sound, target, tuple(word for word in same if word != target)))
    order = rng.permutation(len(examples))
    tests, devs, trains = ([examples[i] for i in np.sort(rows)] for rows in np.split(order, [test, test + dev]))
    return {"train": [Example(example.source, example.target) for example in trains], "dev": devs, "test": tests}


def split_by_target(
    examples: Sequence[Example], rows: int, seed: int, leave: int = 1
) -> tuple[list[Example], list[Example]]:
    """Split about `rows` random examples off, no target on both sides; returns the rest and those split off.

    Targets are drawn with all of their rows until the number of rows is as close to `rows` as possible, at least one
    target and at most so many that `leave` remain. Both sides keep the order of `examples`.
    """
    numbers: dict[str, int] = {}
    groups = np.array([numbers.setdefault(example.target, len(numbers)) for example in examples])
    # Drawn as by scikit-learn's GroupShuffleSplit, which takes a second to import.
    order = np.random.RandomState(seed).permutation(len(numbers))
    rows_drawn = np.cumsum(np.bincount(groups)[order])[: len(numbers) - leave]
    closest = 1 + np.argmin(np.abs(rows_drawn - rows))
    drawn = np.isin(groups, order[:closest])
    return list(compress(examples, ~drawn)), list(compress(examples, drawn))


def hold_out(targets: Iterable[str], examples: Iterable[Example]) -> Iterator[str]:
    """Leave out targets that count as right for one of the examples."""
    held = {target for example in examples for target in example.accepted}
    return filterfalse(held.__contains__, targets)


def _read_files(data: Data, prepare: Prepare, rejected: list[Rejected] | None) -> tuple[Splits, PackedStrings]:
    kinds, pairs_file, targets_file = (data.source_symbols, data.target_symbols), data.pairs, data.targets
    if pairs_file is None or targets_file is None:
        raise UserError("data.source: files needs data.pairs and data.targets")
    splits = {
        name: _some(read_pairs(path, *kinds, prepare.max_symbols, rejected), path)
        for name, path in (("train", pairs_file), ("dev", data.dev), ("test", data.test))
        if path
    }
    rows = read_rows(targets_file, {"target": data.target_symbols}, prepare.max_symbols, rejected)
    targets = PackedStrings.of(chain.from_iterable(rows))
    return _split(pairs_file, splits, prepare), _some(targets, targets_file)


def _some(rows: T, path: Path) -> T:
    if not rows:
        raise UserError(f"{path} has no usable row: give it at least one")
    return rows


def _split(path: Path, splits: Splits, prepare: Prepare) -> Splits:
    """Split dev and test off the training pairs unless they have files."""
    pairs, wanted = splits["train"], {"test": prepare.test, "dev": prepare.dev}
    wanted = {name: rows for name, rows in wanted.items() if name not in splits}
    asked = " + ".join(f"prepare.{name}" for name in wanted)
    if sum(wanted.values()) >= len(pairs):
        raise UserError(
            f"{path} has too few pairs: {len(pairs):,}, of which {asked} takes {sum(wanted.values()):,}, so that none "
            "are left for training. Lower prepare.dev and prepare.test, or name files for data.dev and data.test"
        )
    different = len({pair.target for pair in pairs})
    if different <= len(wanted):
        raise UserError(
            f"{path} has too few different targets: {different}. Splitting {asked} off takes at least "
            f"{len(wanted) + 1}, as no target may be in two splits. Add pairs, or name files for data.dev and data.test"
        )
    for leave, (name, rows) in zip(range(len(wanted), 0, -1), wanted.items(), strict=True):
        pairs, splits[name] = split_by_target(pairs, rows, prepare.seed, leave)
    return splits | {"train": pairs}


def _sample(rows: Collection[T], count: int, seed: Sequence[int], key: str, things: str) -> Iterator[T]:
    """Draw `count` rows at random, in their order."""
    if count > len(rows):
        raise UserError(
            f"{key} is {count:,}, but there are {len(rows):,} {things}: lower it, or set it to null for all"
        )
    drawn = np.zeros(len(rows), dtype=bool)
    drawn[np.random.default_rng(seed).permutation(len(rows))[:count]] = True
    return compress(rows, drawn)
