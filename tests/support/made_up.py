"""Runs whose scores can be worked out by hand, and reports made of them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from pipeline.config.options import Symbols
from pipeline.config.params import Strategy, load_params
from pipeline.data.scoring import score
from pipeline.evaluation.comparison import RunResult, calibration_table, compare, curves_table, histories_table
from pipeline.evaluation.coverage import coverage_table
from pipeline.evaluation.metrics import Resampling
from pipeline.evaluation.mistakes import confusions, examples
from pipeline.evaluation.results import EvaluationResults, Metrics, focus_of, strategies
from pipeline.report.costs import Costs
from pipeline.report.report import Report
from tests.conftest import PROJECT

SHIPPED = load_params(PROJECT / "params.yaml").strategies
HALF = [1, 1, 0, 0] * 25
MOST = [1, 1, 1, 0] * 25


def run(strategy: str, seed: int, right: Sequence[int], **changes: Any) -> RunResult:
    """A run on the items 00, 01, 02, ...: `right` says which it got; wrong is one symbol of two."""
    targets = [f"{item:02}" for item in range(len(right))]
    predictions = [target if is_right else f"x{target[1]}" for target, is_right in zip(targets, right, strict=True)]
    scores = score(predictions, targets, [{target} for target in targets], Symbols.CHARACTERS)
    sources = [f"source {target}" for target in targets]
    values = {"steps": 20, "paired_steps": 10, **changes}
    return RunResult(strategy, seed, sources, targets, predictions, scores, **values)


def history(*accuracies: float, every: int = 10) -> pd.DataFrame:
    steps = every * np.arange(1, len(accuracies) + 1)
    return pd.DataFrame({"step": steps, "dev_word_accuracy": accuracies, "dev_character_error_rate": 0.5})


def compared(*results: RunResult, listed: Sequence[bool] | None = None, **settings: Any) -> Metrics:
    items = len(results[0].targets)
    settings = {"resampling": Resampling(resamples=500), "settings": shipped(results), **settings}
    return compare(results, [False] * items if listed is None else listed, [2] * items, **settings)


def shipped(results: Sequence[RunResult]) -> dict[str, Strategy] | None:
    """The settings of the strategies, if all of them are shipped ones."""
    names = {result.strategy for result in results}
    return {name: SHIPPED[name] for name in names} if names <= set(SHIPPED) else None


def several(strategies: tuple[str, ...], targets: Sequence[str], history: bool = True) -> list[RunResult]:
    """Two seeds of each strategy; strategy i errs on every item whose number i + 2 divides."""
    results = []
    for place, strategy in enumerate(strategies):
        for seed in range(2):
            predictions = [f"{t}$" if item % (place + 2) == 0 else t for item, t in enumerate(targets)]
            scores = score(predictions, targets, [{t} for t in targets], Symbols.CHARACTERS)
            curve = pd.DataFrame({"step": [10, 20], "dev_word_accuracy": [0.1 * place, 0.2], "other": 0.0})
            evaluations = curve if history else pd.DataFrame()
            certain = list(np.linspace(0.05, 0.95, len(targets)))
            spent: dict[str, Any] = {"steps": 40, "paired_steps": 20, "history": evaluations}
            known: dict[str, Any] = {"confidences": certain, "log_probabilities": np.log(certain).tolist()}
            results.append(RunResult(strategy, seed, targets, targets, predictions, scores, **spent, **known))
    return results


def rewrites(*texts: str) -> pd.DataFrame:
    """Rows as returned by `LearnedNoise.rewrites`, each text once in every place."""
    counts = {"count": 3, "seen": 4, "probability": 0.75}
    return pd.DataFrame([{"before": "^", "target": text, "after": text, "source": text, **counts} for text in texts])


def evaluation(results: Sequence[RunResult], metrics: Metrics | None = None, **changes: Any) -> EvaluationResults:
    """The results of an evaluation; each item accepts its target alone."""
    targets = results[0].targets
    if metrics is None:
        lengths = list(map(len, targets))
        metrics = compare(results, [False] * len(targets), lengths, shipped(results), Resampling(100))
    values: dict[str, Any] = {
        "curves": curves_table(results),
        "histories": histories_table(results),
        "calibration": calibration_table(results),
        "coverage": coverage_table([run for run in results if run.strategy == focus_of(metrics)], Resampling(100)),
        "confusions": confusions(results, [{target} for target in targets], Symbols.CHARACTERS),
        "noise": rewrites("a"),
        "examples": examples(results, focus_of(metrics)),
    }
    return EvaluationResults(metrics, **{**values, **changes})


def report(results: Sequence[RunResult], metrics: Metrics | None = None, **changes: Any) -> Report:
    """A report of 100 pairs; `changes` are values of the report or of the results in it."""
    values: dict[str, Any] = {"pairs": 100, "targets": 1000, "dev": 50}
    values |= {name: changes.pop(name) for name in ("pairs", "sizes", "costs", "samples") if name in changes}
    found = evaluation(results, metrics, **changes)
    seconds = {name: 10.0 + place for place, name in enumerate(strategies(found.metrics))}
    curves = {name: [([5.0, last], [0.1, 0.2])] for name, last in seconds.items()}
    return Report(found, **{"costs": Costs(seconds, curves), **values})
