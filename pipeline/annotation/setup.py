"""A project for the files of people: copies in data/raw, and `data` and `prepare` in params.yaml that fit them.

`inspection` finds out what the files hold. Everything is tried in a scratch folder first, as stage `prepare` would do
it, and written only then.
"""

from collections.abc import Mapping, Sequence
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from joblib import cpu_count

from pipeline.config import edit
from pipeline.config.options import Rows, Symbols
from pipeline.config.params import PARAMS, Params, changed
from pipeline.data.alphabet import split
from pipeline.data.checks import look_at_list
from pipeline.data.corpus import read_corpus
from pipeline.data.inspection import DEV, PAIRS, SOURCES, TARGETS, TEST, Content, assign, described, read_content
from pipeline.data.prepared import PREPARED, Prepared, write_prepared
from pipeline.data.store import StringStore
from pipeline.errors import UserError
from pipeline.runs.folders import PRETRAIN
from pipeline.training.strategies import phases_of
from pipeline.writing import keep_copy, write_together

RAW = Path("data/raw")
FILES = {role: RAW / f"{role}.tsv" for role in (PAIRS, DEV, TEST)} | {
    role: RAW / f"{role}.txt" for role in (TARGETS, SOURCES)
}
SHARE = 6  # of the pairs, a sixth each is for dev and test
MOST = {DEV: 1000, TEST: 2000}
LONGEST = 200  # symbols of a string, unless most pairs have more; a longer one is left out
SHOWN = 5  # rows that are left out, of each file

# On a quiet core, with AVX-512 and 128 units: symbols of source and target trained on, and sources searched, a second.
# `make repro` with the shipped parameters, 11 minutes on two cores, gave both, and the seconds of everything else.
SYMBOLS_PER_SECOND, SOURCES_PER_SECOND, OTHER_SECONDS = 36_000, 250, 80


@dataclass(frozen=True)
class Plan:
    """What to write: files, and changes to params.yaml by dotted name. lines, notes: what was found, what is odd."""

    files: Mapping[Path, bytes]
    changes: Mapping[str, Any]
    lines: tuple[str, ...]
    notes: tuple[str, ...]

    def overwritten(self, params: Params) -> list[str]:
        """What is lost, in words: files with other content, and values that were chosen for other files."""
        files = [str(path) for path, content in self.files.items() if path.exists() and path.read_bytes() != content]
        values = edit.differences(self.changes) if params.data.source == "files" else {}
        return files + [f"{name} in {PARAMS} ({edit.yaml_text(before)})" for name, (before, _) in values.items()]

    def apply(self) -> list[str]:
        """Write everything or nothing; returns what was done, in words. Files that are replaced are kept as copies."""
        done, new = [], {}
        try:
            for path, content in self.files.items():
                if not path.exists() or path.read_bytes() != content:
                    kept = f", the one before is {keep_copy(path)}" if path.exists() else ""
                    done.append(f"{path}: written{kept}")
                    new[path] = content
            with write_together(new):
                values = edit.apply(self.changes)
        except OSError as error:
            raise UserError(f"{error.filename} cannot be written ({error.strerror}): nothing was changed") from error
        return done + [
            f"{PARAMS}: {name} is {edit.yaml_text(after)} now, was {edit.yaml_text(before)}"
            for name, (before, after) in values.items()
        ]


def plan(
    files: Sequence[Path],
    roles: Mapping[str, Path],
    params: Params,
    encoding: str | None = None,
    columns: str | None = None,
) -> Plan:
    """Look at files, some of which have a known role; raises `UserError` where stage `prepare` could not use them.

    encoding, columns: as for `read_content`, columns separated by commas.
    """
    paths = dict.fromkeys([*files, *roles.values()])
    if not paths:
        raise UserError("name your files: tandem init PAIRS TARGETS")
    read = [read_content(path, encoding, columns.split(",") if columns else None) for path in paths]
    contents = assign(read, roles)
    pairs, new, notes = contents[PAIRS], {}, []
    lengths = [length for role in (PAIRS, DEV, TEST) if role in contents for length in _lengths(contents[role], pairs)]
    most = max(params.prepare.max_symbols, min(max(lengths), max(LONGEST, int(np.quantile(lengths, 0.5)))))
    for role, content in contents.items():
        if FILES[role].is_dir():
            raise UserError(f"{FILES[role]} is a folder, and the file of {role} goes there: move it away")
        kinds = {TARGETS: pairs.kinds[1:], SOURCES: pairs.kinds[:1]}.get(role, pairs.kinds)
        new[FILES[role]], left_out = _lines(content, kinds, most, with_counts=role == TARGETS)
        path = content.table.path
        notes += [f"{path}, line {line}: {reason}, so it is left out" for line, reason in left_out[:SHOWN]]
        notes += [f"{path}: {len(left_out) - SHOWN:,} more rows are left out"] * (len(left_out) > SHOWN)
    changes = _changes(contents, most)
    summary, further = _tried(new, changed(params, changes))
    rows = "running text, each row right with its own target" if pairs.rows is Rows.RUNNING_TEXT else "a list of words"
    lines = [line for role, one in contents.items() for line in described(role, one)]
    lines += [f"the pairs look like {rows} (data.rows: {pairs.rows.value})", *summary]
    if SOURCES in contents:
        lines.append(f"the sources: `tandem suggest --among {FILES[SOURCES]}` says which to annotate next")
    return Plan(new, changes, tuple(lines), (*notes, *further))


