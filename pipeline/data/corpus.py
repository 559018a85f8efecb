"""The corpus of params.yaml in memory: pairs, split into train, dev and test, and unpaired targets.

`raw` reads and cleans the rows of files, `prepared` writes the corpus.
"""

from array import array
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, compress
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline.config.options import Rows, Symbols
from pipeline.config.params import Data, Prepare
from pipeline.data.checks import look_at_rows
from pipeline.data.cmudict import find_cmudict, read_cmudict
from pipeline.data.examples import Example
from pipeline.data.raw import Rejected, has_counts, read_rows
from pipeline.data.store import Integers, PackedStrings
from pipeline.errors import UserError

T = TypeVar("T")
Splits = dict[str, list[Example]]  # train, dev and test by name

WORDS_STREAM, PAIRS_STREAM, TARGETS_STREAM, SOURCES_STREAM = range(4)  # independent random streams of prepare.seed


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
    target_counts: Integers | None = None  # how often each unpaired target occurs in text, int64
    sources: Collection[str] = ()  # unpaired
    ambiguous_sources: int = 0  # with several targets
    duplicate_rows: int = 0  # of files of pairs: such as repeat one before them
    notes: Sequence[str] = ()  # what looks wrong in the files


def read_corpus(data: Data, prepare: Prepare) -> Corpus:
    """Read, clean, split and sample the data of params.yaml; raises `UserError` if that is not possible.

    Samples are nested: the pairs and targets of a smaller `prepare.pairs` or `prepare.targets` are among those of a
    larger one, and neither changes the other, dev or test. Another `prepare.sample` changes the pairs alone.
    """
    rejected: list[Rejected] | None = [] if prepare.on_bad_row == "skip" else None
    targets: PackedStrings | None
    counts = None
    if data.source == "cmudict":
        path, origin = find_cmudict()
        words = read_cmudict(path, prepare.max_symbols)
        splits = split_by_sound(words, prepare.dev, prepare.test, prepare.seed)
        targets = PackedStrings.of(words)
        ambiguous, duplicates, notes = sum(count > 1 for count in Counter(words.values()).values()), 0, []
    else:
        origin = data.source
        files, targets, counts = _read_files(data, prepare, rejected)
        rows = list(chain.from_iterable(files.values()))
        listed_targets = targets_by_source(rows)
        ambiguous = sum(len(several) > 1 for several in listed_targets.values())
        duplicates = sum(len(some) - len(set(some)) for some in files.values())
        notes = look_at_rows(files, targets or (), data)
        splits = _splits(files, listed_targets, data, prepare)
    if prepare.pairs is not None:
        if prepare.resamples > 1 and prepare.pairs == len(splits["train"]):
            raise UserError(
                f"prepare.resamples is {prepare.resamples}, but each sample would be all {prepare.pairs:,} training "
                "pairs: lower prepare.pairs, best to a small part of them, or set prepare.resamples: 1"
            )
        seed = [prepare.seed, PAIRS_STREAM, prepare.sample]
        drawn = _drawn(len(splits["train"]), prepare.pairs, seed, "prepare.pairs", "training pairs")
        splits["train"] = list(compress(splits["train"], drawn))
    if targets is None:
        targets = PackedStrings.of(pair.target for pair in splits["train"])
    listed = len(targets)
    if prepare.hold_out_targets:
        targets, counts = _some_of(targets, counts, not_held_out(targets, [*splits["dev"], *splits["test"]]))
        if not targets:
            raise UserError(
                f"all {listed:,} unpaired targets are dev or test targets, so none are left: add targets, "
                "or set prepare.hold_out_targets: false"
            )
    held_out = listed - len(targets)
    if prepare.targets is not None:
        seed = [prepare.seed, TARGETS_STREAM]
        drawn = _drawn(len(targets), prepare.targets, seed, "prepare.targets", "unpaired targets")
        targets, counts = _some_of(targets, counts, drawn)
    return Corpus(
        **splits,
        targets=targets,
        held_out=held_out,
        rejected=rejected,
        origin=origin,
        target_counts=counts,
        sources=_read_sources(data, prepare, rejected),
        ambiguous_sources=ambiguous,
        duplicate_rows=duplicates,
        notes=notes,
    )


