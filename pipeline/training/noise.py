"""Corruption of targets: uniform edits, and sources made up the way the pairs write them.

Both are pure functions of ids and a random generator. How pairs are aligned is left to `data.alignment`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.config.params import NoiseKind, Params
from pipeline.data.alignment import Alignment, same_symbols
from pipeline.data.alphabet import PADDING, SPECIALS, UNKNOWN, UNKNOWN_SYMBOL, Alphabet, join
from pipeline.data.prepared import Prepared, read_examples
from pipeline.data.store import Integers, StringStore, neighbours, spans
from pipeline.errors import UserError
from pipeline.training.batches import BatchStream, Corruption, Ids
from pipeline.training.strategies import Phase, Task

NEIGHBOURS = (1, -1, 2, -2)  # each longer context takes in one more of these places, relative to the symbol
STRENGTH = 5.0  # a context seen n times is used with probability n / (n + STRENGTH)
TELLING = 1.5  # how many times likelier a longer context makes a piece that is worth showing
LARGEST_TABLE = 2**24  # cells; larger ones are replaced by binary search
SPECIAL_NAMES = ("", "^", "$", UNKNOWN_SYMBOL)  # of padding, start, end and unknown in the table of rewrites


@dataclass(frozen=True)
class UniformNoise:
    """Random edits of targets, whatever the sources look like.

    rate: the probability, in [0, 1], that a symbol is edited. An edit is with equal probability one of: the symbol is
    left out; it is replaced by a random symbol (perhaps itself); a random symbol follows it; it changes places with
    its right neighbour, unless there is none or it is edited itself, when nothing happens. Random symbols are uniform
    over the alphabet, never special. Symbols are edited independently of each other.
    """

    rate: float
    alphabet_size: int  # V, the special ids included

    def corrupt(self, ids: Ids, rng: np.random.Generator) -> Ids:
        """ids int32 [B, T], padded with 0 -> int32 [B, S], padded with 0; a row that would be empty stays as it is."""
        inside = ids != PADDING
        # One draw decides both whether and how: below rate / 4 the first edit, below rate / 2 the second, ...
        with np.errstate(over="ignore"):  # a rate next to nothing: infinity is no edit
            edit = np.floor(rng.random(ids.shape) * 4 / self.rate) if self.rate else np.full(ids.shape, 4.0)
        drawn = rng.integers(SPECIALS, self.alphabet_size, ids.shape, dtype=np.int32)
        leave_out, replace, insert, swap = (inside & (edit == kind) for kind in range(4))
        unedited = inside & (edit >= 4)
        swap[:, :-1] &= unedited[:, 1:]
        swap[:, -1:] = False
        symbols = np.where(replace, drawn, ids)
        left = np.nonzero(swap)
        right = (left[0], left[1] + 1)
        symbols[left], symbols[right] = ids[right], ids[left]
        pairs = np.stack([symbols, np.where(insert, drawn, PADDING)], axis=2)
        pairs[:, :, 0][leave_out & ~leave_out.all(axis=1, where=inside, keepdims=True)] = PADDING
        corrupted = pairs.reshape(len(ids), -1)
        written = corrupted != PADDING
        return _rows_of(corrupted[written], written.sum(axis=1))


def _rows_of(ids: Ids, lengths: Integers) -> Ids:
    """Ids one behind the other as rows of these lengths, padded with 0."""
    matrix = np.zeros((len(lengths), int(lengths.max(initial=0))), dtype=np.int32)
    matrix[np.arange(matrix.shape[1]) < lengths[:, None]] = ids
    return matrix


@dataclass(frozen=True, eq=False)
class LearnedNoise:
    """Sources sampled for targets: for every target symbol in its context a piece of source that stood for it in pairs.

    Contexts are nested: the symbol alone, then with its right neighbour, then with its left one too, and so on. The
    longest one that was seen is used with probability n / (n + strength), where n is how often it was seen, else the
    next shorter one by the same rule, at last `fallback`. That is the predictive rule of a hierarchical Dirichlet
    process (Teh 2006, "A hierarchical Bayesian language model based on Pitman-Yor processes", without discounts).

    Piece p, the source symbols that stand for one target symbol, is `piece_ids[piece_offsets[p]:piece_offsets[p + 1]]`.
    Contexts 0 to V - 1 are the target symbols alone; context V + k is the one of `keys[k]`, which is V times the next
    shorter context plus the neighbour taken in; keys are sorted. Context c counts the pieces `pieces[e]`, e from
    `entries[c]` to `entries[c + 1]`, each `cumulative[e + 1] - cumulative[e]` times.
    """

    piece_ids: Ids
    piece_offsets: Integers
    keys: Integers
    entries: Integers
    pieces: Integers
    cumulative: Integers
    fallback: Integers  # a piece, never an empty one, for each target symbol [V]
    strength: float

    @classmethod
    def learn(
        cls,
        sources: StringStore,
        targets: StringStore,
        alignment: Alignment,
        same: Integers,
        strength: float = STRENGTH,
    ) -> "LearnedNoise":
        """Count the pieces of aligned pairs, of which at least one has a target.

        same: int64 [target V], the source id of the same symbol or 0, as `alignment.same_symbols` gives it.
        """
        V = len(same)
        numbers: dict[tuple[int, ...], int] = {}  # of the different pieces
        flat, bounds = sources.ids.tolist(), zip(alignment.starts.tolist(), alignment.ends.tolist(), strict=True)
        pieces = [numbers.setdefault(tuple(flat[start:end]), len(numbers)) for start, end in bounds]
        identity = [numbers.setdefault((int(symbol) or UNKNOWN,), len(numbers)) for symbol in same]
        ids = targets.padded(np.arange(len(targets)))
        contexts = [ids[ids != PADDING].astype(np.int64)]
        keys: list[Integers] = []
        known = V
        for neighbour in neighbours(ids, NEIGHBOURS):
            new, places = np.unique(contexts[-1] * V + neighbour, return_inverse=True)
            keys.append(new)
            contexts.append(known + places)
            known += len(new)
        seen = np.concatenate(contexts) * len(numbers) + np.tile(pieces, len(contexts))
        seen, counts = np.unique(seen, return_counts=True)
        seen_contexts, seen_pieces = np.divmod(seen, len(numbers))
        # A symbol that no source has falls back to the most frequent piece of its own, the last one assigned.
        fallback = np.array(identity)
        in_sources = np.bincount(sources.ids, minlength=len(alignment.edits.first)) > 0
        own = (seen_contexts < V) & (seen_pieces != numbers.get((), -1))
        own[own] = ~in_sources[same[seen_contexts[own]]]
        rising = np.flatnonzero(own)[np.argsort(counts[own], kind="stable")]
        fallback[seen_contexts[rising]] = seen_pieces[rising]
        return cls(
            piece_ids=np.array([symbol for piece in numbers for symbol in piece], dtype=np.int32),
            piece_offsets=np.cumsum([0, *map(len, numbers)]),
            keys=np.concatenate(keys),
            entries=np.searchsorted(seen_contexts, np.arange(known + 1)),
            pieces=seen_pieces,
            cumulative=np.concatenate([[0], np.cumsum(counts)]),
            fallback=fallback,
            strength=strength,
        )

    def sample(self, ids: Ids, rng: np.random.Generator) -> Ids:
        """Target ids int32 [B, T], padded with 0 -> source ids int32 [B, S], padded with 0.

        A row for which nothing is drawn gets the fallback of each symbol.
        """
        rows, symbols = np.nonzero(ids)[0], ids[ids != PADDING].astype(np.int64)
        pieces, piece_lengths = self._draw(ids, symbols, rng), np.diff(self.piece_offsets)
        empty = np.bincount(rows, piece_lengths[pieces], len(ids)) == 0
        pieces = np.where(empty[rows], self.fallback[symbols], pieces)
        lengths = piece_lengths[pieces]
        places, _ = spans(self.piece_offsets[pieces], lengths)
        return _rows_of(self.piece_ids[places], np.bincount(rows, lengths, len(ids)).astype(np.int64))

    def rewrites(self, limit: int, source_alphabet: Alphabet, target_alphabet: Alphabet) -> pd.DataFrame:
        """The most telling pieces with their contexts: those that change the symbol first, then the most frequent.

        A longer context is shown where it makes the piece at least half as likely again as the next shorter one does.
        Columns: before, target, after (the context; ^ and $ are start and end of the string), source (may be empty),
        count (of the piece in this context), seen (of the context), probability (count / seen).
        """
        V, P = len(self.fallback), len(self.piece_offsets) - 1
        contexts = np.repeat(np.arange(len(self.entries) - 1), np.diff(self.entries))
        counts = np.diff(self.cumulative)
        seen = np.diff(self.cumulative[self.entries])
        probabilities = counts / seen[contexts]
        longer = np.flatnonzero(contexts >= V)
        shorter = self.keys[contexts[longer] - V] // V * P + self.pieces[longer]
        likely_before = probabilities[np.searchsorted(contexts * P + self.pieces, shorter)]
        telling = np.ones(len(contexts), dtype=bool)
        telling[longer] = probabilities[longer] >= TELLING * likely_before
        around = [(symbol,) for symbol in range(V)]  # ids of each context: the symbol, then those at `NEIGHBOURS`
        for key in self.keys.tolist():
            around.append((*around[key // V], key % V))
        contexts, pieces = contexts[telling], self.pieces[telling]
        rows = [[ids[2::2][::-1], ids[:1], ids[1::2]] for ids in map(around.__getitem__, contexts)]
        texts = [[_text(ids, target_alphabet) for ids in row] for row in rows]
        table = pd.DataFrame(texts, columns=["before", "target", "after"])
        bounds = zip(self.piece_offsets[pieces], self.piece_offsets[pieces + 1], strict=True)
        table["source"] = [_text(self.piece_ids[start:end], source_alphabet) for start, end in bounds]
        table["count"], table["seen"], table["probability"] = counts[telling], seen[contexts], probabilities[telling]
        unchanged = (table["target"] == table["source"]).to_numpy()
        return table.iloc[np.lexsort([-counts[telling], unchanged])[:limit]].reset_index(drop=True)

    def _find(self, keys: Integers) -> Integers:
        """The contexts of keys, -1 for what is no key: those of unseen contexts are negative, at least -V."""
        if self._contexts_by_key is not None:
            return self._contexts_by_key[keys].astype(np.int64)
        places = self.keys[:-1].searchsorted(keys)
        return np.where(self.keys[places] == keys, places + len(self.fallback), -1)

    @cached_property
    def _contexts_by_key(self) -> Ids | None:
        """A table for all possible keys and, from the end, for those of unseen contexts; None if it would be large."""
        V, contexts = len(self.fallback), len(self.entries)
        if contexts * V > LARGEST_TABLE:
            return None
        table = np.full(contexts * V, -1, dtype=np.int32)
        table[self.keys] = np.arange(V, V + len(self.keys))
        return table

    def _draw(self, ids: Ids, symbols: Integers, rng: np.random.Generator) -> Integers:
        """A piece for each symbol."""
        contexts = [symbols]  # the shortest first; -1 where a context was never seen
        for neighbour in neighbours(ids, NEIGHBOURS):
            contexts.append(self._find(contexts[-1] * len(self.fallback) + neighbour))
        pieces = self.fallback[symbols]
        open_ = np.arange(len(symbols))
        for context in reversed(contexts):
            here = context[open_]
            seen = self._seen[here]
            drawn = rng.random(len(open_)) * (seen + self.strength)
            used = drawn < seen
            starts = self.cumulative[self.entries[here[used]]]
            pieces[open_[used]] = self._occurrences[starts + drawn[used].astype(np.int64)]
            open_ = open_[~used]
        return pieces

    @cached_property
    def _seen(self) -> Integers:
        """How often each context was seen, and from the end, at -1, 0."""
        return np.append(np.diff(self.cumulative[self.entries]), 0)

    @cached_property
    def _occurrences(self) -> Integers:
        """The pieces of each context, as often as they were counted."""
        return np.repeat(self.pieces, np.diff(self.cumulative))


def _text(ids: Iterable[int], alphabet: Alphabet) -> str:
    names = (SPECIAL_NAMES[index] if index < SPECIALS else alphabet.symbols[index - SPECIALS] for index in ids)
    return join(filter(None, names), alphabet.kind)


# Made-up pairs come in another order than the autoencoder's targets, or both would see the same ones at the same time.
SYNTHETIC_SEED = 2**31


def streams(
    phase: Phase, prepared: Prepared, params: Params, seed: int, pseudo: Path | None = None
) -> dict[Task, BatchStream]:
    """The batches of each task of a phase; pairs come in the same order in every strategy. pseudo: pairs.tsv of it."""
    unpaired, size = prepared.targets, params.training.batch_size * params.training.workers
    times = prepared.tempered_counts
    by_task: dict[Task, BatchStream] = {}
    for task in set(phase.tasks):
        if task is Task.AUTOENCODE:
            by_task[task] = BatchStream(unpaired, unpaired, size, seed, autoencoder_noise(prepared, params), times)
        elif task is Task.PSEUDO:
            examples = read_examples(pseudo) if pseudo else ()
            sources = StringStore.of([example.source for example in examples], prepared.source_alphabet)
            targets = StringStore.of([example.target for example in examples], prepared.target_alphabet)
            by_task[task] = BatchStream(sources, targets, size, seed)
        elif task is Task.SYNTHETIC:
            made_up = learned_noise(prepared).sample
            by_task[task] = BatchStream(unpaired, unpaired, size, seed + SYNTHETIC_SEED, made_up, times)
        else:
            by_task[task] = BatchStream(prepared.train_sources, prepared.train_targets, size, seed)
    return by_task


def learned_noise(prepared: Prepared) -> LearnedNoise:
    """The noise that turns targets into sources as the training pairs do."""
    same = same_symbols(prepared.source_alphabet, prepared.target_alphabet)
    return LearnedNoise.learn(prepared.train_sources, prepared.train_targets, prepared.alignment, same)


def autoencoder_noise(prepared: Prepared, params: Params) -> Corruption | None:
    """The corruption of the autoencoder's input, from target ids to target ids, that `noise.kind` asks for.

    Learned noise is written in target symbols; a source symbol that no target has becomes unknown.
    """
    if params.noise.kind is NoiseKind.NONE:
        return None
    if params.noise.kind is NoiseKind.UNIFORM:
        return UniformNoise(params.noise.rate, len(prepared.target_alphabet)).corrupt
    targets_of_sources = same_symbols(prepared.target_alphabet, prepared.source_alphabet).astype(np.int32)
    if not targets_of_sources.any():
        raise UserError(
            "noise.kind: learned needs sources and targets that share symbols, and these have none in common: "
            "set noise.kind: uniform, and use what is learned from the pairs with 'synthetic' among a strategy's tasks"
        )
    targets_of_sources[targets_of_sources == 0] = UNKNOWN
    targets_of_sources[PADDING] = PADDING
    learned = learned_noise(prepared)

    def corrupt(ids: Ids, rng: np.random.Generator) -> Ids:
        return targets_of_sources[learned.sample(ids, rng)]

    return corrupt
