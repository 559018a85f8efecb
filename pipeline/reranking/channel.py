"""How likely a source is if a given target is meant: the channel of a noisy-channel model.

A target symbol in its context gives a piece of the source; `alignment` cuts the training pairs into such pieces. The
probability of a source is the sum over all ways to cut it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.data.alignment import Alignment, Edits
from pipeline.data.alphabet import PADDING
from pipeline.data.store import Integers, Reals, StringStore, look_up, neighbours, similar_pairs, spans

CONTEXT = (-1, 1, -2, 2)  # each longer context takes in one more of these places, relative to the symbol
STRENGTH = 5.0  # a context seen n times weighs n against so much for the next shorter one
LONGEST_PIECE = 4  # source symbols; longer pieces are left to the edits
LARGEST_KEY = 2**63
CELLS_AT_ONCE = 2**17  # they fit into a cache


@dataclass(frozen=True, eq=False)
class Contexts:
    """Contexts of one length, and how often each gave each piece: a sparse matrix of C rows.

    keys: int64 [C], sorted. Row c has `counts[i]` in column `pieces[i]`, for i from `offsets[c]` to `offsets[c + 1]`.
    """

    keys: Integers
    offsets: Integers
    pieces: Integers
    counts: Integers

    @classmethod
    def of(cls, contexts: Integers, pieces: Integers, different: int) -> "Contexts":
        """Count row-aligned contexts and pieces. different: the number of different pieces."""
        keys, rows = np.unique(contexts, return_inverse=True)
        cells, counts = np.unique(rows * different + pieces, return_counts=True)
        offsets = np.searchsorted(cells, np.arange(len(keys) + 1) * different)
        return cls(keys, offsets, cells % different, counts)

    def rows(self, places: Integers, width: int) -> Reals:
        """Some rows as a dense matrix, float64 [len(places), width]."""
        sizes = np.diff(self.offsets)[places]
        cells, _ = spans(self.offsets[places], sizes)
        dense = np.zeros((len(places), width))
        dense[np.repeat(np.arange(len(places)), sizes), self.pieces[cells]] = self.counts[cells]
        return dense


@dataclass(frozen=True, eq=False)
class Channel:
    """Pieces counted in contexts, each interpolated with the next shorter context, and the shortest with the edits.

    Source: Teh 2006, "A hierarchical Bayesian language model based on Pitman-Yor processes", without discounts. Piece p
    is the source symbols of `pieces[p]`, a number in base source V; these are sorted, and the first is the empty one.
    """

    edits: Edits
    pieces: Integers
    levels: tuple[Contexts, ...]

    @classmethod
    def learn(cls, sources: StringStore, targets: StringStore, alignment: Alignment) -> "Channel":
        """Count the pieces of aligned pairs in their contexts."""
        source_symbols, target_symbols = alignment.edits.first.shape
        lengths = alignment.ends - alignment.starts
        keys = np.zeros(len(lengths), dtype=np.int64)
        longest = _longest_piece(source_symbols)
        for place in range(longest):
            inside = place < lengths
            keys[inside] = keys[inside] * source_symbols + sources.ids[(alignment.starts + place)[inside]]
        counted = lengths <= longest
        pieces, numbers = np.unique(np.append(0, keys[counted]), return_inverse=True)
        contexts = _contexts(targets.padded(np.arange(len(targets))), target_symbols)
        levels = (Contexts.of(context[counted], numbers[1:], len(pieces)) for context in contexts)
        return cls(alignment.edits, pieces, tuple(levels))

    @classmethod
    def of_arrays(cls, edits: Mapping[str, Any], pieces: Integers, levels: Mapping[str, Any]) -> "Channel":
        """Make a channel of what `load_arrays` read; raises TypeError where an array is missing."""
        return cls(Edits(**edits), pieces, tuple(Contexts(**level) for level in levels.values()))

    def log_probabilities(self, sources: StringStore, targets: StringStore) -> Reals:
        """Natural logarithm of p(source | target) for row-aligned pairs, float64 [rows]; -inf if only one is empty."""
        scores = np.full(len(sources), -np.inf)
        scores[(np.diff(sources.offsets) == 0) & (np.diff(targets.offsets) == 0)] = 0.0
        for rows in similar_pairs(sources, targets, CELLS_AT_ONCE):
            scores[rows] = self._forward(sources.padded(rows), targets.padded(rows))
        return scores

    def _forward(self, source_ids: NDArray[np.int32], target_ids: NDArray[np.int32]) -> Reals:
        """int32 [B, S] and [B, T] -> float64 [B]. The cells of a target symbol are kept relative to the largest."""
        B, S = source_ids.shape
        learned, rest, contexts = self._tables(target_ids)
        starting = self._starting(source_ids)
        done, scale = np.zeros((B, S + 1)), np.zeros(B)
        done[:, 0] = 1.0
        for step in range(target_ids.shape[1]):
            ids, row = target_ids[:, step], contexts[:, step]
            open_ = rest[row][:, None] * done
            first, further = (
                np.exp(table[source_ids, ids[:, None]]) for table in (self.edits.first, self.edits.further)
            )
            begun, stop = np.zeros((B, S + 1)), np.exp(self.edits.stop[ids])
            for place in range(S):
                begun[:, place + 1] = open_[:, place] * first[:, place] + begun[:, place] * further[:, place]
            after = open_ * np.exp(self.edits.silent[ids])[:, None] + begun * stop[:, None]
            after += done * learned[row, 0][:, None]
            for length, pieces in enumerate(starting, start=1):
                after[:, length:] += done[:, : S + 1 - length] * learned[row[:, None], pieces]
            done = np.where((row >= 0)[:, None], after, done)
            largest = done.max(axis=1)
            done /= largest[:, None]
            scale += np.log(largest)
        with np.errstate(divide="ignore"):
            return scale + np.log(done[np.arange(B), np.count_nonzero(source_ids, axis=1)])

    def _starting(self, source_ids: NDArray[np.int32]) -> list[Integers]:
        """For length 1, 2, ... the piece that starts at each place of the sources; P where it is none."""
        V, none = len(self.edits.first), len(self.pieces)
        ids = source_ids.astype(np.int64)
        keys, starting = np.zeros_like(ids), []
        for length in range(1, min(_longest_piece(V), ids.shape[1]) + 1):
            keys = keys[:, : ids.shape[1] + 1 - length] * V + ids[:, length - 1 :]
            places = look_up(self.pieces, np.arange(none), keys, none)
            starting.append(np.where(ids[:, length - 1 :] != PADDING, places, none))
        return starting

    def _tables(self, target_ids: NDArray[np.int32]) -> tuple[NDArray[np.float32], Reals, Integers]:
        """For every different context the counted share of each piece, and what is left for the edits.

        The third is the context of every target symbol, int64 [B, T], -1 for padding.
        """
        contexts = list(_contexts(target_ids, len(self.edits.silent)))
        _, different, numbers = np.unique(contexts[-1], return_index=True, return_inverse=True)
        number = np.full(target_ids.shape, -1, dtype=np.int64)
        number[target_ids != PADDING] = numbers
        shares = np.zeros((len(different), len(self.pieces) + 1), dtype=np.float32)
        rest = np.ones(len(different))
        for context, level in zip(contexts, self.levels, strict=False):
            places = look_up(level.keys, np.arange(len(level.keys)), context[different], -1)
            known = np.flatnonzero(places >= 0)
            counts = level.rows(places[known], shares.shape[1])
            keep = STRENGTH / (STRENGTH + counts.sum(axis=1))
            shares[known] = (shares[known] + counts / STRENGTH) * keep[:, None]
            rest[known] *= keep
        return shares, rest, number


def _longest_piece(source_symbols: int) -> int:
    return max(length for length in range(1, LONGEST_PIECE + 1) if source_symbols**length < LARGEST_KEY)


def _contexts(ids: NDArray[np.int32], base: int) -> Iterator[Integers]:
    """The contexts of every symbol, the shortest first: numbers in base V, rows one behind the other."""
    keys = ids[ids != PADDING].astype(np.int64)
    yield keys
    for length, neighbour in enumerate(neighbours(ids, CONTEXT), start=2):
        if base**length >= LARGEST_KEY:
            break
        keys = keys * base + neighbour
        yield keys
