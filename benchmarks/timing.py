"""Competitors timed in turn: each in a process of its own with its own number of threads, one at work at a time.

Competitors do their rounds in turn, so that everything else on the machine affects all alike; ratios are taken within a
round, and their median counts.
"""

import argparse
import os
import pickle
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from multiprocessing import get_context
from statistics import median
from typing import NamedTuple
from unittest.mock import patch

import psutil

from pipeline.parallel import THREADS

QUIET = 0.2  # cores in use by other processes that leave too few to the competitors; a round with more is done again
TRIES = 3  # at most, and the quietest counts


@dataclass(frozen=True)
class Round:
    """The work done in so many seconds: by name symbols, strings, operations.

    cpu_seconds: of all threads. others: how many cores other processes kept busy meanwhile, on average.
    """

    done: Mapping[str, float]
    seconds: float
    cpu_seconds: float = 0.0
    others: float = 0.0

    @classmethod
    def together(cls, rounds: Sequence["Round"]) -> "Round":
        """Add up rounds of several processes that began at the same time."""
        done = {name: sum(one.done[name] for one in rounds) for name in rounds[0].done}
        return cls(done, max(one.seconds for one in rounds), sum(one.cpu_seconds for one in rounds))

    def rate(self, name: str) -> float:
        """Work per second."""
        return self.done[name] / self.seconds


def parser_of(description: str | None) -> argparse.ArgumentParser:
    """A command line with a module's docstring as its help."""
    return argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)


def count(text: str) -> int:
    """Parse a whole number from 1 on a command line."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number from 1")
    return int(text)


DoRound = Callable[[], Round]
Make = Callable[[], DoRound]  # sets up and warms up; a function that can be pickled, perhaps partial


class Spread(NamedTuple):
    """The median of some values, with the lowest and the highest."""

    median: float
    low: float
    high: float


def ratios(ours: Sequence[Round], theirs: Sequence[Round], name: str) -> Spread:
    """How many times the rate of `theirs` `ours` has, round by round."""
    values = [one.rate(name) / other.rate(name) for one, other in zip(ours, theirs, strict=True)]
    return Spread(median(values), min(values), max(values))


def timed(work: Callable[[], Mapping[str, float]]) -> Round:
    """Time one round of `work`, which returns what it has done."""
    started = time.perf_counter()
    done = work()
    return Round(done, time.perf_counter() - started)


def in_turn(competitors: Mapping[str, Make], rounds: int, threads: int, copies: int = 1) -> dict[str, list[Round]]:
    """Let every competitor do one round after the other, `rounds` times, each on the same `threads` cores.

    copies: processes of a competitor that do their rounds at the same time, each on cores of its own. The order of the
    competitors turns around from round to round. All are set up and warmed up before the first round.
    """
    measured: dict[str, list[Round]] = {name: [] for name in competitors}
    with ExitStack() as running:
        teams = {
            name: [running.enter_context(_process(make, threads, copy * threads)) for copy in range(copies)]
            for name, make in competitors.items()
        }
        for number in range(rounds):
            for name in list(teams)[:: -1 if number % 2 else 1]:
                measured[name].append(_quiet_round(teams[name], available_cores() - threads * copies + QUIET))
    return measured


def available_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _quiet_round(team: Sequence[ProcessPoolExecutor], allowed: float) -> Round:
    """A round of all of a team, again where other processes used more than the allowed number of cores."""
    tries: list[Round] = []
    while not tries or (tries[-1].others > allowed and len(tries) < TRIES):
        started, busy, own = time.perf_counter(), _busy_seconds(), time.process_time()
        working = [process.submit(_round) for process in team]
        done = Round.together([one.result() for one in working])
        others = _busy_seconds() - busy - done.cpu_seconds - (time.process_time() - own)
        tries.append(replace(done, others=max(0.0, others / (time.perf_counter() - started))))
    return min(tries, key=lambda done: done.others)


@contextmanager
def _process(make: Make, threads: int, first_core: int) -> Iterator[ProcessPoolExecutor]:
    """A competitor that is ready: the next one sets itself up undisturbed."""
    cores = range(first_core, first_core + threads)
    # A forked tensorflow hangs. Pickled, so that nothing that computes is imported before the process knows its cores.
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        with patch.dict(os.environ, dict.fromkeys(THREADS, str(threads))):
            process.submit(_set_up, pickle.dumps(make), cores).result()
        yield process


_do_round: list[DoRound] = []  # of a competitor's process


def _set_up(make: bytes, cores: range) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends its processes
    if hasattr(os, "sched_setaffinity"):  # a thread that prepares batches gets no core of its own
        available = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, [available[core] for core in cores])
    _do_round.append(pickle.loads(make)())  # noqa: S301 - from the parent


def _round() -> Round:
    before = time.process_time()
    done = _do_round[0]()
    return replace(done, cpu_seconds=time.process_time() - before)


def _busy_seconds() -> float:
    """Of all cores since the machine started."""
    times = psutil.cpu_times()
    return sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0)