def read_pairs(
    path: Path, source_kind: Symbols, target_kind: Symbols, max_symbols: int, rejected: list[Rejected] | None = None
) -> list[Example]:
    """Read a UTF-8 file of two tab-separated columns, source and target; a `.gz` file is unpacked.

    A bad row raises `UserError`, or is added to `rejected` if it is a list.
    """
    columns = {"source": source_kind, "target": target_kind}
    return [Example(source, target) for source, target in read_rows(path, columns, max_symbols, rejected)]


def read_targets(
    path: Path, kind: Symbols, max_symbols: int, rejected: list[Rejected] | None = None
) -> tuple[PackedStrings, Integers | None]:
    """Read a file of one target per line, each perhaps with a count behind a tab, in all else like `read_pairs`.

    Gives the targets and their counts, int64 [targets], None if the first line has none.
    """
    counted, counts = has_counts(path), array("q")
    columns: dict[str, Symbols | None] = {"target": kind, "count": None} if counted else {"target": kind}

    def targets() -> Iterator[str]:
        for target, *count in read_rows(path, columns, max_symbols, rejected):
            counts.extend(map(int, count))
            yield target

    packed = PackedStrings.of(targets())
    return packed, np.array(counts, dtype=np.int64) if counted else None


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


def targets_by_source(rows: Iterable[Example]) -> dict[str, list[str]]:
    """The different targets of each source, in the order in which they are listed."""
    targets: dict[str, dict[str, None]] = {}
    for row in rows:
        targets.setdefault(row.source, {})[row.target] = None
    return {source: list(some) for source, some in targets.items()}


def by_source(rows: Sequence[Example], listed: Mapping[str, Sequence[str]]) -> list[Example]:
    """One example for each source of the rows: its first target, and all others that are `listed` for it."""
    first = {row.source: row.target for row in reversed(rows)}
    sources = dict.fromkeys(row.source for row in rows)
    return [Example(one, first[one], tuple(other for other in listed[one] if other != first[one])) for one in sources]


def linked_examples(examples: Sequence[Example]) -> Integers:
    """A number for each example, int [n], the same for examples that share a target, also through others."""
    from scipy.sparse import coo_array  # here: what only looks at files does not wait for it
    from scipy.sparse.csgraph import connected_components

    targets: dict[str, int] = {}
    pairs = ((row, one) for row, example in enumerate(examples) for one in (example.target, *example.also))
    links: Integers = np.array([(row, targets.setdefault(one, len(targets))) for row, one in pairs])
    size = len(examples) + len(targets)
    edges = coo_array((np.ones(len(links)), (links[:, 0], len(examples) + links[:, 1])), shape=(size, size))
    return connected_components(edges, directed=False)[1][: len(examples)]


def draw(groups: Integers, rows: int, seed: int, leave: int = 1) -> NDArray[np.bool_]:
    """Draw about `rows` random examples, bool [n], each with all of its group.

    groups: the number of each example's group, int [n]. Groups are drawn until the number of examples is as close to
    `rows` as possible, at least one group and at most so many that `leave` remain; groups of more than `rows` examples
    come last.
    """
    numbers, groups = np.unique(groups, return_inverse=True)
    sizes = np.bincount(groups)
    # Drawn as by scikit-learn's GroupShuffleSplit, which takes a second to import.
    order = np.random.RandomState(seed).permutation(len(numbers))
    order = order[np.argsort(sizes[order] > rows, kind="stable")]
    rows_drawn = np.cumsum(sizes[order])[: len(numbers) - leave]
    closest = 1 + np.argmin(np.abs(rows_drawn - rows))
    return np.isin(groups, order[:closest])


def not_held_out(targets: Collection[str], examples: Iterable[Example]) -> NDArray[np.bool_]:
    """Which targets count as right for none of the examples, bool [targets]."""
    held = {target for example in examples for target in example.accepted}
    return ~np.fromiter(map(held.__contains__, targets), dtype=bool, count=len(targets))


def _some_of(
    targets: PackedStrings, counts: Integers | None, chosen: NDArray[np.bool_]
) -> tuple[PackedStrings, Integers | None]:
    return PackedStrings.of(compress(targets, chosen)), None if counts is None else counts[chosen]


