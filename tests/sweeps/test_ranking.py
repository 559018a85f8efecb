"""Results of a sweep as tables and plot."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from matplotlib.figure import Figure

from pipeline.config.params import Params
from pipeline.report import figures
from pipeline.sweeps.ranking import parallel_coordinates, ranked, table, trials_table, verdict
from pipeline.sweeps.trials import FINISHED, STOPPED, Result, Trial

PARAMETERS = ("prepare.pairs", "strategies.tandem.steps")


def one(
    params: Params, strategy: str, seed: int, accuracy: float, ending: str = FINISHED, **changes: Any
) -> tuple[Trial, Result]:
    named = {name.replace("__", "."): value for name, value in changes.items()}
    best = {"step": 80, "seconds": 1.25, "dev_word_accuracy": accuracy, "dev_character_error_rate": 0.5}
    last = {"step": 100, "seconds": 1.5, "dev_word_accuracy": 0.0, "dev_character_error_rate": 0.5}
    return Trial.of(strategy, seed, named, params), Result(ending, [best, last])


@pytest.fixture
def trials(params: Params) -> pd.DataFrame:
    pairs = [
        one(params, "supervised", 0, 0.5, prepare__pairs=250, strategies__tandem__steps=10),
        one(params, "tandem", 0, 0.25, STOPPED, prepare__pairs=250, strategies__tandem__steps=10),
        one(params, "tandem", 0, 0.5, prepare__pairs=500, strategies__tandem__steps=20),
        one(params, "supervised", 1, 0.125, prepare__pairs=250, strategies__tandem__steps=10),
        one(params, "tandem", 1, 0.75, prepare__pairs=500, strategies__tandem__steps=20),
    ]
    return trials_table(pairs, PARAMETERS)


def test_configurations_are_ranked_by_the_mean_over_their_seeds(trials: pd.DataFrame) -> None:
    ranking = ranked(trials, PARAMETERS)
    assert ranking[["strategy", "mean", "seeds"]].to_numpy().tolist() == [
        ["tandem", 0.625, 2],
        ["supervised", 0.3125, 2],
        ["tandem", 0.25, 1],
    ]
    assert ranking["trial"][0].changes == {"prepare.pairs": 500, "strategies.tandem.steps": 20}
    assert verdict(ranking.iloc[0]) == (
        "best: tandem with prepare.pairs: 500, strategies.tandem.steps: 20, 62.5% of dev words right (mean of 2 seeds)"
    )
    assert verdict(ranking.iloc[2]).endswith("25.0% of dev words right (one seed)")


def test_the_table_has_a_row_for_each_configuration(trials: pd.DataFrame) -> None:
    lines = table(ranked(trials, PARAMETERS)).splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    assert rows[0] == [
        *("strategy", "prepare.pairs", "strategies.tandem.steps"),
        *("seeds", "stopped", "dev word accuracy, %", "lowest", "highest"),
    ]
    assert rows[2] == ["tandem", "500", "20", "2", "0", "62.5", "50.0", "75.0"]
    assert rows[3] == ["supervised", "250", "–", "2", "0", "31.2", "12.5", "50.0"]
    assert rows[4] == ["tandem", "250", "10", "1", "1", "25.0", "25.0", "25.0"]


def test_a_long_table_says_how_much_of_it_is_not_shown(params: Params) -> None:
    many = [one(params, "tandem", 0, 0.5, prepare__pairs=number) for number in range(1, 24)]
    lines = table(ranked(trials_table(many, PARAMETERS[:1]), PARAMETERS[:1])).splitlines()
    assert len(lines) == 2 + 20 + 1
    assert lines[-1] == "… and 3 more"


def test_the_best_trial_comes_first(trials: pd.DataFrame) -> None:
    assert trials.drop(columns="trial").to_numpy().tolist()[0] == [
        *("tandem", 1, "500", "20", "finished", 100, 80, 1.5, 0.75, 0.5)
    ]
    assert trials["ending"][3] == "stopped early"
    assert trials["strategies.tandem.steps"][4] == "–"


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([500, 250, 1000, 250], ["250", "500", "1000"]),
        ([0.5, 1e-05, 0.25], ["1e-05", "0.25", "0.5"]),
        ([None, 9, 10], ["null", "9", "10"]),
        (["gru", "lstm"], ["gru", "lstm"]),
        (range(25), ["0", "3", "6", "9", "12", "15", "18", "21", "24"]),
    ],
)
def test_an_axis_has_its_values_in_their_order(params: Params, values: list[Any], labels: list[str]) -> None:
    name = "model.cell" if "gru" in values else "prepare.pairs"
    trial, result = one(params, "tandem", 0, 0.5)
    pairs = [(replace(trial, changes={name: value}), result) for value in values]
    assert labels_of(parallel_coordinates(trials_table(pairs, [name]), [name]), 1) == labels


def test_a_parameter_without_a_value_lies_below_all_values(params: Params) -> None:
    name, pairs = "strategies.tandem.start", [one(params, "tandem", 0, 0.5, strategies__tandem__start="scratch")]
    pairs += [one(params, "supervised", 0, 0.5), one(params, "tandem", 0, 0.5, strategies__tandem__start="pretrained")]
    figure = parallel_coordinates(trials_table(pairs, [name]), [name])
    assert labels_of(figure, 1) == ["–", "scratch", "pretrained"]
    assert labels_of(figure, 2) == ["50.0%"]


def labels_of(figure: Figure, axis: int) -> list[str]:
    """What is written beside an axis, from below."""
    (axes,) = figure.axes
    texts = [text for text in axes.texts if int(text.get_position()[0]) == axis]
    return [text.get_text() for text in sorted(texts, key=lambda text: text.get_position()[1])]


def test_the_plot_has_a_line_for_each_trial_that_ends_at_its_accuracy(trials: pd.DataFrame, tmp_path: Path) -> None:
    figure = parallel_coordinates(trials, PARAMETERS)
    (axes,) = figure.axes
    names = ["strategy", "prepare.\npairs", "strategies.\ntandem.\nsteps", "words right (dev)"]
    assert [label.get_text() for label in axes.get_xticklabels()] == names
    lines = [line for line in axes.get_lines() if len(line.get_xdata()) == 4]  # type: ignore[arg-type]
    assert [line.get_ydata()[-1] for line in lines] == pytest.approx([1.0, 0.6, 0.6, 0.2, 0.0])  # type: ignore[index]
    assert max(range(5), key=lambda number: lines[number].get_linewidth()) == 0
    assert min(range(5), key=lambda number: lines[number].get_alpha() or 1.0) == 3  # the one that was stopped
    for name in ("first.png", "second.png"):
        figures.save(parallel_coordinates(trials, PARAMETERS), tmp_path / name)
    assert (tmp_path / "first.png").read_bytes() == (tmp_path / "second.png").read_bytes()
