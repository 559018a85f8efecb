"""The matcher over a long list of targets, and learned noise: strings per second."""

import time
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks import loads
from benchmarks.timing import DoRound, Round, timed
from pipeline.config.params import Params
from pipeline.data.prepared import Prepared
from pipeline.training.noise import learned_noise

TOP = 5  # targets that a search gives


def matching(params: Params, folder: Path, targets: int, sources: int) -> DoRound:
    """Rounds of making an index of synthetic targets and searching it for sources of the test set."""
    from pipeline.matcher.network import Index, Matcher
    from pipeline.model.backend import keras  # here, because noise does not need it

    prepared = Prepared.open(folder)
    keras.utils.set_random_seed(0)
    matcher = Matcher(params.matcher, prepared.source_alphabet, prepared.target_alphabet)
    words = b"".join(loads.words(targets, seed=0)).decode().splitlines()
    searched = [example.source for example in prepared.test][:sources]

    def do_round(listed: list[str]) -> Round:
        started = time.perf_counter()
        index = Index(matcher, listed)
        indexed = time.perf_counter()
        index.search(searched, TOP)
        seconds = time.perf_counter() - started
        parts = {"index_seconds": indexed - started, "search_seconds": started + seconds - indexed}
        return Round({"targets": len(listed), "sources": len(searched), **parts}, seconds)

    do_round(words[: max(1, targets // 100)])
    return partial(do_round, words)


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
