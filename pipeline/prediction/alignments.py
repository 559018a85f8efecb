"""Alignments of predictions: which symbols of the source each symbol of an output came from.

They are the likeliest ones by the edits that `data.alignment` learned from the training pairs, so every output has one,
whichever network or list it is from. Consecutive output symbols come from consecutive pieces of the source, which may
be empty and together are the whole source.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from urllib.parse import quote

import numpy as np

from pipeline.data.alignment import Edits, best_alignment
from pipeline.data.alphabet import Alphabet
from pipeline.data.prepared import Prepared
from pipeline.data.store import DAMAGE, StringStore, load_arrays, save_arrays
from pipeline.errors import UserError

EDITS = "edits.npz"  # in the folder of a bundle
SEPARATORS = " =+%"  # of the text of an alignment

Pieces = list[list[int]]  # for each output symbol the places of its source symbols, counted from 0


@dataclass(frozen=True, eq=False)
class Aligner:
    """Aligns sources and outputs over two alphabets; symbols that these lack are aligned as unknown ones."""

    source: Alphabet
    target: Alphabet
    edits: Edits

    @classmethod
    def prepared(cls, source: Alphabet, target: Alphabet) -> "Aligner":
        """The aligner of data/prepared; raises `UserError` if that is missing, damaged or has other alphabets."""
        prepared = Prepared.open()
        if (prepared.source_alphabet, prepared.target_alphabet) != (source, target):
            raise UserError(f"{prepared.folder} has other symbols than the model: run `dvc repro`")
        return cls(source, target, prepared.alignment.edits)

    @classmethod
    def load(cls, folder: Path, source: Alphabet, target: Alphabet) -> "Aligner":
        """Read what `save` wrote; raises `UserError` for anything else."""
        cells, symbols = (len(source), len(target)), (len(target),)
        shapes = {"first": cells, "further": cells, "silent": symbols, "stop": symbols}
        try:
            arrays = load_arrays(folder / EDITS)
            if {name: array.shape for name, array in arrays.items()} != shapes:
                raise ValueError("its edits are those of other alphabets")
            if not all(array.dtype == np.float64 and (array <= 0).all() for array in arrays.values()):
                raise ValueError("its edits have no log probabilities")
        except DAMAGE as error:
            raise UserError(f"{folder / EDITS} is damaged ({error}): save the model again") from error
        return cls(source, target, Edits(**arrays))

    def save(self, folder: Path) -> None:
        """Write the edits; equal ones give identical bytes."""
        save_arrays(folder / EDITS, **vars(self.edits))

    def align(self, sources: Sequence[str], outputs: Sequence[str]) -> list[Pieces]:
        """Align row-aligned sources, in normal form, and outputs."""
        source_ids, output_ids = StringStore.of(sources, self.source), StringStore.of(outputs, self.target)
        alignment = best_alignment(source_ids, output_ids, self.edits)
        first = np.repeat(source_ids.offsets[:-1], np.diff(output_ids.offsets))
        spans = zip((alignment.starts - first).tolist(), (alignment.ends - first).tolist(), strict=True)
        pieces = [list(range(start, max(start, end))) for start, end in spans]
        offsets = output_ids.offsets.tolist()
        return [pieces[start:end] for start, end in pairwise(offsets)]


def as_text(source: Sequence[str], output: Sequence[str], pieces: Pieces) -> str:
    """An alignment for a cell: the output symbols in their order, each with `=` and its source symbols.

    `f=F x=K+S e=` says that x came from K and S, and e from nothing. In a symbol, the separators, `%` and what cannot
    be seen are percent-encoded as in addresses.
    """
    symbols = list(map(_quoted, source))
    parts = zip(map(_quoted, output), pieces, strict=True)
    return " ".join(f"{symbol}={'+'.join(symbols[place] for place in piece)}" for symbol, piece in parts)


def _quoted(symbol: str) -> str:
    return "".join(c if c.isprintable() and c not in SEPARATORS else quote(c, safe="") for c in symbol)
