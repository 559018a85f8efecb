"""All that a comparison found, as the report shows it, and the figures that show it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pandas as pd
from matplotlib.figure import Figure

from pipeline.evaluation.attention import AttentionMap
from pipeline.evaluation.comparison import RunResult, accuracy_table
from pipeline.evaluation.results import Metrics, focus_of, strategies
from pipeline.evaluation.sizes import BY_PAIRS
from pipeline.report import figures, heatmaps


@dataclass(frozen=True, eq=False)
class Findings:
    """What stage `evaluate` hands to the report.

    metrics: as `comparison.compare` gives them. examples, rewrites, confusions: as `examples.examples`,
    `LearnedNoise.rewrites` and `confusions.confusions` give them. pairs, targets, dev: how many there were to learn
    from. attention: maps of the strategy in focus; none where the bridge is a vector. earlier: columns `BY_PAIRS`, what
    comparisons with other numbers of pairs found.
    """

    metrics: Metrics
    results: Sequence[RunResult]
    examples: pd.DataFrame
    rewrites: pd.DataFrame
    confusions: pd.DataFrame
    pairs: int
    targets: int
    dev: int
    attention: Sequence[AttentionMap] = ()
    earlier: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=BY_PAIRS))

    @property
    def strategies(self) -> list[str]:
        """The strategies compared, in their order."""
        return strategies(self.metrics)

    @property
    def focus(self) -> str:
        """The strategy that confusions, maps and examples are about."""
        return focus_of(self.strategies)

    @property
    def colour(self) -> str:
        """Its colour."""
        return str(figures.styles(self.strategies)[self.focus]["color"])

    @property
    def by_pairs(self) -> pd.DataFrame:
        """Accuracy of each strategy by number of pairs, this comparison and earlier ones, columns `BY_PAIRS`."""
        rows = accuracy_table(self.metrics)
        own = rows[rows["strategy"].isin(self.strategies)].assign(pairs=self.pairs)[BY_PAIRS]
        is_shown = self.earlier["strategy"].isin(self.strategies) & (self.earlier["pairs"] != self.pairs)
        earlier = self.earlier[is_shown]
        return pd.concat([earlier, own], ignore_index=True) if len(earlier) else own.reset_index(drop=True)


@dataclass(frozen=True)
class Plot:
    """A figure of the report: what it is called and how it is drawn."""

    title: str
    draw: Callable[[Findings], Figure]


PLOTS = {
    "learning_curves": Plot(
        "Word accuracy on the development set while training (greedy)",
        lambda found: figures.learning_curves(found.results),
    ),
    "word_accuracy": Plot("Word accuracy on the test set", lambda found: figures.word_accuracy(found.metrics)),
    "accuracy_by_length": Plot(
        "Word accuracy on the test set by source length", lambda found: figures.accuracy_by_length(found.metrics)
    ),
    "confusions": Plot(
        "Which symbols are written for which, times in a run",
        lambda found: heatmaps.confusion_map(
            found.confusions, found.focus, found.metrics[found.focus]["seeds"], found.colour
        ),
    ),
    "attention": Plot(
        "Where the decoder looks: source across, output down",
        lambda found: heatmaps.attention(found.attention, found.focus, found.colour),
    ),
    "calibration": Plot(
        "Whether confidences can be taken at their word", lambda found: figures.calibration(found.results)
    ),
    "noise": Plot("What the pairs make of a target, most frequent first", lambda found: figures.noise(found.rewrites)),
}
