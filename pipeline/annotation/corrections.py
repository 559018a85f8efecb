"""Corrections that people made, brought into the pairs and into the forced answers.

The file of pairs is changed row by row, so that whatever else it holds stays as it is, and its copy is kept. All is
written, or nothing.
"""

from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from itertools import chain
from pathlib import Path

from pipeline.annotation.sheet import Correction
from pipeline.config import edit
from pipeline.config.options import Rows
from pipeline.config.params import Data, Params
from pipeline.data.corpus import read_corpus
from pipeline.data.packed import pack
from pipeline.data.raw import blocks, lines
from pipeline.errors import UserError
from pipeline.prediction.known import KNOWN_FILE, Known, known_content, load_known
from pipeline.text import normal_form, shown
from pipeline.writing import keep_copy, write_together

SHOWN = 10  # conflicts in a message
NO_FILE = (
    "data.source: cmudict has no file of pairs, so nothing is learned from corrections: "
    "`tandem init` sets the project up for files of your own"
)
DRAWN_ANEW = (
    "the next `dvc repro` draws dev and test anew from all pairs: some of the added ones are not trained on, and "
    "accuracies before and after cannot be compared. --fix-split makes files of dev and test as they are now"
)

# What to do about a source that has another target already.
Conflicts = StrEnum("Conflicts", ["REFUSE", "REPLACE", "KEEP_BOTH"])


def add(
    corrections: Sequence[Correction], params: Params, conflicts: Conflicts, fix_split: bool = False
) -> tuple[list[str], list[str]]:
    """Add corrections to the pairs of params.yaml and to the forced answers; what was done, and notes, in words.

    fix_split: first write dev and test, where they are split off the pairs at random, to files of their own. Raises
    `UserError`, with nothing changed, if sources have other targets already and `conflicts` is to refuse.
    """
    data, known = params.data, load_known()
    before = _file_rows(data.pairs) if data.pairs else []
    pairs = [pair for pair in map(_pair, before) if pair]
    answers = [(source, target) for source, targets in known.items() for target in targets]
    _check(corrections, [*pairs, *answers], conflicts)
    files = {KNOWN_FILE: known_content(_answers(known, corrections, conflicts))}
    done = [f"{KNOWN_FILE}: {len({one.source for one in corrections}):,} sources are predicted so from now on"]
    if data.pairs is None:
        return _write(files, {}, done), [NO_FILE]
    rows, changes = before, {}
    if fix_split:
        rows, splits = _split_off(params)
        files |= {path: _content(of_split) for path, of_split in splits.items()}
        changes = {f"data.{path.stem}": str(path) for path in splits}
    held = _held_out(data)
    learned = [one for one in corrections if one.source not in held]
    rows, new = _corrected(rows, learned, conflicts, data.rows)
    done.append(f"{data.pairs}: {new:,} pairs added, {len(learned) - new:,} were there already or are corrected")
    if rows != before:
        files[data.pairs] = pack(_content(rows), data.pairs)
    notes = [DRAWN_ANEW] if rows != before and not (fix_split or (data.dev and data.test)) else []
    if len(learned) < len(corrections):
        notes.append(f"{len(corrections) - len(learned):,} sources are in dev or test: they are not added to the pairs")
    if params.prepare.pairs is not None:
        notes.append(f"prepare.pairs is {params.prepare.pairs:,}, a sample: set it to null to train on all pairs")
    return _write(files, changes, done), notes


def _write(files: dict[Path, bytes], changes: dict[str, str], done: list[str]) -> list[str]:
    try:
        kept = [
            f"{path}: the file before is {keep_copy(path)}" for path in files if path.exists() and path != KNOWN_FILE
        ]
        with write_together(files):
            values = edit.apply(changes) if changes else {}
    except OSError as error:
        raise UserError(f"{error.filename} cannot be written ({error.strerror}): nothing was changed") from error
    return [*done, *kept, *(f"params.yaml: {name} is {after} now" for name, (_, after) in values.items())]


