"""Results of a sweep as tables and plot, and the best configuration in params.yaml."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from pipeline.config.params import ConfigError, Params, load_params
from pipeline.report.figures import save
from pipeline.sweeps.ranking import Axis, Configuration, apply, parallel_coordinates, ranked, table, tsv, verdict
from pipeline.sweeps.trials import Result, Trial
from tests.conftest import PROJECT

PARAMETERS = ("prepare.pairs", "strategies.tandem.steps")


def one(
    params: Params, strategy: str, seed: int, accuracy: float, finished: bool = True, **changes: Any
) -> tuple[Trial, Result]:
    named = {name.replace("__", "."): value for name, value in changes.items()}
    return Trial.of(strategy, seed, named, params), Result(finished, accuracy, 0.5, 100, 80, 1.5, [])


@pytest.fixture
def pairs(params: Params) -> list[tuple[Trial, Result]]:
    return [
        one(params, "supervised", 0, 0.5, prepare__pairs=250, strategies__tandem__steps=10),
        one(params, "tandem", 0, 0.25, False, prepare__pairs=250, strategies__tandem__steps=10),
        one(params, "tandem", 0, 0.5, prepare__pairs=500, strategies__tandem__steps=20),
        one(params, "supervised", 1, 0.125, prepare__pairs=250, strategies__tandem__steps=10),
        one(params, "tandem", 1, 0.75, prepare__pairs=500, strategies__tandem__steps=20),
    ]


def test_configurations_are_ranked_by_the_mean_over_their_seeds(pairs: list[tuple[Trial, Result]]) -> None:
    ranking = ranked(pairs)
    assert [(group.strategy, group.accuracy, len(group.trials)) for group in ranking] == [
        ("tandem", 0.625, 2),
        ("supervised", 0.3125, 2),
        ("tandem", 0.25, 1),
    ]
    assert verdict(ranking[0]) == (
        "best: tandem with prepare.pairs: 500, strategies.tandem.steps: 20, 62.5% of dev words right (mean of 2 seeds)"
    )
    assert verdict(ranking[2]).endswith("25.0% of dev words right (one seed)")


def test_the_table_has_a_row_for_each_configuration(pairs: list[tuple[Trial, Result]]) -> None:
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table(ranked(pairs), PARAMETERS).splitlines()]
    assert rows[0] == [
        *("strategy", "prepare.pairs", "strategies.tandem.steps"),
        *("seeds", "stopped", "dev word accuracy, %", "lowest", "highest"),
    ]
    assert rows[2] == ["tandem", "500", "20", "2", "0", "62.5", "50.0", "75.0"]
    assert rows[3] == ["supervised", "250", "–", "2", "0", "31.2", "12.5", "50.0"]
    assert rows[4] == ["tandem", "250", "10", "1", "1", "25.0", "25.0", "25.0"]


def test_a_long_table_says_how_much_of_it_is_not_shown(params: Params) -> None:
    many = ranked([one(params, "tandem", 0, 0.5, prepare__pairs=number) for number in range(1, 24)])
    lines = table(many, PARAMETERS[:1]).splitlines()
    assert len(lines) == 2 + 20 + 1
    assert lines[-1] == "… and 3 more"


def test_the_file_has_a_line_for_each_trial_the_best_first(pairs: list[tuple[Trial, Result]]) -> None:
    header, *lines = [line.split("\t") for line in tsv(pairs, PARAMETERS).splitlines()]
    assert len(lines) == 5
    assert lines[0] == ["tandem", "1", "500", "20", "finished", "100", "80", "1.5", "0.75", "0.5"]
    assert dict(zip(header, lines[3], strict=True))["ending"] == "stopped early"
    assert dict(zip(header, lines[4], strict=True))["strategies.tandem.steps"] == "–"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return Path(shutil.copy(PROJECT / "params.yaml", tmp_path))


def best(params: Params, **changes: Any) -> Configuration:
    return Configuration([one(params, "tandem", 0, 0.5, **changes)])


def test_the_best_is_written_into_params_and_every_other_line_stays(file: Path, params: Params) -> None:
    before = file.read_text(encoding="utf-8").splitlines()
    best_of_all = best(
        params, prepare__pairs=500, strategies__tandem__tasks=["paired", "autoencode"], model__dropout=0.25
    )
    assert apply(best_of_all, file) == {
        "prepare.pairs": (2000, 500),
        "model.dropout": (0.3, 0.25),
        "strategies.tandem.tasks": (["paired", "autoencode", "synthetic"], ["paired", "autoencode"]),
    }
    after = file.read_text(encoding="utf-8").splitlines()
    changed = [new for old, new in zip(before, after, strict=True) if old != new]
    assert [line.split("#")[0].rstrip() for line in changed] == [
        "  pairs: 500",
        "  dropout: 0.25",
        "    tasks: [paired, autoencode]",
    ]
    assert changed[0].endswith("# training pairs; null takes all")
    again = load_params(file)
    assert (again.prepare.pairs, again.model.dropout, len(again.strategies["tandem"].tasks)) == (500, 0.25, 2)


def test_a_default_that_is_missing_in_the_file_is_added_to_its_section(file: Path, params: Params) -> None:
    before = file.read_text(encoding="utf-8").splitlines()
    assert apply(best(params, strategies__tandem__start="pretrained"), file) == {
        "strategies.tandem.start": ("scratch", "pretrained")
    }
    after = file.read_text(encoding="utf-8").splitlines()
    assert [line for line in after if line not in before] == ["    start: pretrained"]
    assert len(after) == len(before) + 1
    assert load_params(file).strategies["tandem"].is_pretrained


def test_null_can_be_the_best_too(file: Path, params: Params) -> None:
    assert apply(best(params, prepare__pairs=None), file) == {"prepare.pairs": (2000, None)}
    assert load_params(file).prepare.pairs is None


def test_without_changes_the_file_is_not_touched(file: Path, params: Params) -> None:
    before = file.stat().st_mtime_ns
    assert apply(best(params, prepare__pairs=2000), file) == {}
    assert file.stat().st_mtime_ns == before


def test_parameters_that_contradict_others_in_the_file_are_not_written(file: Path, params: Params) -> None:
    best_of_all = best(params, model__units=65, model__bidirectional=False)
    text = file.read_text(encoding="utf-8")
    odd = Configuration(
        [(Trial("tandem", 0, {"model.units": 65}, best_of_all.trials[0][0].params), best_of_all.trials[0][1])]
    )
    with pytest.raises(ConfigError, match=r"model\.units is 65"):
        apply(odd, file)
    assert file.read_text(encoding="utf-8") == text


def test_an_axis_has_few_numbers_side_by_side_and_others_on_a_scale() -> None:
    few = Axis("prepare.pairs", [500, 250, 1000, 250])
    assert [few.place(value) for value in (250, 500, 1000)] == [0.0, 0.5, 1.0]
    assert few.labels() == [(0.0, "250"), (0.5, "500"), (1.0, "1000")]
    even = Axis("model.dropout", [value / 10 for value in range(11)])
    assert even.place(0.5) == pytest.approx(0.5)
    logarithmic = Axis("training.learning_rate", [1e-4 * 10 ** (step / 4) for step in range(9)])
    assert logarithmic.place(1e-3) == pytest.approx(0.5)
    assert [text for _, text in logarithmic.labels()] == ["0.0001", "0.000316", "0.001", "0.00316", "0.01"]


def test_a_parameter_without_a_value_lies_below_all_values() -> None:
    axis = Axis("strategies.tandem.start", ["scratch", None, "pretrained"])
    assert axis.place(None) == 0.0 < axis.place("scratch") < axis.place("pretrained") == 1.0
    assert [text for _, text in axis.labels()] == ["–", "scratch", "pretrained"]
    assert Axis("model.cell", ["gru", "gru"]).place("gru") == 0.5


def test_the_plot_has_a_line_for_each_trial_that_ends_at_its_accuracy(
    pairs: list[tuple[Trial, Result]], tmp_path: Path
) -> None:
    figure = parallel_coordinates(pairs, PARAMETERS)
    (axes,) = figure.axes
    lines = [line for line in axes.get_lines() if len(line.get_xdata()) == 4]  # type: ignore[arg-type]
    assert [line.get_ydata()[-1] for line in lines] == pytest.approx([0.6, 0.2, 0.6, 0.0, 1.0])  # type: ignore[index]
    assert max(range(5), key=lambda number: lines[number].get_linewidth()) == 4
    assert min(range(5), key=lambda number: lines[number].get_alpha() or 1.0) == 1  # the one that was stopped
    for name in ("first.png", "second.png"):
        save(parallel_coordinates(pairs, PARAMETERS), tmp_path / name)
    assert (tmp_path / "first.png").read_bytes() == (tmp_path / "second.png").read_bytes()
