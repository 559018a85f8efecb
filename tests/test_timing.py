"""Competitors in turn. Each process imports this module: it is to stay a light one."""

import os
import time
from functools import partial
from itertools import pairwise

import pytest

from benchmarks.timing import DoRound, Round, Spread, available_cores, in_turn, ratios
from pipeline.errors import UserError

several_cores = pytest.mark.skipif(
    available_cores() < 2 or not hasattr(os, "sched_setaffinity"), reason="one core, or a system without affinity"
)


def clocks() -> DoRound:
    """Rounds that say when they began and ended, and who did them with how many threads."""

    def do_round() -> Round:
        began = time.monotonic()
        time.sleep(0.02)
        threads = float(os.environ["OMP_NUM_THREADS"])
        return Round({"began": began, "ended": time.monotonic(), "process": os.getpid(), "threads": threads}, 0.02)

    return do_round


def cores() -> DoRound:
    """Rounds that say on which cores they run: 1 for the first, 2 for the second, 4 for the third, ..."""
    return lambda: Round({"cores": sum(2.0**core for core in os.sched_getaffinity(0)), "processes": 1.0}, 0.1)


def mistaken(when: str) -> DoRound:
    def do_round() -> Round:
        raise UserError("there is no such round")

    if when == "set up":
        raise UserError("there is no such competitor")
    return do_round


def dying() -> DoRound:
    os._exit(3)


def test_each_competitor_does_its_rounds_in_a_process_of_its_own_with_its_threads() -> None:
    before = os.environ.get("OMP_NUM_THREADS")
    found = in_turn({"one": clocks, "other": clocks}, rounds=3, threads=1)
    processes = {name: {done.done["process"] for done in rounds} for name, rounds in found.items()}
    assert [len(rounds) for rounds in found.values()] == [3, 3]
    assert [len(some) for some in processes.values()] == [1, 1]
    assert processes["one"] != processes["other"]
    assert all(done.done["threads"] == 1 for rounds in found.values() for done in rounds)
    assert os.environ.get("OMP_NUM_THREADS") == before


def test_one_competitor_is_at_work_at_a_time_and_the_order_turns_around() -> None:
    found = in_turn({"one": clocks, "other": clocks}, rounds=4, threads=1)
    spans = sorted((done.done["began"], done.done["ended"], name) for name in found for done in found[name])
    assert all(ended <= began for (_, ended, _), (began, _, _) in pairwise(spans))
    order = [name for _, _, name in spans]
    first = [name for place, name in enumerate(order) if place == 0 or order[place - 1] != name]
    assert first in (["one", "other", "one", "other", "one"], ["one", "other", "one", "other"])


@several_cores
def test_copies_of_a_competitor_have_cores_of_their_own_and_their_work_is_added_up() -> None:
    first, second = (2.0**core for core in sorted(os.sched_getaffinity(0))[:2])
    (alone,) = in_turn({"one": cores}, rounds=1, threads=1)["one"]
    (both,) = in_turn({"one": cores}, rounds=1, threads=1, copies=2)["one"]
    (wide,) = in_turn({"one": cores}, rounds=1, threads=2)["one"]
    assert alone.done == {"cores": first, "processes": 1}
    assert both.done == {"cores": first + second, "processes": 2}
    assert wide.done == {"cores": first + second, "processes": 1}


@pytest.mark.parametrize(("when", "said"), [("set up", "no such competitor"), ("round", "no such round")])
def test_a_mistake_of_the_user_comes_back_as_it_is(when: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        in_turn({"one": partial(mistaken, when)}, rounds=1, threads=1)


def test_a_competitor_that_dies_is_noticed() -> None:
    with pytest.raises(RuntimeError, match="terminated abruptly"):
        in_turn({"one": dying}, rounds=1, threads=1)


def test_a_rate_is_what_was_done_in_a_second() -> None:
    assert Round({"symbols": 30.0}, seconds=2.0).rate("symbols") == 15


def test_rounds_at_the_same_time_add_up_and_last_as_long_as_the_longest() -> None:
    together = Round.together([Round({"strings": 3}, 2.0, cpu_seconds=1.5), Round({"strings": 4}, 3.0, cpu_seconds=2)])
    assert together == Round({"strings": 7}, 3.0, cpu_seconds=3.5)


def test_ratios_are_taken_round_by_round() -> None:
    ours = [Round({"symbols": symbols}, 1.0) for symbols in (10, 40, 90)]
    theirs = [Round({"symbols": 10}, seconds) for seconds in (1.0, 2.0, 0.5)]
    assert ratios(ours, theirs, "symbols") == Spread(median=4.5, low=1.0, high=8.0)
