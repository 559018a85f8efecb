"""metrics.json: its sections, and what the rows of its tables are called. Its numbers are `comparison`'s."""

from collections.abc import Mapping, Sequence
from typing import Any

ORDER = ("supervised", "two_stage", "tandem")
FOCUS = "tandem"
COMPARISONS, ENSEMBLES, CONTROLS = "comparisons", "ensembles", "controls"  # beside the strategies in the metrics
GREEDY, BEAM = "greedy", "beam"  # orders of candidates beside the one that is evaluated

Metrics = dict[str, Any]


def strategies(metrics: Metrics) -> list[str]:
    """The names of the strategies in the metrics, in their order."""
    return [name for name in metrics if name not in (COMPARISONS, ENSEMBLES, CONTROLS)]


def rows(metrics: Metrics) -> dict[str, dict[str, Any]]:
    """What a table of accuracies shows, by its title: the controls, the strategies, and ensembles of their seeds."""
    ensembles = {ensemble_title(name): row for name, row in metrics[ENSEMBLES].items()}
    return {**metrics[CONTROLS], **{name: metrics[name] for name in strategies(metrics)}, **ensembles}


def ensemble_title(strategy: str) -> str:
    """What the row of an ensemble is called."""
    return f"{strategy}, ensemble"


def focus_of(names: Sequence[str]) -> str:
    """The strategy that verdict and examples are about: tandem, or the last one without it."""
    return FOCUS if FOCUS in names else names[-1]


def length_range(bucket: Mapping[str, Any]) -> str:
    """Shortest and longest of a bucket, in words."""
    low, high = bucket["from"], bucket["to"]
    return str(low) if low == high else f"{low} to {high}"