def _read_files(
    data: Data, prepare: Prepare, rejected: list[Rejected] | None
) -> tuple[Splits, PackedStrings | None, Integers | None]:
    """The rows of each file of pairs, by split, and the unpaired targets with counts, None if there is no file."""
    kinds, pairs_file, targets_file = (data.source_symbols, data.target_symbols), data.pairs, data.targets
    if pairs_file is None:
        raise UserError("data.source: files needs data.pairs")
    files = {
        name: _some(read_pairs(path, *kinds, prepare.max_symbols, rejected), path, rejected)
        for name, path in (("train", pairs_file), ("dev", data.dev), ("test", data.test))
        if path
    }
    if targets_file is None:
        return files, None, None
    targets, counts = read_targets(targets_file, data.target_symbols, prepare.max_symbols, rejected)
    return files, _some(targets, targets_file, rejected), counts


def _read_sources(data: Data, prepare: Prepare, rejected: list[Rejected] | None) -> Collection[str]:
    if data.sources is None:
        return ()
    rows = read_rows(data.sources, {"source": data.source_symbols}, prepare.max_symbols, rejected)
    sources = _some(PackedStrings.of(chain.from_iterable(rows)), data.sources, rejected)
    if prepare.sources is None:
        return sources
    seed = [prepare.seed, SOURCES_STREAM]
    return list(compress(sources, _drawn(len(sources), prepare.sources, seed, "prepare.sources", "unpaired sources")))


def _some(rows: T, path: Path, rejected: Sequence[Rejected] | None) -> T:
    if not rows:
        why = next((f" (line {row.line}: {row.reason})" for row in rejected or () if row.file == path.as_posix()), "")
        raise UserError(f"{path} has no usable row{why}: give it at least one")
    return rows


def _splits(files: Splits, listed: Mapping[str, Sequence[str]], data: Data, prepare: Prepare) -> Splits:
    """Train, dev and test; what has no file is split off the training pairs.

    In running text every row is an example, and no target is split off that is also in the rest. Of words every source
    is one, right with any target that is listed for it; a source is never on two sides of a split, nor is a target,
    unless nearly all sources are linked by the targets that they share.
    """
    words = data.rows is Rows.WORDS
    splits = {name: by_source(rows, listed) for name, rows in files.items()} if words else dict(files)
    wanted = {name: rows for name, rows in (("test", prepare.test), ("dev", prepare.dev)) if name not in files}
    if wanted:
        splits |= _split(splits["train"], wanted, words, data.pairs, prepare.seed)
    if words:  # the rows of the file again, each once
        kept = {example.source for example in splits["train"]}
        splits["train"] = [row for row in dict.fromkeys(files["train"]) if row.source in kept]
    return splits


def _split(pairs: list[Example], wanted: Mapping[str, int], words: bool, path: Path | None, seed: int) -> Splits:
    things = "different sources" if words else "pairs"
    asked = " + ".join(f"prepare.{name}" for name in wanted)
    if sum(wanted.values()) >= len(pairs):
        raise UserError(
            f"{path} has too few {things}: {len(pairs):,}, of which {asked} takes {sum(wanted.values()):,}, so that "
            "none are left for training. Lower prepare.dev and prepare.test, or name files for data.dev and data.test"
        )
    groups = linked_examples(pairs)
    if words and 2 * np.bincount(groups).max() > len(pairs):
        groups = np.arange(len(pairs))
    different = len(np.unique(groups))
    if different <= len(wanted):
        raise UserError(
            f"{path} has too few different targets: {different}. Splitting {asked} off takes at least "
            f"{len(wanted) + 1}, as no target may be in two splits. Add pairs, or name files for data.dev and data.test"
        )
    splits = {}
    for leave, (name, rows) in zip(range(len(wanted), 0, -1), wanted.items(), strict=True):
        drawn = draw(groups, rows, seed, leave)
        splits[name] = list(compress(pairs, drawn))
        pairs, groups = list(compress(pairs, ~drawn)), groups[~drawn]
    return splits | {"train": pairs}


def _drawn(rows: int, count: int, seed: Sequence[int], key: str, things: str) -> NDArray[np.bool_]:
    """Draw `count` of so many rows at random, bool [rows]."""
    if count > rows:
        raise UserError(f"{key} is {count:,}, but there are {rows:,} {things}: lower it, or set it to null for all")
    drawn = np.zeros(rows, dtype=bool)
    drawn[np.random.default_rng(seed).permutation(rows)[:count]] = True
    return drawn
