"""The training sets of the published protocol: blocks of consecutive lines of a corpus."""

from pathlib import Path
from typing import NamedTuple

from pipeline.config.options import Symbols
from pipeline.data.corpus import Corpus, read_pairs, read_targets
from pipeline.data.prepared import Prepared, write_prepared
from pipeline.errors import UserError

CHARACTERS = Symbols.CHARACTERS
MAX_SYMBOLS = 1000  # of a word; a longer one is an error
SPLITS = ("train", "dev", "test")


class Cell(NamedTuple):
    """One training set: a block of lines of a corpus."""

    corpus: str
    size: int
    fold: int


def prepare(data: Path, cell: Cell, dev_lines: int | None, folder: Path) -> Prepared:
    """The cell's block of training lines, with all of dev or its beginning, all of test, and the target list."""
    pairs = {
        name: read_pairs(find(data, cell.corpus, f"{name}.tsv"), CHARACTERS, CHARACTERS, MAX_SYMBOLS) for name in SPLITS
    }
    block = pairs["train"][cell.fold * cell.size : (cell.fold + 1) * cell.size]
    if len(block) < cell.size:
        raise UserError(
            f"{cell.corpus} has {len(pairs['train']):,} training lines: fold {cell.fold} of {cell.size:,} is beyond"
        )
    targets = read_targets(find(data, cell.corpus, "targets.txt"), CHARACTERS, MAX_SYMBOLS)
    corpus = Corpus(block, pairs["dev"][:dev_lines], pairs["test"], targets, 0, None, cell.corpus)
    write_prepared(folder, corpus, CHARACTERS, CHARACTERS)
    return Prepared.open(folder)


def find(data: Path, corpus: str, name: str) -> Path:
    """The file of a corpus, or its compressed form."""
    for path in (data / corpus / f"{name}.gz", data / corpus / name):
        if path.exists():
            return path
    raise UserError(f"{data / corpus} has neither {name} nor {name}.gz: correct --data or --corpora")
