"""Runs whose scores can be worked out by hand, and what else a report is made of."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from pipeline.config.options import Symbols
from pipeline.data.scoring import score
from pipeline.evaluation.comparison import RunResult, compare
from pipeline.evaluation.confusions import confusions
from pipeline.evaluation.examples import examples
from pipeline.evaluation.results import Metrics
from pipeline.report.findings import Findings

HALF = [1, 1, 0, 0] * 25
MOST = [1, 1, 1, 0] * 25


def run(strategy: str, seed: int, right: Sequence[int], **changes: Any) -> RunResult:
    """A run on the items 00, 01, 02, ...: `right` says which it got; wrong is one symbol of two."""
    targets = [f"{item:02}" for item in range(len(right))]
    predictions = [target if is_right else f"x{target[1]}" for target, is_right in zip(targets, right, strict=True)]
    scores = score(predictions, targets, [{target} for target in targets], Symbols.CHARACTERS)
    sources = [f"source {target}" for target in targets]
    values = {"steps": 20, "paired_steps": 10, "seconds": 1.0, **changes}
    return RunResult(strategy, seed, sources, targets, predictions, scores, **values)


def history(*accuracies: float, every: int = 10) -> pd.DataFrame:
    steps = every * np.arange(1, len(accuracies) + 1)
    return pd.DataFrame({"step": steps, "dev_word_accuracy": accuracies, "dev_character_error_rate": 0.5})


def compared(*results: RunResult, seen: Sequence[bool] | None = None, **settings: Any) -> Metrics:
    items = len(results[0].targets)
    lengths = [2] * items
    return compare(results, [False] * items if seen is None else seen, lengths, **{"resamples": 500, **settings})


def several(strategies: tuple[str, ...], targets: list[str], history: bool = True) -> list[RunResult]:
    """Two seeds of each strategy; strategy i errs on every item whose number i + 2 divides."""
    results = []
    for place, strategy in enumerate(strategies):
        for seed in range(2):
            predictions = [f"{t}$" if item % (place + 2) == 0 else t for item, t in enumerate(targets)]
            scores = score(predictions, targets, [{t} for t in targets], Symbols.CHARACTERS)
            curve = pd.DataFrame({"step": [10, 20], "dev_word_accuracy": [0.1 * place, 0.2], "other": 0.0})
            looks = curve if history else pd.DataFrame()
            certain = list(np.linspace(0.05, 0.95, len(targets)))
            spent: dict[str, Any] = {"steps": 40, "paired_steps": 20, "seconds": 1.5, "history": looks}
            known: dict[str, Any] = {"confidences": certain, "log_probabilities": np.log(certain).tolist()}
            results.append(RunResult(strategy, seed, targets, targets, predictions, scores, **spent, **known))
    return results


def rewrites(*texts: str) -> pd.DataFrame:
    """Rows as `LearnedNoise.rewrites` gives them, each text once in every place."""
    counts = {"count": 3, "seen": 4, "probability": 0.75}
    return pd.DataFrame([{"before": "^", "target": text, "after": text, "source": text, **counts} for text in texts])


def findings(results: Sequence[RunResult], metrics: Metrics | None = None, **changes: Any) -> Findings:
    """What a report is made of; each target is all that its item accepts."""
    targets = results[0].targets
    values: dict[str, Any] = {
        "metrics": metrics or compare(results, [False] * len(targets), list(map(len, targets)), resamples=100),
        "results": results,
        "examples": examples(results),
        "rewrites": rewrites("a"),
        "confusions": confusions(results, [{target} for target in targets], Symbols.CHARACTERS),
        "pairs": 100,
        "targets": 1000,
        "dev": 50,
    }
    return Findings(**{**values, **changes})
