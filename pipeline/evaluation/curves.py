"""Learning curves: dev word accuracy by step, of single runs and of strategies."""

from collections.abc import Iterable

import pandas as pd

from pipeline.evaluation.comparison import RunResult, by_strategy

ACCURACY_COLUMN = "dev_word_accuracy"


def histories_table(results: Iterable[RunResult]) -> pd.DataFrame:
    """Every evaluation of every run: columns strategy, seed, step and dev_word_accuracy."""
    columns = ["strategy", "seed", "step", ACCURACY_COLUMN]
    parts = [
        run.history.reindex(columns=columns)
        .assign(strategy=name, seed=run.seed)
        .dropna()
        .drop_duplicates("step", keep="last")
        for name, runs in by_strategy(results).items()
        for run in runs
    ]
    return pd.concat([part for part in parts if len(part)] or [pd.DataFrame(columns=columns)], ignore_index=True)


def curves_table(results: Iterable[RunResult]) -> pd.DataFrame:
    """Column `step` and, per strategy, the mean dev word accuracy of its seeds.

    A seed that stopped early continues with its best value, that of the weights it keeps, to the end of the table. At a
    step without an evaluation of a seed its last value counts. NaN before all seeds were evaluated once.
    """
    histories = histories_table(results)
    runs = histories.pivot_table(index="step", columns=["strategy", "seed"], values=ACCURACY_COLUMN)
    for name in runs:
        curve = runs[name]
        runs[name] = curve.ffill().where(runs.index <= curve.last_valid_index(), curve.max())
    means = pd.DataFrame({name: runs[name].T.mean(skipna=False) for name in by_strategy(results) if name in runs})
    means = means.reindex(columns=list(by_strategy(results)))
    return means.set_axis(runs.index.astype(int)).rename_axis("step").reset_index()
