"""Learning curves of runs that stopped, skipped a look, or had none."""

import numpy as np
import pandas as pd
import pytest

from pipeline.evaluation.comparison import curves_table, histories_table
from tests.support.made_up import HALF, history, run


def test_mean_curve_continues_with_the_best_value_of_a_seed_that_stopped() -> None:
    runs = [
        run("tandem", 0, HALF, history=history(0.1, 0.5, 0.3)),  # stopped at 30, keeps the weights of 20
        run("tandem", 1, HALF, history=history(0.1, 0.3, 0.3, 0.7)),
    ]
    found = curves_table(runs)
    assert found["step"].tolist() == [10, 20, 30, 40]
    assert found["tandem"].tolist() == pytest.approx([0.1, 0.4, 0.3, 0.6])


def test_curves_table_has_one_column_per_strategy_and_no_blanks_after_a_stop() -> None:
    found = curves_table(
        [
            run("tandem", 0, HALF, history=history(0.1, 0.2, 0.3, 0.4)),
            run("supervised", 0, HALF, history=history(0.2, 0.1)),
        ]
    )
    assert found.to_dict("list") == {
        "step": [10, 20, 30, 40],
        "tandem": [0.1, 0.2, 0.3, 0.4],
        "supervised": [0.2, 0.1, 0.2, 0.2],
    }


def test_curves_skip_rows_without_an_evaluation_and_runs_without_any() -> None:
    blank = pd.DataFrame({"step": [5, 10], "dev_word_accuracy": [np.nan, 0.5]})
    found = curves_table([run("tandem", 0, HALF, history=blank), run("supervised", 0, HALF)])
    assert found["step"].tolist() == [10]
    assert found["tandem"].tolist() == [0.5]
    assert found["supervised"].isna().all()


def test_histories_have_a_row_for_each_evaluation_of_each_run() -> None:
    found = histories_table([run("tandem", seed, HALF, history=history(0.1, 0.2)) for seed in (0, 7)])
    assert found.to_dict("list") == {
        "strategy": ["tandem"] * 4,
        "seed": [0, 0, 7, 7],
        "step": [10, 20, 10, 20],
        "dev_word_accuracy": [0.1, 0.2, 0.1, 0.2],
    }
    assert list(histories_table([run("tandem", 0, HALF)])) == list(found)
