"""Endless streams of training batches: seeded, bucketed, and random access.

Batch k of a stream is a pure function of the data, the seed and k, so a resumed training sees the batches that an
uninterrupted one does.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.data.store import Integers, Rows, StringStore

Ids = NDArray[np.int32]
Corruption = Callable[[Ids, np.random.Generator], Ids]  # int32 [B, T] -> int32 [B, S], both padded with 0

WINDOW = 32  # batches whose strings are sorted by length together
ROUNDS = 4  # of the Feistel network
ORDER_STREAM, NOISE_STREAM = range(2)  # independent random streams of a seed


class Batch(NamedTuple):
    """Sources int32 [B, S] and their targets int32 [B, T], each of these closed by END; both padded with 0."""

    source_ids: Ids
    target_ids: Ids

    @property
    def symbols(self) -> int:
        """Target symbols, END included and padding not."""
        return int(np.count_nonzero(self.target_ids))


@dataclass(frozen=True)
class BatchStream:
    """Batches of row-aligned sources and targets; for an autoencoder both are the same store.

    times: how often each row comes in an epoch, int64 [rows]; None stands for once.
    corruption: applied to the sources of each batch, drawn anew every time; None leaves them as they are.
    Epochs, each a new shuffle of all these, follow each other without a gap, so every batch is full. A window of up to
    32 batches is sorted by length and cut, and its batches come in random order: a batch holds strings of similar
    length and little padding.
    """

    sources: StringStore
    targets: StringStore
    batch_size: int
    seed: int
    corruption: Corruption | None = None
    times: Integers | None = None

    def __getitem__(self, k: int) -> Batch:
        """Batch number k of the stream, k >= 0."""
        rows = self.rows(k)
        source_ids = self.sources.padded(rows)
        if self.corruption is not None:
            source_ids = self.corruption(source_ids, np.random.default_rng((self.seed, NOISE_STREAM, k)))
        return Batch(source_ids, self.targets.padded(rows, end=True))

    def rows(self, k: int) -> Rows:
        """The rows of batch k, int64 [B]."""
        window, within = divmod(k, self._window_size)
        return self._window(window)[within].copy()

    @cached_property
    def _window_size(self) -> int:
        # No window longer than an epoch: sorting would bring the repetitions of a row into one batch.
        return int(np.clip(self._epoch_size // self.batch_size, 1, WINDOW))

    @cached_property
    def _ends(self) -> Integers:
        """Where the repetitions of each row end, in an epoch that is not shuffled."""
        return np.cumsum(np.ones(0, np.int64) if self.times is None else self.times)

    @property
    def _epoch_size(self) -> int:
        return len(self.sources) if self.times is None else int(self._ends[-1])

    @cached_property
    def _window(self) -> Callable[[int], Rows]:
        """Rows of the batches of a window, int64 [batches, B]; the last window is cached."""
        return lru_cache(maxsize=1)(self._sorted_window)

    def _sorted_window(self, window: int) -> Rows:
        count = self._window_size * self.batch_size
        # The positions of a window in the endless sequence of shuffled epochs.
        epochs, places = np.divmod(np.arange(window * count, (window + 1) * count), self._epoch_size)
        rows = np.empty(count, dtype=np.int64)
        for epoch in np.unique(epochs):
            inside = epochs == epoch
            rows[inside] = permute(places[inside], self._epoch_size, (self.seed, int(epoch)))
        if self.times is not None:
            rows = np.searchsorted(self._ends, rows, side="right")
        by_length = np.argsort(self.sources.lengths(rows) + self.targets.lengths(rows), kind="stable")
        order = np.random.default_rng((self.seed, ORDER_STREAM, window)).permutation(self._window_size)
        return rows[by_length].reshape(self._window_size, self.batch_size)[order]


def permute(places: NDArray[np.int64], size: int, seed: tuple[int, ...]) -> Rows:
    """Where a seeded permutation of range(size) sends `places`, without computing the rest of the permutation.

    A Feistel network on the smallest square of a power of two that holds `size`, with cycle walking for what falls
    outside (Black and Rogaway 2002, "Ciphers with arbitrary finite domains"). int64 [n] -> int64 [n].
    """
    half = max(1, (max(size - 1, 1).bit_length() + 1) // 2)
    mask = np.uint64(2**half - 1)
    keys = np.random.default_rng(seed).integers(2**63, size=ROUNDS, dtype=np.uint64) | np.uint64(1)
    rows = np.array(places, dtype=np.uint64)
    outside = np.ones(len(rows), dtype=bool)
    while outside.any():
        left, right = rows[outside] >> np.uint64(half), rows[outside] & mask
        for key in keys:
            mixed = (right + key) * key
            mixed = (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
            left, right = right, left ^ ((mixed >> np.uint64(32)) & mask)
        rows[outside] = (left << np.uint64(half)) | right
        outside = rows >= size
    return rows.astype(np.int64)
