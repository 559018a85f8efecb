"""Alignment of pairs: which symbols of the source stand for each symbol of the target.

The model is a stochastic edit distance learned by expectation maximization (Ristad and Yianilos 1998, "Learning
string-edit distance"), conditioned on the target. Each target symbol is silent, or gives a first source symbol and
then, repeatedly, stops or gives a further one. So every source symbol belongs to the target symbol that explains it
best: `K S` stands for `x`, nothing for the second `l` of `call`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.data.alphabet import PADDING, SPECIALS, Alphabet
from pipeline.data.store import DAMAGE, Integers, Rows, StringStore, load_arrays, save_arrays, similar_pairs
from pipeline.errors import UserError

ITERATIONS = 10
SMOOTHING = 0.01  # added to every expected count: no edit is impossible
EQUAL = 10.0  # how many times likelier equal symbols are than the others together, before the first iteration
EQUAL_COUNT = 1.0  # added to the expected count of equal symbols: what the pairs do not show stays as it is
DIAGONAL = 0.1  # share of a string's length; edits further from the diagonal are unlikely before the first iteration
TIE = 1e-9  # log probabilities that differ by less are equal; the earlier, shorter piece is then taken
CELLS_AT_ONCE = 2**20

Scores = NDArray[np.float64]
Combine = Callable[[Scores, Scores], Scores]


@dataclass(frozen=True, eq=False)
class Edits:
    """Log probabilities of the edits of each target symbol.

    first, further: float64 [source V, target V], that it gives a source symbol as its first, and as a further one.
    silent, stop: float64 [target V], that it gives none, and that it gives no further one. Over all source symbols
    exp(first) sums to 1 - exp(silent), and exp(further) to 1 - exp(stop).
    """

    first: Scores
    further: Scores
    silent: Scores
    stop: Scores

    @classmethod
    def of_counts(cls, first: Scores, further: Scores, silent: Scores) -> "Edits":
        """Normalize expected counts; a target symbol stops as often as it starts."""
        starts = first.sum(axis=0)
        begun, gone_on = starts + silent, starts + further.sum(axis=0)
        return cls(np.log(first / begun), np.log(further / gone_on), np.log(silent / begun), np.log(starts / gone_on))


@dataclass(frozen=True, eq=False)
class Alignment:
    """The edits learned from pairs, and their sources cut into a piece, possibly empty, for each target symbol.

    Target symbol k of the flat target store is stood for by `ids[starts[k]:ends[k]]` of the flat source store.
    starts, ends: int64 [target symbols].
    """

    edits: Edits
    starts: Integers
    ends: Integers

    def save(self, path: Path) -> None:
        """Write an .npz file; equal alignments give identical bytes."""
        save_arrays(path, **vars(self.edits), starts=self.starts, ends=self.ends)

    @classmethod
    def load(cls, path: Path, sources: StringStore, targets: StringStore, shape: tuple[int, int]) -> "Alignment":
        """Read the alignment of two stores; shape: source V and target V. Raises `UserError` for anything else."""
        cells, symbols, places = (shape, np.float64), (shape[1:], np.float64), (targets.ids.shape, np.int64)
        edits = {"first": cells, "further": cells, "silent": symbols, "stop": symbols}
        try:
            arrays = load_arrays(path)
            found = {name: (array.shape, array.dtype) for name, array in arrays.items()}
        except DAMAGE as error:
            raise UserError(f"{path} holds no alignment ({error})") from error
        if found == {**edits, "starts": places, "ends": places}:
            starts, ends = arrays.pop("starts"), arrays.pop("ends")
            inside = (starts >= 0) & (starts <= ends) & (ends <= len(sources.ids))
            if inside.all() and all((array <= 0).all() for array in arrays.values()):
                return cls(Edits(**arrays), starts, ends)
        raise UserError(f"{path} is not the alignment of these pairs")


def same_symbols(source_alphabet: Alphabet, target_alphabet: Alphabet) -> Integers:
    """The source id of the same symbol for each target id, or 0: int64 [target V]."""
    ids = {symbol: index for index, symbol in enumerate(source_alphabet.symbols, start=SPECIALS)}
    return np.array([0] * SPECIALS + [ids.get(symbol, 0) for symbol in target_alphabet.symbols], dtype=np.int64)


def align(sources: StringStore, targets: StringStore, same: Integers, source_symbols: int) -> Alignment:
    """Learn the edits of row-aligned pairs and find the most likely alignment of each.

    same: int64 [target V], the source id of the same symbol, or 0; equal symbols are likely to stand for each other at
    first. source_symbols: source V. A pair with an empty side takes no part: its pieces are empty.
    """
    return best_alignment(sources, targets, learn_edits(sources, targets, same, source_symbols))


def learn_edits(
    sources: StringStore, targets: StringStore, same: Integers, source_symbols: int, iterations: int = ITERATIONS
) -> Edits:
    """Learn edits by expectation maximization, from equal symbols and what is near the diagonal."""
    edits = _first_edits(sources, targets, same, source_symbols)
    known = np.flatnonzero(same)
    for _ in range(iterations):
        first, further = (np.full_like(edits.first, SMOOTHING) for _ in range(2))
        first[same[known], known] += EQUAL_COUNT
        silent = np.full_like(edits.silent, SMOOTHING)
        for rows in similar_pairs(sources, targets, CELLS_AT_ONCE):
            lattice = _Lattice(sources, targets, rows, edits)
            lattice.add_expected_counts(first, further, silent)
        edits = Edits.of_counts(first, further, silent)
    return edits


def best_alignment(sources: StringStore, targets: StringStore, edits: Edits) -> Alignment:
    """Find the most likely alignment of each pair (Viterbi)."""
    starts, ends = np.zeros((2, len(targets.ids)), dtype=np.int64)
    for rows in similar_pairs(sources, targets, CELLS_AT_ONCE):
        pieces = _Lattice(sources, targets, rows, edits).best_lengths()
        inside = np.arange(pieces.shape[1]) < targets.lengths(rows)[:, None]
        places = (targets.offsets[rows][:, None] + np.arange(pieces.shape[1]))[inside]
        after = sources.offsets[rows][:, None] + np.cumsum(pieces, axis=1)
        ends[places] = after[inside]
        starts[places] = (after - pieces)[inside]
    return Alignment(edits, starts, ends)


class _Lattice:
    """All alignments of a batch of pairs. Arrays are [S + 1, T + 1, B] or [S, T, B].

    The state is `done` between two target symbols, and `begun` while one gives source symbols.
    """

    def __init__(self, sources: StringStore, targets: StringStore, rows: Rows, edits: Edits) -> None:
        self.source_lengths, self.target_lengths = sources.lengths(rows), targets.lengths(rows)
        self.source_ids, self.target_ids = sources.padded(rows).T, targets.padded(rows).T
        cells = self.source_ids[:, None], self.target_ids[None]
        self.first, self.further = edits.first[cells], edits.further[cells]
        self.silent, self.stop = edits.silent[self.target_ids], edits.stop[self.target_ids]
        self.steps, self.symbols, self.pairs = self.first.shape

    def add_expected_counts(self, first: Scores, further: Scores, silent: Scores) -> None:
        """Add the expected number of each edit to the counts."""
        done_before, begun_before = self._before()
        done_after, begun_after = self._after(np.logaddexp)
        total = done_after[0, 0]
        inside = np.isfinite(begun_after[1:, 1:])
        cells = np.broadcast_arrays(self.source_ids[:, None], self.target_ids[None])
        places = cells[0][inside], cells[1][inside]
        for counts, before, edit in (
            (first, done_before[:-1, :-1], self.first),
            (further, begun_before[:-1, 1:], self.further),
        ):
            expected = np.exp(before + edit + begun_after[1:, 1:] - total)
            np.add.at(counts, places, expected[inside])
        expected = np.exp(done_before[:, :-1] + self.silent + done_after[:, 1:] - total).sum(axis=0)
        np.add.at(silent, self.target_ids, np.where(self.target_ids == PADDING, 0.0, expected))

    def best_lengths(self) -> Integers:
        """The number of source symbols of each target symbol in the most likely alignment, int64 [B, T]."""
        done, begun = self._after(np.maximum)
        lengths = np.zeros((self.pairs, self.symbols), dtype=np.int64)
        place, pairs = np.zeros(self.pairs, dtype=np.int64), np.arange(self.pairs)
        for symbol in range(self.symbols):
            here = np.minimum(place, self.steps - 1)
            start = self.first[here, symbol, pairs] + begun[here + 1, symbol + 1, pairs]
            silent = self.silent[symbol] + done[place, symbol + 1, pairs]
            giving = (place < self.source_lengths) & (symbol < self.target_lengths) & (start > silent - TIE)
            while giving.any():
                place, lengths[:, symbol] = place + giving, lengths[:, symbol] + giving
                here = np.minimum(place, self.steps - 1)
                further = self.further[here, symbol, pairs] + begun[here + 1, symbol + 1, pairs]
                stop = self.stop[symbol] + done[place, symbol + 1, pairs]
                giving &= (place < self.source_lengths) & (further > stop + TIE)
        return lengths

    def _before(self) -> tuple[Scores, Scores]:
        """The log probability of all paths to each cell."""
        done, begun = np.full((2, self.steps + 1, self.symbols + 1, self.pairs), -np.inf)
        done[0, 0] = 0.0
        for symbol in range(self.symbols):
            start = done[:-1, symbol] + self.first[:, symbol]
            for step in range(self.steps):
                go_on = begun[step, symbol + 1] + self.further[step, symbol]
                begun[step + 1, symbol + 1] = np.logaddexp(start[step], go_on)
            done[:, symbol + 1] = np.logaddexp(
                done[:, symbol] + self.silent[symbol], begun[:, symbol + 1] + self.stop[symbol]
            )
        return done, begun

    def _after(self, combine: Combine) -> tuple[Scores, Scores]:
        """The log probability of all paths from each cell to the end (logaddexp), or of the best one (maximum)."""
        done, begun = np.full((2, self.steps + 1, self.symbols + 1, self.pairs), -np.inf)
        done[self.source_lengths, self.target_lengths, np.arange(self.pairs)] = 0.0
        for symbol in reversed(range(self.symbols)):
            stop = done[:, symbol + 1] + self.stop[symbol]
            begun[-1, symbol + 1] = stop[-1]
            for step in reversed(range(self.steps)):
                go_on = begun[step + 1, symbol + 1] + self.further[step, symbol]
                begun[step, symbol + 1] = combine(stop[step], go_on)
            silent = done[:, symbol + 1] + self.silent[symbol]
            start = begun[1:, symbol + 1] + self.first[:, symbol]
            done[-1, symbol] = combine(done[-1, symbol], silent[-1])
            done[:-1, symbol] = combine(done[:-1, symbol], combine(silent[:-1], start))
        return done, begun


def _first_edits(sources: StringStore, targets: StringStore, same: Integers, source_symbols: int) -> Edits:
    first = np.full((source_symbols, len(same)), SMOOTHING)
    for rows in similar_pairs(sources, targets, CELLS_AT_ONCE):
        source_ids, target_ids = sources.padded(rows), targets.padded(rows)
        source_places = (np.arange(source_ids.shape[1]) + 0.5) / sources.lengths(rows)[:, None]
        target_places = (np.arange(target_ids.shape[1]) + 0.5) / targets.lengths(rows)[:, None]
        apart = (source_places[:, :, None] - target_places[:, None]) / DIAGONAL
        near = np.exp(-np.square(apart) / 2)
        inside = (source_ids != PADDING)[:, :, None] & (target_ids != PADDING)[:, None]
        cells = np.broadcast_arrays(source_ids[:, :, None], target_ids[:, None])
        np.add.at(first, (cells[0][inside], cells[1][inside]), near[inside])
    first /= first.sum(axis=0)
    further = first / 10
    known = np.flatnonzero(same)
    first[same[known], known] += EQUAL
    return Edits.of_counts(first / first.sum(axis=0), further, np.full(len(same), 0.1))
