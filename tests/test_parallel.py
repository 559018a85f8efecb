"""Work side by side. Each process imports this module: it is to stay a light one."""

import os
from collections.abc import Iterator

import pytest

from pipeline.errors import UserError
from pipeline.parallel import jobs_for, side_by_side

MISTAKE, CRASH, THREADS = -1, -2, -3


def tenfold(number: int) -> Iterator[int]:
    """A number and ten times the number; or what goes wrong; or the threads that it has."""
    if number == MISTAKE:
        raise UserError("-1 is negative")
    if number == CRASH:
        os._exit(3)
    if number == THREADS:
        yield int(os.environ.get("OMP_NUM_THREADS", "0"))
        return
    yield from (number, 10 * number)


def shown(number: int) -> Iterator[int]:
    """A number that is printed as well."""
    print("≤", number, flush=True)
    yield number


@pytest.mark.parametrize("jobs", [1, 2, 5])
def test_every_item_gives_its_results_in_their_order(jobs: int) -> None:
    found = list(side_by_side(tenfold, [1, 2, 3], jobs))
    assert sorted(found) == [1, 2, 3, 10, 20, 30]
    assert all(found.index(number) < found.index(10 * number) for number in (1, 2, 3))


def test_nothing_to_do_gives_nothing() -> None:
    assert list(side_by_side(tenfold, [], 2)) == []


def test_processes_have_one_thread_each_and_this_one_keeps_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert list(side_by_side(tenfold, [THREADS] * 3, 2)) == [1, 1, 1]
    assert "OMP_NUM_THREADS" not in os.environ


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_mistake_of_the_user_comes_back_as_it_is(jobs: int) -> None:
    with pytest.raises(UserError, match="-1 is negative"):
        list(side_by_side(tenfold, [1, MISTAKE, 2], jobs))


def test_a_process_that_dies_is_noticed() -> None:
    with pytest.raises(UserError, match="exited with code 3"):
        list(side_by_side(tenfold, [1, CRASH, 2], 2))


@pytest.mark.parametrize(
    ("items", "cores", "jobs"),
    [(1, 2, 1), (2, 2, 2), (3, 2, 3), (4, 2, 2), (5, 2, 3), (3, 1, 1), (3, 16, 3), (0, 2, 1)],
)
def test_no_core_waits_for_a_last_round_of_a_few(
    items: int, cores: int, jobs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.parallel.cpu_count", lambda: cores)
    assert jobs_for(items, threads=1) == jobs


def test_each_process_counts_with_its_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.parallel.cpu_count", lambda: 8)
    assert jobs_for(items=8, threads=4) == 2
    assert jobs_for(items=8, threads=100) == 1
