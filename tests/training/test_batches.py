"""Batch streams: seeded, random access, bucketed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.options import Symbols
from pipeline.data.alphabet import END, PADDING, Alphabet
from pipeline.data.store import StringStore
from pipeline.training.batches import BatchStream, permute

ALPHABET = Alphabet(Symbols.CHARACTERS, tuple("abcdefghijklmnopqrstuvwxyz"))


def stream(count: int, batch_size: int, seed: int = 0) -> BatchStream:
    lengths = np.random.default_rng(1).integers(1, 20, count)
    strings = ["abcdefghijklmnopqrst"[:length] for length in lengths]
    store = StringStore.of(strings, ALPHABET)
    return BatchStream(store, store, batch_size, seed)


@given(st.integers(1, 5000), st.integers(0, 10))
def test_permute_sends_every_place_to_another_row(size: int, seed: int) -> None:
    assert sorted(permute(np.arange(size), size, (seed, 0))) == list(range(size))


def test_permute_depends_on_the_seed() -> None:
    places = np.arange(1000)
    assert not np.array_equal(permute(places, 1000, (0, 0)), permute(places, 1000, (0, 1)))


def test_permute_leaves_no_order_behind() -> None:
    rows = permute(np.arange(10_000), 10_000, (3, 0))
    assert abs(np.corrcoef(np.arange(10_000), rows)[0, 1]) < 0.05
    assert abs(np.corrcoef(rows[:-1], rows[1:])[0, 1]) < 0.05


def test_permute_of_part_of_the_places_agrees_with_the_whole() -> None:
    whole = permute(np.arange(777), 777, (5, 2))
    assert np.array_equal(permute(np.arange(100, 200), 777, (5, 2)), whole[100:200])


def test_a_batch_is_the_same_whatever_was_asked_for_before() -> None:
    forward, alone = stream(500, 16), stream(500, 16)
    batches = [forward[k] for k in range(100)]
    assert np.array_equal(batches[77].source_ids, alone[77].source_ids)
    assert np.array_equal(batches[77].target_ids, alone[77].target_ids)


@given(st.lists(st.integers(0, 200), min_size=1))
def test_batches_asked_for_back_and_forth_are_those_of_a_new_stream(order: list[int]) -> None:
    batches = stream(500, 16)
    for k in order:
        rows = batches.rows(k)
        assert np.array_equal(rows, stream(500, 16).rows(k))
        rows[:] = 0  # what the caller does with them changes no later batch
    assert np.array_equal(batches.rows(order[0]), stream(500, 16).rows(order[0]))


def test_seeds_give_different_batches() -> None:
    assert not np.array_equal(stream(500, 16, seed=0).rows(0), stream(500, 16, seed=1).rows(0))


@pytest.mark.parametrize("count", [1, 5, 64, 500])
def test_every_batch_is_full(count: int) -> None:
    batches = stream(count, 16)
    assert all(len(batches.rows(k)) == 16 for k in range(40))


def test_an_epoch_brings_every_row_once() -> None:
    batches = stream(480, 16)  # 30 batches an epoch, one window
    rows = np.concatenate([batches.rows(k) for k in range(30)])
    assert sorted(rows) == list(range(480))


def test_over_many_epochs_rows_come_equally_often() -> None:
    batches = stream(100, 16)
    counts = np.bincount(np.concatenate([batches.rows(k) for k in range(100)]), minlength=100)
    assert counts.min() >= 15
    assert counts.max() <= 17


def test_a_batch_holds_strings_of_similar_length() -> None:
    batches = stream(5000, 16)
    spreads = [np.ptp(batches.sources.lengths(batches.rows(k))) for k in range(60)]
    assert np.mean(spreads) < 2


def test_targets_close_with_end_and_sources_do_not() -> None:
    batch = stream(100, 8)[0]
    assert all((row == END).sum() == 1 for row in batch.target_ids)
    assert not (batch.source_ids == END).any()
    lengths = (batch.source_ids != PADDING).sum(axis=1)
    assert all(batch.target_ids[i, length] == END for i, length in enumerate(lengths))
