"""Strings per second: the matcher over a long list of targets, and learned noise; and synthetic words to measure with.

A word is two to five syllables, each a consonant or two and a vowel, and perhaps a last consonant. Its vowels show
where syllables end, so different choices make different words.
"""

import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.timing import DoRound, Round, timed
from pipeline.config.params import Params
from pipeline.data.prepared import Prepared
from pipeline.training.batches import permute
from pipeline.training.noise import learned_noise

TOP = 5  # targets that a search gives
ONSETS = (*"bcdfghjklmnprstvwz", "br", "ch", "cl", "dr", "fl", "gr", "pl", "pr", "qu", "sh", "sl", "st", "th", "tr")
VOWELS, CODAS = "aeiouy", ("", *"dklmnrst")
SYLLABLES = tuple(onset + vowel for onset in ONSETS for vowel in VOWELS)
SHARES = (0.0, 0.002, 0.598, 0.3, 0.1)  # of words with one syllable, two, ...; enough for 50 million words
ROWS_AT_ONCE = 2**18

Bytes = NDArray[np.uint8]


def words(count: int, seed: int) -> Iterator[bytes]:
    """Make distinct words in random order, each closed by a line feed, many to a piece; the same for a seed."""
    rng = np.random.default_rng(seed)
    syllables = 1 + np.searchsorted(np.cumsum(SHARES)[:-1], rng.random(count), side="right")
    numbers = np.empty(count, np.int64)
    for some in np.unique(syllables):
        rows = np.flatnonzero(syllables == some)
        possible = len(CODAS) * len(SYLLABLES) ** int(some)
        numbers[rows] = permute(np.arange(len(rows)), possible, (seed, int(some)))
    for start in range(0, count, ROWS_AT_ONCE):
        here = slice(start, start + ROWS_AT_ONCE)
        yield _spelled(numbers[here], syllables[here]).tobytes()


def _spelled(numbers: NDArray[np.int64], syllables: NDArray[np.int64]) -> Bytes:
    """Concatenate the letters of all words."""
    left, coda = np.divmod(numbers, len(CODAS))
    columns = []
    for place in range(int(syllables.max())):
        left, digit = np.divmod(left, len(SYLLABLES))
        letters = _table(SYLLABLES)[digit]
        letters[place >= syllables] = 0
        columns.append(letters)
    closed = np.full((len(numbers), 1), ord("\n"), np.uint8)
    letters = np.concatenate([*columns, _table(CODAS)[coda], closed], axis=1)
    return letters[letters != 0]


def _table(pieces: tuple[str, ...]) -> Bytes:
    """One piece a row, filled up with 0."""
    return np.array([piece.encode() for piece in pieces], dtype="S").view(np.uint8).reshape(len(pieces), -1)


def matching(params: Params, folder: Path, targets: int, sources: int) -> DoRound:
    """Rounds of making an index of synthetic targets and searching it for sources of the test set."""
    from pipeline.matcher.network import Index, Matcher
    from pipeline.model.backend import keras  # here, because noise does not need it

    prepared = Prepared.open(folder)
    keras.utils.set_random_seed(0)
    matcher = Matcher(params.matcher, prepared.source_alphabet, prepared.target_alphabet)
    listed = b"".join(words(targets, seed=0)).decode().splitlines()
    searched = [example.source for example in prepared.test][:sources]

    def do_round(some: list[str]) -> Round:
        started = time.perf_counter()
        index = Index(matcher, some)
        indexed = time.perf_counter()
        index.search(searched, TOP)
        seconds = time.perf_counter() - started
        parts = {"index_seconds": indexed - started, "search_seconds": started + seconds - indexed}
        return Round({"targets": len(some), "sources": len(searched), **parts}, seconds)

    do_round(listed[: max(1, targets // 100)])
    return partial(do_round, listed)


def noise(folder: Path, batch_size: int | None) -> DoRound:
    """Rounds of sampling a source for every unpaired target, in batches or for all at once."""
    prepared = Prepared.open(folder)
    learned = learned_noise(prepared)
    rows = np.arange(len(prepared.targets))
    batches = [prepared.targets.padded(some) for some in np.split(rows, rows[:: batch_size or len(rows)][1:])]
    rng = np.random.default_rng(0)

    def do_round() -> dict[str, float]:
        for ids in batches:
            learned.sample(ids, rng)
        return {"strings": len(rows)}

    return partial(timed, do_round)