def _check(corrections: Sequence[Correction], existing: Sequence[tuple[str, str]], conflicts: Conflicts) -> None:
    """Raise `UserError` for sources with several targets, unless that is wanted."""
    targets: dict[str, dict[str, str]] = {}
    for source, target in existing:
        targets.setdefault(source, {})[target] = "already"
    wrong = []
    for line, source, target in corrections:
        others = {
            one: where
            for one, where in targets.get(source, {}).items()
            if one != target
            and not (where == "already" and (conflicts is Conflicts.REPLACE or target in targets[source]))
        }
        if others and conflicts is not Conflicts.KEEP_BOTH:
            other, where = next(iter(others.items()))
            wrong.append(f"line {line}: {shown(source)} is {shown(target)}, but {where} {shown(other)}")
        targets.setdefault(source, {}).setdefault(target, f"in line {line}")
    if wrong:
        several = f"{len(wrong)} source(s) have another target"
        remedy = "--replace takes the new target, --keep-both has both"
        more = [f"… and {len(wrong) - SHOWN:,} more"] * (len(wrong) > SHOWN)
        raise UserError("\n  ".join([f"{several}: {remedy}", *wrong[:SHOWN], *more]))


def _answers(known: Known, corrections: Sequence[Correction], conflicts: Conflicts) -> Known:
    """The forced answers with the corrections, the newest first."""
    answers = dict(known)
    for _, source, target in corrections:
        others = answers.get(source, ()) if conflicts is Conflicts.KEEP_BOTH else ()
        answers[source] = tuple(dict.fromkeys((target, *others)))
    return answers


def _corrected(
    rows: Sequence[str], corrections: Sequence[Correction], conflicts: Conflicts, kind: Rows
) -> tuple[list[str], int]:
    """The rows of the pairs with the corrections, and how many were added."""
    targets = {one.source: one.target for one in corrections} if conflicts is Conflicts.REPLACE else {}
    kept = []
    for row in rows:
        pair = _pair(row)
        right = targets.get(pair[0], pair[1]) if pair else None
        kept.append(row if pair is None or right == pair[1] else f"{pair[0]}\t{right}")
    if targets and kind is Rows.WORDS:
        kept = list(dict.fromkeys(kept))
    existing = {_pair(row) for row in kept}
    new = [pair for pair in dict.fromkeys((one.source, one.target) for one in corrections) if pair not in existing]
    return [*kept, *map("\t".join, new)], len(new)


def _split_off(params: Params) -> tuple[list[str], dict[Path, list[str]]]:
    """The rows to train on, and those of dev and test by the files to write, where these have none."""
    corpus = read_corpus(params.data, replace(params.prepare, pairs=None))
    missing = {Path(f"data/raw/{name}.tsv"): name for name in ("dev", "test") if getattr(params.data, name) is None}
    return [f"{one.source}\t{one.target}" for one in corpus.train], {
        path: [f"{one.source}\t{target}" for one in getattr(corpus, name) for target in (one.target, *one.also)]
        for path, name in missing.items()
    }


def _held_out(data: Data) -> set[str]:
    """The sources in the files of dev and test, which must not be trained on; words of a text occur everywhere."""
    paths = [path for path in (data.dev, data.test) if path and data.rows is Rows.WORDS]
    return {pair[0] for path in paths for pair in map(_pair, _file_rows(path)) if pair}


def _file_rows(path: Path) -> list[str]:
    return [line.decode(errors="surrogateescape") for line in chain.from_iterable(map(lines, blocks(path)))]


def _pair(row: str) -> tuple[str, str] | None:
    """Source and target of a row as stage `prepare` reads them; None for a bad row."""
    try:
        source, target = map(normal_form, row.split("\t"))
    except ValueError:
        return None
    return source, target


def _content(rows: Sequence[str]) -> bytes:
    return "".join(f"{row}\n" for row in rows).encode(errors="surrogateescape")
