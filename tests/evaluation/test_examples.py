"""Which test items are shown as won and lost."""

from dataclasses import replace

import pandas as pd
import pytest

from pipeline.evaluation import mistakes as selection
from pipeline.evaluation.comparison import RunResult
from tests.support.made_up import run


def examples(results: list[RunResult], limit: int = 40) -> pd.DataFrame:
    return selection.examples(results, "tandem", limit)


def test_examples_are_those_won_then_those_lost() -> None:
    found = examples(
        [
            *(run("supervised", seed, [1, 0, 0, 1, 1]) for seed in range(3)),
            *(run("tandem", seed, [1, 1, 0, 0, 1]) for seed in range(3)),
        ]
    )
    assert found[["item", "result"]].to_numpy().tolist() == [[1, "won"], [3, "lost"]]
    assert found.loc[0, "supervised_prediction"] == "x1"
    assert found.loc[0, "tandem_prediction"] == "01"
    assert found.loc[1, "tandem_accuracy"] == 0


def test_examples_that_differ_in_more_seeds_come_first() -> None:
    results = [run("supervised", seed, [0, 0]) for seed in range(3)]
    results += [run("tandem", 0, [0, 1]), run("tandem", 1, [1, 1]), run("tandem", 2, [1, 1])]
    assert examples(results)["item"].tolist() == [1, 0]


def test_a_repeated_item_is_one_example() -> None:
    def twice(strategy: str, right: int) -> RunResult:
        once = run(strategy, 0, [right])
        return replace(
            once,
            sources=[*once.sources] * 2,
            targets=[*once.targets] * 2,
            predictions=[*once.predictions] * 2,
            scores=pd.concat([once.scores] * 2, ignore_index=True),
        )

    assert examples([twice("supervised", 0), twice("tandem", 1)])["item"].tolist() == [0]


def test_an_item_is_no_example_where_no_majority_changes() -> None:
    results = [run("supervised", seed, [0]) for seed in range(2)] + [run("tandem", 0, [1]), run("tandem", 1, [0])]
    assert examples(results).empty


def test_a_prediction_shown_is_one_of_the_majority() -> None:
    results = [run("supervised", seed, [1]) for seed in range(3)]
    results += [run("tandem", 0, [1]), run("tandem", 1, [0]), run("tandem", 2, [0])]
    assert examples(results).loc[0, "tandem_prediction"] == "x0"


@pytest.mark.parametrize(("limit", "counts"), [(4, (2, 2)), (5, (3, 2)), (8, (6, 2)), (1, (1, 0)), (20, (10, 2))])
def test_examples_are_balanced_as_far_as_there_are_enough(limit: int, counts: tuple[int, int]) -> None:
    results = [run("supervised", 0, [0] * 10 + [1] * 2), run("tandem", 0, [1] * 10 + [0] * 2)]
    found = examples(results, limit)["result"].value_counts()
    assert (found.get("won", 0), found.get("lost", 0)) == counts
