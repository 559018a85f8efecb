"""Learning curves: dev word accuracy by step, of single runs and of strategies."""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from pipeline.evaluation.comparison import RunResult, by_strategy

ACCURACY_COLUMN = "dev_word_accuracy"


def mean_curve(runs: Sequence[RunResult]) -> pd.Series:
    """Mean dev word accuracy of one strategy by step, up to where its last seed stopped.

    A seed that stopped early continues with its best value, that of the weights it keeps. At a step without an
    evaluation of a seed its last value counts. NaN before all seeds were evaluated once.
    """
    curves = [curve for run in runs if len(curve := run_curve(run))]
    if not curves:
        return pd.Series(dtype=float)
    grid = np.unique(np.concatenate([curve.index for curve in curves]))
    extended = [curve.reindex(grid).ffill().where(grid <= curve.index[-1], curve.max()) for curve in curves]
    return pd.concat(extended, axis=1).mean(axis=1, skipna=False)


def run_curve(run: RunResult) -> pd.Series:
    """Dev word accuracy of one run at the steps of its evaluations."""
    if ACCURACY_COLUMN not in run.history:
        return pd.Series(dtype=float)
    curve = run.history.set_index("step")[ACCURACY_COLUMN].dropna()
    return curve[~curve.index.duplicated(keep="last")].sort_index()


def curves_table(results: Iterable[RunResult]) -> pd.DataFrame:
    """Column `step` and, per strategy, its mean curve.

    A strategy whose seeds have all stopped continues with the mean of their best values to the end of the table,
    because DVC would draw a blank as zero.
    """
    groups = by_strategy(results)
    means = {name: mean_curve(runs) for name, runs in groups.items()}
    grid = np.unique(np.concatenate([curve.index.to_numpy(dtype=np.int64) for curve in means.values()]))
    table = pd.DataFrame(index=pd.Index(grid, name="step", dtype=np.int64))
    for name, curve in means.items():
        table[name] = curve.reindex(grid).ffill()
        if len(curve):
            best = np.mean([best.max() for run in groups[name] if len(best := run_curve(run))])
            table.loc[grid > curve.index[-1], name] = best
    return table.reset_index()


def histories_table(results: Iterable[RunResult]) -> pd.DataFrame:
    """The curve of every run: columns strategy, seed, step and dev_word_accuracy."""
    columns = ["strategy", "seed", "step", ACCURACY_COLUMN]
    parts = [
        run_curve(run).reset_index().assign(strategy=name, seed=run.seed)
        for name, runs in by_strategy(results).items()
        for run in runs
        if len(run_curve(run))
    ]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)