def _changes(contents: Mapping[str, Content], most: int) -> dict[str, Any]:
    """What `data` and `prepare` become, by dotted name. most: symbols of a string."""
    pairs = contents[PAIRS]
    files = {f"data.{role}": str(FILES[role]) if role in contents else None for role in FILES}
    return {
        "data.source": "files",
        **files,
        "data.rows": pairs.rows.value,
        "data.source_symbols": pairs.kinds[0].value,
        "data.target_symbols": pairs.kinds[1].value,
        "prepare.pairs": None,
        "prepare.resamples": 1,
        "prepare.sample": 0,
        "prepare.targets": None,
        "prepare.sources": None,
        "prepare.max_symbols": most,
        **{f"prepare.{role}": size for role, size in _sizes(contents).items()},
    }


def _lengths(content: Content, pairs: Content) -> list[int]:
    return [
        len(split(string, kind)) for side, kind in zip(content.columns, pairs.kinds, strict=True) for string in side
    ]


def _lines(
    content: Content, kinds: Sequence[Symbols], most: int, with_counts: bool
) -> tuple[bytes, list[tuple[int, str]]]:
    """The content of a file in the project's form, perhaps with its counts, and the rows that are left out."""
    left_out, kept = list(content.skipped), []
    counts: Sequence[int | None] = (content.counts if with_counts else None) or [None] * len(content.lines)
    for line, count, row in zip(content.lines, counts, zip(*content.columns, strict=True), strict=True):
        if (longest := max(len(split(string, kind)) for string, kind in zip(row, kinds, strict=True))) > most:
            left_out.append((line, f"{longest:,} symbols, more than {most}"))
        else:
            kept.append("\t".join(row if count is None else (*row, str(max(count, 1)))))
    return "".join(f"{row}\n" for row in kept).encode(), sorted(left_out)


def _sizes(contents: Mapping[str, Content]) -> dict[str, int]:
    """How many pairs to split off for dev and test, where these have no files."""
    pairs = contents[PAIRS]
    number = len(set(pairs.columns[0])) if pairs.rows is Rows.WORDS else len(pairs.columns[0])
    missing = {role: most for role, most in MOST.items() if role not in contents}
    if number <= len(missing):
        raise UserError(f"{pairs.table.path} has {number} different sources: training, dev and test need one each")
    sizes = {role: max(1, min(most, number // SHARE)) for role, most in missing.items()}
    return {role: size // 10 * 10 if size > 20 else size for role, size in sizes.items()}


def _tried(files: Mapping[Path, bytes], params: Params) -> tuple[list[str], list[str]]:
    """Prepare the data in a scratch folder: what comes out and how long all will take, and what looks wrong."""
    with TemporaryDirectory() as scratch, chdir(scratch):
        for path, content in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        corpus = read_corpus(params.data, params.prepare)
        write_prepared(PREPARED, corpus, params.data.source_symbols, params.data.target_symbols)
        prepared = Prepared.open(PREPARED)
        notes = [*corpus.notes, *look_at_list(prepared, params.data)]
        seconds = _seconds(params, prepared)
    minutes = max(1, round(seconds / 60))
    return [
        f"{len(corpus.train):,} pairs to train on, {len(corpus.dev):,} for dev, {len(corpus.test):,} for test; "
        f"{len(corpus.targets):,} unpaired targets",
        f"`dvc repro` will take about {minutes} minutes on {cpu_count()} cores: an estimate, with "
        f"{SYMBOLS_PER_SECOND:,} symbols a second and core; without AVX-512 a core takes four times as long",
    ], notes


def _seconds(params: Params, prepared: Prepared) -> float:
    """An estimate of what `dvc repro` takes: trainings, searches, and the rest."""
    seeds, strategies = len(params.seeds), params.strategies
    stages = [*strategies, *([PRETRAIN] if any(one.is_pretrained for one in strategies.values()) else [])]
    batches = sum(phase.steps * len(phase.tasks) for stage in stages for phase in phases_of(stage, params))
    symbols = sum(map(_mean_length, (prepared.train_sources, prepared.train_targets)))
    trained = seeds * batches * params.training.batch_size * symbols * params.model.units / 128
    networks = seeds * (1 + (params.decoding.ensemble and seeds > 1)) * len(strategies)
    searched = networks * (len(prepared.dev) + len(prepared.test))
    return (trained / SYMBOLS_PER_SECOND + searched / SOURCES_PER_SECOND) / cpu_count() + OTHER_SECONDS


def _mean_length(strings: StringStore) -> float:
    return float(np.diff(strings.offsets).mean())
