"""The material of a report, read from files, and the figures that it is drawn as."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from pipeline.evaluation.results import EvaluationResults, Metrics, accuracy_table, focus_of, strategies
from pipeline.report import figures, heatmaps
from pipeline.report.costs import Costs


@dataclass(frozen=True, eq=False)
class Report:
    """What is shown: the results, and what lies beside them.

    pairs, targets, dev: numbers of training pairs, unpaired targets and development pairs. sizes: as returned by
    `sizes.saved`. samples: what several samples of the pairs show, as returned by `tables.of_samples`.
    """

    results: EvaluationResults
    costs: Costs
    pairs: int
    targets: int
    dev: int
    sizes: pd.DataFrame = field(default_factory=pd.DataFrame)
    samples: str = ""

    @property
    def metrics(self) -> Metrics:
        """The numbers of the comparison."""
        return self.results.metrics

    @property
    def strategies(self) -> list[str]:
        """The strategies, in the order of params.yaml."""
        return strategies(self.metrics)

    @property
    def focus(self) -> str:
        """The strategy that confusions, attention maps and examples are about."""
        return focus_of(self.metrics)

    @property
    def by_pairs(self) -> pd.DataFrame:
        """Accuracy of each strategy by number of pairs, those of this comparison included.

        Several samples of as many pairs stand in place of this comparison.
        """
        now = accuracy_table(self.metrics).assign(pairs=self.pairs, samples=1)
        now = now[now["strategy"].isin(self.strategies)]
        if self.sizes.empty:
            return now
        sizes = self.sizes[self.sizes["strategy"].isin(self.strategies)]
        here = sizes["pairs"] == self.pairs
        if (sizes["samples"][here] > 1).any():
            return sizes
        return pd.concat([sizes[~here], now], ignore_index=True) if len(sizes[~here]) else now


# The title of each figure, and how it is drawn.
PLOTS: dict[str, tuple[str, Callable[[EvaluationResults], Figure]]] = {
    "learning_curves": ("Word accuracy on the development set while training (greedy)", figures.learning_curves),
    "word_accuracy": ("Word accuracy on the test set", figures.word_accuracy),
    "accuracy_by_length": ("Word accuracy on the test set by source length", figures.accuracy_by_length),
    "confusions": ("Symbols written in place of others, times in a run", heatmaps.confusions),
    "attention": ("Attention: source across, output down", heatmaps.attention),
    "calibration": ("How often predictions of a confidence are right", figures.calibration),
    "coverage": ("How often predictions are right, by the share that is kept", figures.coverage),
    "noise": ("How sources write a target symbol, most frequent first", figures.noise),
}


def write_plots(results: EvaluationResults, folder: Path) -> None:
    """Write the figures of `PLOTS` as PNG files."""
    for name, (title, draw) in PLOTS.items():
        figures.save(draw(results), folder / f"{name}.png", title)
