"""A suite of corpora with published figures: what its suite.yaml says of them, and their cells as prepared data.

suite.yaml has `source_symbols` and `target_symbols` (characters or spaces), `rows` (types, a row for each word, or
running_text), and perhaps `train`, the files of training pairs by size, and `targets`, the file of unpaired targets,
each with its count behind a tab if the first one is; bad rows are left out. Without `train`, fold k of size n is lines
k n to (k + 1) n of train.tsv, and the sources of the other lines are the unpaired ones; without `targets`, the targets
of the training pairs are the unpaired targets. Files may be .gz.
"""

from collections.abc import Collection
from dataclasses import field
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter
from pydantic.dataclasses import dataclass

from benchmarks.results import Cell
from pipeline.config.document import read_document
from pipeline.config.options import Symbols
from pipeline.config.params import STRICT, checked
from pipeline.data.corpus import Corpus, read_pairs, read_targets
from pipeline.data.examples import Example
from pipeline.data.prepared import Prepared, write_prepared
from pipeline.data.store import Integers
from pipeline.errors import UserError

MAX_SYMBOLS = 1000  # of a word; a longer one is an error
MOST_SOURCES = 50_000  # unpaired lines
PASSAGE = 100  # tokens of running text that are resampled together, because they depend on each other


@dataclass(frozen=True, config=STRICT)
class Facts:
    """The content of suite.yaml."""

    source_symbols: Symbols
    target_symbols: Symbols
    rows: Literal["types", "running_text"]
    train: dict[int, str] = field(default_factory=dict)
    targets: str | None = None


@dataclass(frozen=True)
class Suite:
    """A folder of corpora, and what is the same for all of them."""

    folder: Path
    facts: Facts

    @classmethod
    def load(cls, folder: Path) -> "Suite":
        """Read suite.yaml; raises `UserError` if it is missing or wrong."""
        path = folder / "suite.yaml"
        document = read_document(path, "correct --data")
        return cls(folder, checked(TypeAdapter(Facts), document.content, str(path), document, {}))

    @property
    def passage(self) -> int:
        """How many test items in a row are resampled together."""
        return PASSAGE if self.facts.rows == "running_text" else 1

    def prepare(self, cell: Cell, dev_lines: int | None, folder: Path) -> Prepared:
        """Write what `corpus` gives to a folder, and open it."""
        write_prepared(folder, self.corpus(cell, dev_lines), self.facts.source_symbols, self.facts.target_symbols)
        return Prepared.open(folder)

    def corpus(self, cell: Cell, dev_lines: int | None) -> Corpus:
        """The cell's training pairs, all of dev or its first lines, all of test, and the unpaired targets."""
        file = self.facts.train.get(cell.size)
        if self.facts.train and (file is None or cell.fold):
            sizes = ", ".join(map(str, self.facts.train))
            raise UserError(f"{self.folder} has one fold of the sizes {sizes}: correct --sizes and --folds")
        train = self._pairs(cell, file or "train.tsv")
        block = train if file else train[cell.fold * cell.size : (cell.fold + 1) * cell.size]
        if len(block) < cell.size:
            raise UserError(
                f"{cell.corpus} has {len(train):,} training lines: fold {cell.fold} of {cell.size:,} is beyond"
            )
        dev, test = (self._pairs(cell, name) for name in ("dev.tsv", "test.tsv"))
        targets, counts = self._targets(cell) if self.facts.targets else ([pair.target for pair in block], None)
        others = [] if file else train[: cell.fold * cell.size] + train[(cell.fold + 1) * cell.size :]
        unpaired = [pair.source for pair in others[:MOST_SOURCES]]
        return Corpus(block, dev[:dev_lines], test, targets, 0, None, cell.corpus, counts, unpaired)

    def _pairs(self, cell: Cell, name: str) -> list[Example]:
        return read_pairs(self._file(cell, name), self.facts.source_symbols, self.facts.target_symbols, MAX_SYMBOLS)

    def _targets(self, cell: Cell) -> tuple[Collection[str], Integers | None]:
        path = self._file(cell, str(self.facts.targets))
        return read_targets(path, self.facts.target_symbols, MAX_SYMBOLS, rejected=[])

    def _file(self, cell: Cell, name: str) -> Path:
        for path in (self.folder / cell.corpus / f"{name}.gz", self.folder / cell.corpus / name):
            if path.exists():
                return path
        where = self.folder / cell.corpus
        raise UserError(f"{where} has neither {name} nor {name}.gz: correct --data or --corpora")
