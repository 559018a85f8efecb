"""What a benchmark shows: its accuracies beside the published ones, and what each part of a recipe buys.

Published figures are means over folds without intervals and are taken as they stand.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.resampling import PASSAGE, Accuracies, Samples, interval
from pipeline.errors import UserError
from pipeline.evaluation.metrics import CONFIDENCE, Interval
from pipeline.report.tables import markdown_table, points

COLUMNS = ["system", "size", "corpus", "word_accuracy"]
NOTE = (
    f"Test accuracy in %, mean over folds, with the {100 * CONFIDENCE:.4g}% bootstrap interval over passages of "
    f"{PASSAGE} test tokens; the training sets and the published figures are taken as they stand."
)


@dataclass(frozen=True, eq=False)
class Published:
    """Accuracies of published systems, as fractions."""

    figures: pd.DataFrame  # columns `COLUMNS`

    @classmethod
    def load(cls, path: Path) -> "Published":
        """Read published.csv (word_accuracy in %); nothing where there is none."""
        if not path.exists():
            return cls(pd.DataFrame(columns=COLUMNS))
        try:
            figures = pd.read_csv(path)[COLUMNS]
            return cls(figures.assign(word_accuracy=figures["word_accuracy"].astype(float) / 100))
        except (OSError, ValueError, KeyError) as error:
            raise UserError(f"{path} needs the columns {', '.join(COLUMNS)}, accuracies in %: {error}") from error

    def best(self, corpus: str, size: int) -> tuple[str, float] | None:
        """The most accurate system and its accuracy."""
        rows = self.figures[(self.figures["corpus"] == corpus) & (self.figures["size"] == size)]
        if rows.empty:
            return None
        system, accuracy = max(zip(rows["system"], rows["word_accuracy"], strict=True), key=lambda row: row[1])
        return str(system), float(accuracy)


@dataclass(frozen=True, eq=False)
class Reduction:
    """Errors of a strategy beside the best published ones, over the cells that have both."""

    cells: list[tuple[str, int]]
    error: Samples
    published_error: float

    @classmethod
    def of(cls, accuracies: Accuracies, published: Published, strategy: str) -> "Reduction | None":
        """None where nothing is published."""
        cells = [cell for cell in accuracies.cells(strategy) if published.best(*cell)]
        if not cells:
            return None
        best = [found[1] for cell in cells if (found := published.best(*cell))]
        error = 1 - np.mean([accuracies.mean(*cell, strategy) for cell in cells], axis=0)
        return cls(cells, error, 1 - float(np.mean(best)))

    @property
    def relative(self) -> Samples:
        """The share of the published errors that is gone; negative where there are more."""
        return 1 - self.error / self.published_error


def verdict(accuracies: Accuracies, published: Published, strategy: str) -> str:
    """In a sentence: in how many cells a strategy is above the best published system, and by how much in all."""
    if (found := Reduction.of(accuracies, published, strategy)) is None:
        return f"Nothing is published to compare {strategy} with."
    ours = {cell: interval(accuracies.mean(*cell, strategy)) for cell in found.cells}
    best = {cell: figure[1] for cell in found.cells if (figure := published.best(*cell))}
    above = sum(ours[cell].mean > best[cell] for cell in best)
    known = not any(math.isnan(one.low) for one in ours.values())
    sure = f", in {sum(ours[cell].low > best[cell] for cell in best)} with its whole interval" if known else ""
    less, word = interval(found.relative), "lower"
    if less.mean < 0:
        less, word = interval(-found.relative), "higher"
    return (
        f"{strategy} is above the best published system in {above} of {len(best)} cells{sure}; its mean error is "
        f"{_percent(found.error)} % against {100 * found.published_error:.1f} %: "
        f"{100 * less.mean:.1f}{_range(less)} % {word}."
    )


def comparison_table(accuracies: Accuracies, published: Published, strategies: Sequence[str]) -> str:
    """Each cell of the first strategy beside the best published system; the last row is the mean error."""
    first = strategies[0]
    rows = []
    for corpus, size in accuracies.cells(first):
        best = published.best(corpus, size)
        row = [corpus, f"{size:,}", str(accuracies.folds(corpus, size, first))]
        row += [f"{best[0]} {100 * best[1]:.1f}" if best else "-"]
        for strategy in strategies:
            if accuracies.has(corpus, size, strategy):
                ours = accuracies.mean(corpus, size, strategy)
                row += [_percent(ours), _points(ours - best[1]) if best else "-"]
            else:
                row += ["-", "-"]
        rows.append(row)
    reductions = {strategy: Reduction.of(accuracies, published, strategy) for strategy in strategies}
    if (own := reductions[first]) is not None:
        row = ["mean error", f"{len(own.cells)} cells", "-", f"{100 * own.published_error:.1f}"]
        for found in reductions.values():
            # A mean over other cells would be beside the published one of these.
            same = found is not None and found.cells == own.cells
            row += [_percent(found.error), f"{_points(-found.relative)} %"] if found and same else ["-", "-"]
        rows.append(row)
    header = ["corpus", "tokens", "folds", "best published"]
    header += [name for strategy in strategies for name in (strategy, "difference")]
    return markdown_table(header, rows)


def ablation_tables(accuracies: Accuracies, strategies: Sequence[str], cells: Sequence[tuple[str, int]]) -> str:
    """For each corpus the strategies one below the other, each with its difference to the one above."""
    tables = []
    for corpus in dict.fromkeys(corpus for corpus, _ in cells):
        sizes = [size for name, size in cells if name == corpus]
        present = [name for name in strategies if any(accuracies.has(corpus, size, name) for size in sizes)]
        rows = []
        for strategy, above in zip(present, [None, *present], strict=False):
            row = [strategy]
            for size in sizes:
                row.append(
                    _percent(accuracies.mean(corpus, size, strategy)) if accuracies.has(corpus, size, strategy) else "-"
                )
                change = accuracies.difference(corpus, size, strategy, above) if above else None
                row.append("-" if change is None else _points(change))
            rows.append(row)
        header = [corpus, *(name for size in sizes for name in (f"{size:,} tokens", "to the row above"))]
        tables.append(markdown_table(header, rows))
    return "\n".join(tables)


def _percent(samples: Samples) -> str:
    """`82.9 (81.8 to 84.0)`."""
    found = interval(samples)
    return f"{100 * found.mean:.1f}{_range(found)}"


def _points(samples: Samples) -> str:
    """`+2.9 (+1.8 to +4.0)`."""
    found = interval(samples)
    between = "" if math.isnan(found.low) else f" ({points(found.low)} to {points(found.high)})"
    return points(found.mean) + between


def _range(found: Interval) -> str:
    return "" if math.isnan(found.low) else f" ({100 * found.low:.1f} to {100 * found.high:.1f})"
