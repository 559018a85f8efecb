"""The material of a report, read from files, and the figures that it is drawn as."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from pipeline.evaluation.results import EvaluationResults, Metrics, accuracy_table, focus_of, strategies
from pipeline.report import figures, heatmaps


@dataclass(frozen=True, eq=False)
class Report:
    """What is shown: the results, and what lies beside them.

    seconds: as returned by `tables.training_seconds`. pairs, targets, dev: numbers of training
    pairs, unpaired targets and development pairs. sizes: as returned by `sizes.saved`.
    """

    results: EvaluationResults
    seconds: dict[str, float]
    pairs: int
    targets: int
    dev: int
    sizes: pd.DataFrame = field(default_factory=pd.DataFrame)

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
    def colour(self) -> str:
        """The colour of the strategy in focus."""
        return str(figures.styles(self.strategies)[self.focus]["color"])

    @property
    def by_pairs(self) -> pd.DataFrame:
        """Accuracy of each strategy by number of pairs, those of this comparison included."""
        now = accuracy_table(self.metrics).assign(pairs=self.pairs)
        now = now[now["strategy"].isin(self.strategies)]
        if self.sizes.empty:
            return now
        others = self.sizes[self.sizes["strategy"].isin(self.strategies) & (self.sizes["pairs"] != self.pairs)]
        return pd.concat([others, now], ignore_index=True) if len(others) else now


@dataclass(frozen=True)
class Plot:
    """A figure of the report: its title and how it is drawn."""

    title: str
    draw: Callable[[Report], Figure]


PLOTS = {
    "learning_curves": Plot(
        "Word accuracy on the development set while training (greedy)",
        lambda report: figures.learning_curves(report.results.curves, report.results.histories),
    ),
    "word_accuracy": Plot("Word accuracy on the test set", lambda report: figures.word_accuracy(report.metrics)),
    "accuracy_by_length": Plot(
        "Word accuracy on the test set by source length", lambda report: figures.accuracy_by_length(report.metrics)
    ),
    "confusions": Plot(
        "Symbols written in place of others, times in a run",
        lambda report: heatmaps.confusion_map(
            report.results.confusions, report.focus, report.metrics[report.focus]["seeds"], report.colour
        ),
    ),
    "attention": Plot(
        "Attention: source across, output down",
        lambda report: heatmaps.attention(report.results.attention, report.focus, report.colour),
    ),
    "calibration": Plot(
        "How often predictions of a confidence are right",
        lambda report: figures.calibration(report.results.calibration, report.strategies),
    ),
    "noise": Plot(
        "How sources write a target symbol, most frequent first", lambda report: figures.noise(report.results.noise)
    ),
}


def write_plots(report: Report, folder: Path) -> None:
    """Write the figures of `PLOTS` as PNG files."""
    for name, plot in PLOTS.items():
        figures.save(plot.draw(report), folder / f"{name}.png", plot.title)
