"""Several comparisons and comparisons to come: `tandem compare DIR DIR` and `tandem plan`."""

from contextlib import chdir
from pathlib import Path

import pytest

from pipeline.evaluation.results import EVALUATION, SUMMARY
from tests.conftest import Call
from tests.support.made_up import HALF, MOST, evaluation, run


@pytest.fixture
def projects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three finished projects: tandem wins in two of them, in the third it is level with two_stage."""
    monkeypatch.chdir(tmp_path)
    for name, right in (("swedish", MOST), ("german", MOST), ("dutch", HALF)):
        seeds = [run("two_stage", seed, HALF) for seed in (0, 1, 2)]
        seeds += [run("tandem", seed, [*right[seed:], *right[:seed]]) for seed in (0, 1, 2)]
        evaluation(seeds).save(tmp_path / name / EVALUATION, tmp_path / name / SUMMARY)
    return tmp_path


def test_several_projects_are_a_table_and_a_count(projects: Path, call: Call) -> None:
    code, output, error = call("compare", "swedish", "german", "dutch")
    assert (code, error) == (0, "")
    lines = output.splitlines()
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[2:5]]
    assert [row[0] for row in cells] == ["swedish", "german", "dutch"]
    assert [row[-1] for row in cells] == ["yes", "yes", "no"]
    assert "tandem is better than two_stage in at least 2 of 3 data sets (Bonferroni" in output
    assert "two_stage is better than tandem in at least 0 of 3 data sets" in output


def test_the_other_direction_can_be_asked_for(projects: Path, call: Call) -> None:
    output = call("compare", "swedish", "german", "--better=two_stage", "--than=tandem")[1]
    assert "two_stage - tandem" in output
    assert "two_stage is better than tandem in at least 0 of 2 data sets" in output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["compare", "swedish", "norse"], "norse is neither a folder nor the id of a run in MLflow"),
        (["compare", "swedish", "swedish"], "swedish is named twice"),
        (["compare", "swedish", "."], "no comparison in reports/evaluation/metrics.json"),
        (["compare", "swedish", "--than=magic"], "swedish does not compare tandem with magic"),
        (["compare", "--than=tandem"], "--better and --than are for several comparisons"),
        (["plan", "--difference=2"], "no comparison in reports/evaluation/metrics.json"),
    ],
)
def test_a_mistake_is_a_sentence(projects: Path, call: Call, arguments: list[str], message: str) -> None:
    code, output, error = call(*arguments)
    assert (code, output) == (2, "")
    assert message in error


def test_an_older_comparison_asks_for_a_repro(projects: Path, call: Call) -> None:
    path = projects / "german" / EVALUATION / "metrics.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"pairs"', '"older"'), encoding="utf-8")
    code, _, error = call("compare", "swedish", "german")
    assert code == 2
    assert "german/reports/evaluation/metrics.json is not a comparison by this version: run `dvc repro`" in error


def test_a_plan_says_how_many_items_or_seeds_it_takes(projects: Path, call: Call) -> None:
    with chdir("swedish"):
        code, output, error = call("plan", "--difference=5")
    assert (code, error) == (0, "")
    assert output.startswith("The smallest difference that is found with a probability of 80% is ")
    assert "To find a true difference of 5 points between tandem and two_stage:" in output
    numbers = [line.split("|")[1:3] for line in output.splitlines() if line.startswith("|")][2:]
    assert [int(seeds) for seeds, _ in numbers] == [2, 3, 5, 10, 20]
    assert "With 100 test items as now" in output


def test_a_plan_says_when_no_number_of_items_suffices(projects: Path, call: Call) -> None:
    seeds = [run("two_stage", seed, [1] * (40 + 9 * seed) + [0] * (60 - 9 * seed)) for seed in (0, 1, 2)]
    seeds += [run("tandem", seed, [1] * (70 - 9 * seed) + [0] * (30 + 9 * seed)) for seed in (0, 1, 2)]
    evaluation(seeds).save(projects / "dutch" / EVALUATION, projects / "dutch" / SUMMARY)
    with chdir("dutch"):
        output = call("plan", "--difference=5")[1]
    assert "|     3 |          – |" in output
    assert "no number of test items suffices, because seeds vary by too much" in output


def test_a_plan_of_a_single_seed_is_one_of_items(projects: Path, call: Call) -> None:
    evaluation([run("two_stage", 0, HALF), run("tandem", 0, MOST)]).save(
        projects / "dutch" / EVALUATION, projects / "dutch" / SUMMARY
    )
    with chdir("dutch"):
        output = call("plan", "--difference=5")[1]
    assert "Nothing is known of other seeds" in output


@pytest.mark.parametrize("difference", ["0", "-1", "100", "nan"])
def test_a_difference_to_plan_for_lies_between_0_and_100_points(projects: Path, call: Call, difference: str) -> None:
    with chdir("swedish"):
        code, output, error = call("plan", f"--difference={difference}")
    assert (code, output) == (2, "")
    assert "must be above 0 and below 100 points" in error
