"""How accuracy grows with the number of pairs, from real DVC experiments whose one stage makes up its results."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.config.params import load_params
from pipeline.errors import UserError
from pipeline.evaluation.experiments import Sample, collect, over_samples
from pipeline.evaluation.sizes import BY_PAIRS, save, saved, saved_samples
from pipeline.evaluation.variation import Estimate
from pipeline.report.tables import of_samples, sizes_table, verdict
from tests.conftest import PROJECT, changed_params
from tests.support.clones import commit, make_repository, run
from tests.support.made_up import compared
from tests.support.made_up import run as made_up_run

STAGE = """
import json, pathlib, numpy as np, ruamel.yaml
params = ruamel.yaml.YAML(typ="safe").load(open("params.yaml"))
prepare, steps = params["prepare"], params["strategies"]["tandem"]["steps"]
pairs, sample = prepare["pairs"], prepare["sample"]
def row(mean):
    accuracy = {"mean": mean, "low": mean - 0.01, "high": mean + 0.01}
    return {"word_accuracy": accuracy, "items": 9, "seeds": 2, "confidence": 0.95, "paired_steps": steps}
def name_of(strategy, place):
    return row(pairs / 10000 + steps / 1e6 - place / 100) | {"by_seed": {"0": 0.5, "1": 0.5}}
metrics = {name: name_of(name, place) for place, name in enumerate(("tandem", "two_stage"))}
metrics |= {"ensembles": {"tandem": row(0.9)}, "controls": {}, "comparisons": {}, "ingredients": [], "pairs": []}
metrics |= {"verdict": {"focus": "tandem", "rivals": ["two_stage"], "differences": []}}
folder = pathlib.Path("reports/predictions")
for each in (folder, pathlib.Path("reports/evaluation")):
    each.mkdir(parents=True, exist_ok=True)
rng = np.random.default_rng(sample)
shares = {"tandem-0": 0.9, "tandem-1": 0.9, "tandem-ensemble": 1, "two_stage-0": 0.5, "two_stage-1": 0.4}
for run, share in shares.items():
    lines = [f"NA {item}\\tnull\\t{right < share}\\n" for item, right in enumerate(rng.random(100))]
    (folder / f"{run}.tsv").write_text("source\\ttarget\\tcorrect\\n" + "".join(lines))
pathlib.Path("reports/evaluation/metrics.json").write_text(json.dumps(metrics))
pathlib.Path("reports/prepare.json").write_text(json.dumps({"pairs": pairs}))
"""

STEPS = load_params(PROJECT / "params.yaml").strategies["tandem"].steps

DVC_YAML = """
stages:
  evaluate:
    cmd: python stage.py
    deps: [stage.py]
    params: [prepare, strategies]
    outs: [reports/evaluation, reports/predictions]
    metrics: [reports/prepare.json]
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    (folder / "stage.py").write_text(STAGE)
    (folder / "dvc.yaml").write_text(DVC_YAML)
    (folder / "params.yaml").write_bytes((PROJECT / "params.yaml").read_bytes())
    make_repository(folder)
    run(folder, "dvc", "init", "--quiet")
    commit(folder)
    return folder


@pytest.mark.slow
def test_a_queue_of_sizes_becomes_one_table(project: Path) -> None:
    steps, other_steps = (f"strategies.tandem.steps={STEPS * times}" for times in (1, 3))
    run(project, "dvc", "exp", "run", "--queue", "-S", "prepare.pairs=100,250", "-S", steps)
    run(project, "dvc", "exp", "run", "--queue", "-S", "prepare.pairs=500", "-S", other_steps)  # no match
    run(project, "dvc", "exp", "run", "--run-all")
    run(project, "dvc", "repro")
    found, over = collect(project)
    rows = found[found["strategy"] == "tandem"]
    assert rows["pairs"].tolist() == [100, 250, 2000]
    assert rows["word_accuracy"].tolist() == pytest.approx([pairs / 10000 + STEPS / 1e6 for pairs in (100, 250, 2000)])
    assert set(found["strategy"]) == {"tandem", "two_stage", "tandem, ensemble"}
    assert (set(found["samples"]), over) == ({1}, {})
    first, _, second, _, third = sizes_table(found).splitlines()
    assert [cell.strip() for cell in first.split("|")[2:-1]] == ["100", "250", "2,000"]
    assert "1.1 (0.1 to 2.1)" in second
    assert "90.0" in third


@pytest.mark.slow
def test_a_queue_of_samples_becomes_a_verdict_beside_sizes_with_one_sample(project: Path) -> None:
    run(project, "dvc", "exp", "run", "--queue", "-S", "prepare.resamples=3", "-S", "prepare.sample=1,2")
    run(project, "dvc", "exp", "run", "--queue", "-S", "prepare.pairs=700")
    run(project, "dvc", "exp", "run", "--run-all")
    run(project, "dvc", "repro")
    rows, over = collect(project)
    assert list(over) == [2000]
    counts = rows[rows["strategy"] == "tandem"].set_index("pairs")["samples"]
    assert (counts[700], counts[2000]) == (1, 3)
    assert rows[(rows["strategy"] == "tandem, ensemble") & (rows["pairs"] == 2000)]["word_accuracy"].item() == 1
    sentence = verdict(over[2000])
    assert sentence.startswith(
        "On 9 test items, 3 samples of 2,000 pairs and 2 seeds of each, tandem beats two_stage by "
    )
    assert "it is better on a new sample with probability > 0.99" in sentence
    assert "2,000 (3 samples)" in sizes_table(rows)
    predictions = project / "reports/predictions/tandem-0.tsv"
    predictions.write_text(predictions.read_text().replace("NA 7\t", "other\t"))
    with pytest.raises(UserError, match="has other test items than the newest one"):
        collect(project)
    run(project, "dvc", "checkout", "--force")


