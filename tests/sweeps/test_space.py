"""sweep.yaml: its trials and its problems."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.config.params import ConfigError, Params
from pipeline.sweeps.space import read_space
from pipeline.sweeps.trials import Trial

SMALL: dict[str, Any] = {"strategies": ["supervised", "tandem"], "seeds": [0, 1]}


def read(tmp_path: Path, params: Params, content: dict[str, Any]) -> list[Trial]:
    file = tmp_path / "sweep.yaml"
    file.write_text(json.dumps(content), encoding="utf-8")  # which YAML contains
    return read_space(file, params)[1]


def problems(tmp_path: Path, params: Params, **content: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, params, SMALL | content)
    return [line.partition(": ")[2] for line in str(caught.value).split("\n")[1:]]


def test_a_grid_has_every_combination_once_in_the_order_of_the_file(tmp_path: Path, params: Params) -> None:
    trials = read(tmp_path, params, SMALL | {"parameters": {"prepare.pairs": [250, 500], "model.units": [64, 32]}})
    assert len(trials) == len({trial.identity for trial in trials}) == 2 * 2 * 2 * 2
    assert [trial.title for trial in trials[:3]] == [
        "supervised, seed 0, prepare.pairs 250, model.units 64",
        "tandem, seed 0, prepare.pairs 250, model.units 64",
        "supervised, seed 1, prepare.pairs 250, model.units 64",
    ]
    last = trials[-1]
    assert (last.strategy, last.seed, last.params.prepare.pairs, last.params.model.units) == ("tandem", 1, 500, 32)


def test_a_parameter_that_a_strategy_does_not_depend_on_adds_no_trials_of_it(tmp_path: Path, params: Params) -> None:
    trials = read(tmp_path, params, SMALL | {"parameters": {"strategies.tandem.steps": [100, 200, 300]}})
    assert [trial.strategy for trial in trials].count("supervised") == 2
    assert [trial.strategy for trial in trials].count("tandem") == 6
    assert all(not trial.changes for trial in trials if trial.strategy == "supervised")


def test_tasks_of_a_strategy_can_be_varied(tmp_path: Path, params: Params) -> None:
    tasks = [["paired"], ["paired", "autoencode"]]
    trials = read(
        tmp_path, params, {"strategies": ["tandem"], "seeds": [0], "parameters": {"strategies.tandem.tasks": tasks}}
    )
    assert [trial.title for trial in trials] == [
        "tandem, seed 0, strategies.tandem.tasks [paired]",
        "tandem, seed 0, strategies.tandem.tasks [paired,autoencode]",
    ]


RANDOM: dict[str, Any] = {
    "search": "random",
    "trials": 40,
    "parameters": {
        "training.learning_rate": {"low": 0.0001, "high": 0.01, "log": True},
        "model.units": {"low": 8, "high": 512, "log": True, "step": 4},
        "training.warmup": {"low": 0, "high": 3},
        "model.cell": ["lstm", "gru"],
    },
}


def test_a_random_search_draws_so_many_different_trials_and_the_same_ones_again(tmp_path: Path, params: Params) -> None:
    first, again = (read(tmp_path, params, SMALL | RANDOM) for _ in range(2))
    assert len({trial.identity for trial in first}) == 40
    assert [trial.identity for trial in first] == [trial.identity for trial in again]
    other = read(tmp_path, params, SMALL | RANDOM | {"search_seed": 1})
    assert {trial.identity for trial in first}.isdisjoint(trial.identity for trial in other)


def test_a_longer_random_search_begins_with_the_trials_of_a_shorter_one(tmp_path: Path, params: Params) -> None:
    short, long = (read(tmp_path, params, SMALL | RANDOM | {"trials": count}) for count in (10, 40))
    assert [trial.identity for trial in short] == [trial.identity for trial in long][:10]


def test_drawn_numbers_lie_within_their_range_and_are_whole_if_its_ends_are(tmp_path: Path, params: Params) -> None:
    trials = read(tmp_path, params, SMALL | RANDOM)
    rates = [trial.params.training.learning_rate for trial in trials]
    assert all(0.0001 <= rate <= 0.01 for rate in rates)
    below = sum(rate < math.sqrt(0.0001 * 0.01) for rate in rates)
    assert 8 <= below <= 32  # half of 40; outside once in 50,000 draws of the seed
    assert {trial.params.training.warmup for trial in trials} == {0, 1, 2, 3}
    units = [trial.params.model.units for trial in trials]
    assert all(isinstance(number, int) and 8 <= number <= 512 and number % 4 == 0 for number in units)
    assert 8 <= sum(number < 64 for number in units) <= 32


def test_all_problems_are_reported_at_once_with_lines_and_names(tmp_path: Path, params: Params) -> None:
    file = tmp_path / "sweep.yaml"
    file.write_text(
        "strategies: [supervise]\n"
        "seeds: [0]\n"
        "parameters:\n"
        "  prepare.pair: [1, 2]\n"
        "  model: [1]\n"
        "  seeds: [1]\n"
        "  training.threads: [1, 2]\n"
        "  model.units: 64\n"
        "  model.layers: []\n"
        "  model.dropout: {low: 0.5, high: 0.1}\n"
        "  tandem.steps: [1]\n"
        "  strategies.tandem: [1]\n"
        "serach: grid\n",
        encoding="utf-8",
    )
    with pytest.raises(ConfigError) as caught:
        read_space(file, params)
    first, *lines = str(caught.value).split("\n  ")
    assert first == f"{file} has 11 problem(s):"
    assert [line.split(":")[0] for line in lines] == [f"line {number}" for number in (1, *range(4, 14))]
    assert "strategies.0 is 'supervise', but params.yaml has supervised, augmented, two_stage, " in lines[0]
    assert lines[0].endswith("tandem")
    named = "parameters.{} cannot have this name: {}"
    assert named.format("prepare.pair", "params.yaml does not have it, did you mean prepare.pairs?") in lines[1]
    assert named.format("model", "it is a section, write model.KEY") in lines[2]
    assert named.format("seeds", "write seeds: [...] beside parameters") in lines[3]
    assert named.format("training.threads", "it says how much of a machine a trial takes") in lines[4]
    assert "parameters.model.units is 64, but must be a list of values, or numbers low and high" in lines[5]
    assert "parameters.model.layers is [], but must be a list of values" in lines[6]
    assert lines[7].endswith("parameters.model.dropout is {'low': 0.5, 'high': 0.1}, but low must be below high")
    assert named.format("tandem.steps", "it is strategies.tandem.steps now") in lines[8]
    assert named.format("strategies.tandem", "it is a section, write strategies.tandem.KEY") in lines[9]
    assert "serach is unknown: did you mean search?" in lines[10]


def test_what_a_trial_takes_of_a_machine_is_not_swept(tmp_path: Path, params: Params) -> None:
    (problem,) = problems(tmp_path, params, parameters={"training.device": ["cpu", "gpu"]})
    assert "it says how much of a machine a trial takes, set it in params.yaml" in problem


def test_strategies_of_the_user_are_swept_like_the_shipped_ones(tmp_path: Path, params: Params) -> None:
    mine = replace(params.strategies["tandem"], steps=50)
    params = replace(params, strategies={**params.strategies, "mine": mine})
    content = {"strategies": ["mine"], "seeds": [0], "parameters": {"strategies.mine.finetune_steps": [0, 20]}}
    trials = read(tmp_path, params, content)
    assert [trial.share({"step": 35}) for trial in trials] == [70, 50]


def test_a_combination_that_cannot_be_used_is_named_with_its_trial(tmp_path: Path, params: Params) -> None:
    (problem,) = problems(tmp_path, params, parameters={"model.units": [64, 63], "prepare.pairs": [5, 9]})
    assert problem.startswith("trial supervised, seed 0, model.units 63, prepare.pairs 5 and 7 more: ")
    assert "model.units is 63, but must be even" in problem


def test_of_many_combinations_that_cannot_be_used_a_few_are_named(tmp_path: Path, params: Params) -> None:
    odd = list(range(1, 40, 2))
    *named, rest = problems(tmp_path, params, parameters={"model.units": odd})
    assert len(named) == 5
    assert rest == "… and 15 more like these"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ({"parameters": {"model.units": {"low": 8, "high": 64}}}, "a range has no grid"),
        (
            {"parameters": {"model.dropout": {"low": 0.1, "high": 0.5, "step": 2}}},
            "but step is for whole numbers",
        ),
        ({"parameters": {"model.units": [8, 8]}}, "parameters.model.units is [8, 8], but must not have a value twice"),
        (
            {"parameters": {"strategies.tandem.steps": [1, 2]}, "strategies": ["supervised"]},
            "changes nothing in the training of",
        ),
        ({"parameters": {"decoding.beam_width": [1, 2]}}, "changes nothing in the training of supervised, tandem"),
        ({"trials": 5}, "trials is for search: random"),
        ({"search": "random"}, "search: random needs trials"),
        ({"search": "random", "trials": 5}, "trials is 5, but there are only 4 different ones"),
        ({"seeds": [1, 1]}, "seeds is [1, 1], but must not have a value twice"),
        ({"seeds": list(range(501))}, "the grid has 1,002 combinations, at most 1,000 are possible"),
        ({"parameters": {"prepare.dev": [10, 20]}}, "changes the development data"),
        ({"parameters": {"model.units": {"low": 0, "high": 4, "log": True}}}, "must be above 0"),
    ],
)
def test_a_file_that_makes_no_sweep_is_refused(
    tmp_path: Path, params: Params, content: dict[str, Any], problem: str
) -> None:
    assert any(problem in line for line in problems(tmp_path, params, **content))


def test_other_development_data_are_allowed_where_nothing_is_stopped_early(tmp_path: Path, params: Params) -> None:
    file = tmp_path / "sweep.yaml"
    varied = {"parameters": {"prepare.dev": [10, 20]}, "stop_early": False}
    for content, incomparable in ((varied, ["prepare.dev"]), ({"parameters": {"prepare.pairs": [10, 20]}}, [])):
        file.write_text(json.dumps(SMALL | content), encoding="utf-8")
        assert read_space(file, params)[0].incomparable == incomparable


def test_a_file_that_is_missing_or_no_mapping_is_an_error_in_a_sentence(tmp_path: Path, params: Params) -> None:
    with pytest.raises(ConfigError, match=r"no .*sweep\.yaml in"):
        read_space(tmp_path / "sweep.yaml", params)
    (tmp_path / "sweep.yaml").write_text("- 1\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="must be a mapping"):
        read_space(tmp_path / "sweep.yaml", params)
