"""Strings per second: the matcher over a long list of targets, and learned noise; and synthetic words to measure with.

A word is four syllables, each a consonant or two and a vowel. Its vowels show where syllables end, so different choices
make different words.
"""

import time
from collections.abc import Iterator
from functools import partial, reduce
from itertools import product
from pathlib import Path

import numpy as np

from benchmarks.timing import DoRound, Round, timed
from pipeline.config.params import Params
from pipeline.data.prepared import Prepared
from pipeline.training.batches import permute
from pipeline.training.noise import learned_noise

TOP = 5  # targets that a search gives
ONSETS = (*"bcdfghjklmnprstvwz", "br", "ch", "cl", "dr", "fl", "gr", "pl", "pr", "qu", "sh", "sl", "st", "th", "tr")
SYLLABLES = np.array(["".join(parts).encode() for parts in product(ONSETS, "aeiouy")])
WORDS_AT_ONCE = 2**18


def words(count: int, seed: int) -> Iterator[bytes]:
    """Make distinct words in random order, each closed by a line feed, many to a piece; the same for a seed."""
    shape = (len(SYLLABLES),) * 4
    for start in range(0, count, WORDS_AT_ONCE):
        numbers = permute(np.arange(start, min(count, start + WORDS_AT_ONCE)), len(SYLLABLES) ** 4, (seed,))
        syllables = [SYLLABLES[digits] for digits in np.unravel_index(numbers, shape)]
        yield b"\n".join([*reduce(np.char.add, syllables).tolist(), b""])


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
        ended = time.perf_counter()
        parts = {"index_seconds": indexed - started, "search_seconds": ended - indexed}
        return Round({"targets": len(some), "sources": len(searched), **parts}, ended - started)

    do_round(listed[: max(1, targets // 100)])
    return partial(do_round, listed)


def noise(folder: Path, batch_size: int) -> DoRound:
    """Rounds of sampling a source for every unpaired target, in batches."""
    prepared = Prepared.open(folder)
    learned = learned_noise(prepared)
    rows = np.arange(len(prepared.targets))
    batches = [prepared.targets.padded(some) for some in np.split(rows, rows[::batch_size][1:])]
    rng = np.random.default_rng(0)

    def do_round() -> dict[str, float]:
        for ids in batches:
            learned.sample(ids, rng)
        return {"strings": len(rows)}

    return partial(timed, do_round)