def samples(*right: list[list[list[int]]]) -> list[Sample]:
    """Two seeds of tandem and two_stage on each sample."""
    found = []
    for tandem, two_stage in right:
        sides = {"two_stage": two_stage, "tandem": tandem}
        runs = [made_up_run(name, seed, each) for name, side in sides.items() for seed, each in enumerate(side)]
        found.append(Sample(compared(*runs), {name: np.array(side, float) for name, side in sides.items()}))
    return found


def test_accuracies_and_differences_over_samples_are_means_with_intervals_for_new_ones() -> None:
    rng = np.random.default_rng(0)
    drawn = [[(rng.random((2, 50)) < share).astype(int).tolist() for share in (0.8, 0.5)] for _ in range(4)]
    metrics = over_samples(samples(*drawn), 100)
    scores = np.array(drawn)
    assert metrics["tandem"]["word_accuracy"]["mean"] == pytest.approx(scores[:, 0].mean())
    (row,) = metrics["verdict"]["differences"]
    expected = Estimate.of_samples(scores[:, 0] - scores[:, 1])
    assert (row["name"], row["other"], row["difference"]) == ("tandem", "two_stage", pytest.approx(expected.difference))
    assert (row["low"], row["high"]) == pytest.approx(expected.interval(0.95))
    low, high = Estimate.of_samples(scores[:, 0]).interval(0.95)
    assert metrics["tandem"]["word_accuracy"]["low"] == pytest.approx(low)
    assert metrics["tandem"]["word_accuracy"]["high"] == pytest.approx(high)


def test_a_difference_of_one_sample_is_no_difference_of_all() -> None:
    better, worse = [[1] * 45 + [0] * 5] * 2, [[1] * 25 + [0] * 25] * 2
    one_sided = samples([better, worse], [worse, better], [better, worse])
    assert one_sided[0].metrics["verdict"]["differences"][0]["answer"] == "better"
    metrics = over_samples(one_sided, 100)
    assert metrics["verdict"]["differences"][0]["answer"] == "not told apart"
    assert "tandem cannot be told apart from two_stage" in verdict(metrics)


def test_outside_a_project_it_says_where_to_run(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_bytes((PROJECT / "params.yaml").read_bytes())
    with pytest.raises(UserError, match="DVC cannot list experiments"):
        collect(tmp_path)


def test_what_was_found_is_kept_for_the_same_parameters_with_any_number_of_pairs(tmp_path: Path) -> None:
    rows = pd.DataFrame([("tandem", 100, 3, 0.5, 0.4, 0.6)], columns=BY_PAIRS)
    metrics = {"verdict": {"samples": 3}}
    save(rows, {100: metrics}, changed_params({}), tmp_path / "sizes")
    pd.testing.assert_frame_equal(saved(changed_params({"prepare.pairs": 7}), tmp_path / "sizes"), rows)
    assert saved(changed_params({"strategies.tandem.steps": 7}), tmp_path / "sizes").empty
    assert len(saved(changed_params({"matcher.steps": 7}), tmp_path / "sizes")) == 1
    assert saved(changed_params({}), tmp_path / "nowhere").empty
    same = changed_params({"prepare.pairs": 100, "prepare.resamples": 5, "prepare.sample": 4})
    assert saved_samples(same, tmp_path / "sizes") == metrics
    for others in ({"prepare.pairs": 7}, {"prepare.pairs": 100, "strategies.tandem.steps": 7}):
        assert saved_samples(changed_params(others), tmp_path / "sizes") is None


def test_a_table_of_an_older_version_counts_as_none(tmp_path: Path) -> None:
    rows = pd.DataFrame([("tandem", 100, 1, 0.5, 0.4, 0.6)], columns=BY_PAIRS)
    save(rows, {}, changed_params({}), tmp_path)
    rows.drop(columns="samples").to_csv(tmp_path / "sizes.csv", index=False)
    (tmp_path / "samples.json").unlink()
    assert saved(changed_params({}), tmp_path).empty
    assert saved_samples(changed_params({}), tmp_path) is None


def test_samples_that_lack_are_named_with_the_commands_that_make_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert of_samples(changed_params({})) == ""
    asked = changed_params({"prepare.pairs": 100, "prepare.resamples": 3, "prepare.sample": 1})
    text = of_samples(asked)
    assert text.startswith("This is sample 1 of 3 (prepare.resamples).")
    assert "`dvc exp run --queue -S prepare.sample=0,2`" in text
    better, worse = [[1] * 45 + [0] * 5] * 2, [[1] * 25 + [0] * 25] * 2
    over = {count: over_samples(samples(*[[better, worse]] * count), 100) for count in (2, 3)}
    save(pd.DataFrame(columns=BY_PAIRS), {100: over[2]}, asked)
    assert of_samples(asked) == f"{verdict(over[2])} {text}"
    save(pd.DataFrame(columns=BY_PAIRS), {100: over[3]}, asked)
    assert of_samples(asked) == verdict(over[3])
