"""The benchmark of large inputs: what it makes up, and how it measures."""

import os
from collections.abc import Iterator

import pytest

from benchmarks import large
from benchmarks.commands import Cost
from pipeline.errors import UserError
from tests.conftest import changed_params


def work(steps: list[str]) -> Iterator[str]:
    assert os.environ["OMP_NUM_THREADS"] == "1"
    yield ""
    yield from steps


def test_made_up_targets_differ_and_have_the_symbols_of_known_ones_in_their_order() -> None:
    made = large.made_up(["abcabd", "abdabc"], 10, most_symbols=30)
    assert len(set(made)) == len(made) == 10
    assert max(map(len, made)) <= 30
    known = {"abca", "bcab", "cabd", "abda", "bdab", "dabc"}
    assert {word[place : place + 4] for word in made for place in range(len(word) - 3)} <= known
    assert large.made_up(["abcabd", "abdabc"], 10, most_symbols=30) == made


def test_a_list_that_gives_too_few_is_an_error() -> None:
    with pytest.raises(UserError, match="too small to make 50 different targets"):
        large.made_up(["abcabd", "abdabc"], 50, most_symbols=30)


def test_steps_with_a_name_are_measured_in_a_process_with_one_thread() -> None:
    costs = large.alone(work, ["first", "second"])
    assert list(costs) == ["first", "second"]
    assert costs["first"].peak_bytes > 2**20


def test_growth_is_the_exponent_of_processor_seconds() -> None:
    costs = {1000: Cost(9.0, 2.0, 2**30), 10_000: Cost(9.0, 20.0, 2**30), 100_000: Cost(99.0, 400.0, 2**31)}
    report = large.report({"dev": {size: {"fit": cost} for size, cost in costs.items()}})
    lines = [" ".join(line.split()) for line in report.splitlines()]
    assert "| fit | 1,000 dev | 2.0 | 9.0 | 1.00 | - |" in lines
    assert "| fit | 10,000 dev | 20.0 | 9.0 | 1.00 | 1.00 |" in lines
    assert "| fit | 100,000 dev | 400.0 | 99.0 | 2.00 | 1.30, more than linear |" in lines


@pytest.mark.slow
def test_a_list_is_measured_from_preparation_to_the_search() -> None:
    small = {"model.units": 8, "matcher.units": 8, "matcher.embedding": 8, "matcher.projection": 8}
    costs = large.measure_list(2000, changed_params(small))
    first, *_, last = costs
    assert (first, last) == ("prepare", "matcher: search for 400 sources")
    assert min(cost.cpu_seconds for cost in costs.values()) > 0
