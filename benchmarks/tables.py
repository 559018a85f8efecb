"""Accuracies of a benchmark beside the published ones, and what each part of a strategy buys, as tables.

Published figures are means over folds without intervals and are taken as they stand.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.resampling import Accuracies, Samples, interval
from pipeline.errors import UserError
from pipeline.evaluation.metrics import CONFIDENCE
from pipeline.evaluation.replication import at_least
from pipeline.report.tables import markdown_table, points

COLUMNS = ["system", "size", "corpus", "word_accuracy"]
Published = Mapping[tuple[str, int], tuple[str, float]]  # the best system and its accuracy by corpus and size


def load_published(path: Path) -> Published:
    """Read published.csv (word_accuracy in %); without the file nothing is published."""
    if not path.exists():
        return {}
    try:
        figures = pd.read_csv(path)[COLUMNS].astype({"word_accuracy": float})
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{path} needs the columns {', '.join(COLUMNS)}, accuracies in %: {error}") from error
    best = figures.loc[figures.groupby(["corpus", "size"])["word_accuracy"].idxmax()]
    return {(corpus, size): (system, value / 100) for system, size, corpus, value in best.itertuples(index=False)}


def note(passage: int) -> str:
    """What the figures of the tables are. passage: items that were resampled together."""
    units = f"passages of {passage} test tokens" if passage > 1 else "test items"
    return (
        f"Test accuracy in %, mean over folds, with the {100 * CONFIDENCE:.4g}% bootstrap interval over {units}; the "
        "training sets and the published figures are taken as they stand."
    )


def compared(
    accuracies: Accuracies, published: Published, strategy: str
) -> tuple[list[tuple[str, int]], Samples, Samples]:
    """The cells of a strategy for which something is published, its samples in them, and the published accuracies.

    Shapes: C, [C, 1 + resamples] and [C, 1].
    """
    every = {cell: accuracies.mean(*cell, strategy) for cell in accuracies.cells(strategy) if cell in published}
    ours = {cell: mean for cell, mean in every.items() if mean is not None}
    return list(ours), np.array(list(ours.values())), np.array([[published[cell][1]] for cell in ours])


def verdict(accuracies: Accuracies, published: Published, strategy: str) -> str:
    """Say in how many cells a strategy is above the best published system, and how much lower its error is."""
    cells, ours, best = compared(accuracies, published, strategy)
    if not cells:
        return f"Nothing is published to compare {strategy} with."
    gains = [interval(gain) for gain in ours - best]
    error, published_error = 1 - ours.mean(axis=0), 1 - best.mean()
    less, word = 1 - error / published_error, "lower"
    if less[0] < 0:
        less, word = -less, "higher"
    return (
        f"{strategy} is above the best published system in {sum(gain.mean > 0 for gain in gains)} of {len(cells)} "
        f"cells, in {sum(gain.low > 0 for gain in gains)} with its whole interval; its mean error is "
        f"{percent(error)} % against {100 * published_error:.1f} %: {percent(less)} % {word}. "
        + replicated(dict(zip(cells, ours - best, strict=True)), strategy, "the best published system")
    )


def replicated(gains: Mapping[tuple[str, int], Samples], of: str, over: str) -> str:
    """Say in how many cells a gain is above zero at least. gains: samples by (corpus, size).

    Cells of a corpus share their test text, so Bonferroni's count is the one that holds.
    """
    p_values = [(1 + np.count_nonzero(gain[1:] <= 0)) / len(gain) for gain in gains.values()]
    cells = at_least(p_values, (1 - CONFIDENCE) / 2)
    return f"{of} is better than {over} in at least {cells} of {len(gains)} cells (Bonferroni)."


def comparison_table(accuracies: Accuracies, published: Published, strategies: Sequence[str]) -> str:
    """Each cell of the first strategy beside the best published system; the last row is the mean error."""
    first, rows = strategies[0], []
    for cell in accuracies.cells(first):
        corpus, size = cell
        best = published.get(cell)
        row = [corpus, f"{size:,}", str(len(accuracies.samples[corpus, size, first]))]
        row += [f"{best[0]} {100 * best[1]:.1f}" if best else "-"]
        for strategy in strategies:
            ours = accuracies.mean(corpus, size, strategy)
            row += [percent(ours), signed(None if ours is None or best is None else ours - best[1])]
        rows.append(row)
    cells, _, best_of_cells = compared(accuracies, published, first)
    if cells:
        published_error = 1 - best_of_cells.mean()
        row = ["mean error", f"{len(cells)} cells", "-", f"{100 * published_error:.1f}"]
        for strategy in strategies:
            others, ours_of_cells, _ = compared(accuracies, published, strategy)
            if others == cells:
                error = 1 - ours_of_cells.mean(axis=0)
                row += [percent(error), f"{signed(error / published_error - 1)} %"]
            else:  # a mean over other cells would be beside the published one of these
                row += ["-", "-"]
        rows.append(row)
    header = ["corpus", "tokens", "folds", "best published"]
    header += [name for strategy in strategies for name in (strategy, "difference")]
    return markdown_table(header, rows)


def ablation_table(accuracies: Accuracies, strategies: Sequence[str], corpus: str, sizes: Sequence[int]) -> str:
    """The strategies of a corpus one below the other, each with its difference to the one above."""
    present = [name for name in strategies if any((corpus, size, name) in accuracies.samples for size in sizes)]
    rows = []
    for strategy, above in zip(present, ["", *present], strict=False):
        changes = [
            (accuracies.mean(corpus, size, strategy), accuracies.difference(corpus, size, strategy, above))
            for size in sizes
        ]
        rows.append([strategy, *(text for mean, change in changes for text in (percent(mean), signed(change)))])
    return markdown_table(
        [corpus, *(name for size in sizes for name in (f"{size:,} tokens", "to the row above"))], rows
    )


def percent(samples: Samples | None) -> str:
    """`82.9 (81.8 to 84.0)`."""
    if samples is None:
        return "-"
    value = interval(samples)
    return f"{100 * value.mean:.1f} ({100 * value.low:.1f} to {100 * value.high:.1f})"


def signed(samples: Samples | None) -> str:
    """`+2.9 (+1.8 to +4.0)`."""
    if samples is None:
        return "-"
    value = interval(samples)
    return f"{points(value.mean)} ({points(value.low)} to {points(value.high)})"
