"""The benchmark on a made-up corpus: its protocol, continuing after an interruption, tables by hand."""

import contextlib
import gzip
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from ruamel.yaml import YAML

from benchmarks.published import main, titled
from benchmarks.resampling import Accuracies, interval
from benchmarks.results import COLUMNS, Cell, Results
from benchmarks.suite import PASSAGE, Suite
from benchmarks.tables import ablation_table, comparison_table, load_published, verdict
from benchmarks.variants import VARIANTS, of_variant, scored
from pipeline.config.options import Symbols
from pipeline.config.params import Params
from pipeline.data.examples import Example
from pipeline.errors import UserError
from tests.conftest import PROJECT, shipped_params

SYLLABLES = ("ba", "ce", "di", "fo", "gu", "la", "me", "ni", "ro", "su")


def made_up_words(count: int, seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    return ["".join(rng.choice(SYLLABLES, size=rng.integers(1, 4))) for _ in range(count)]


def old_spelling(word: str) -> str:
    return word.replace("c", "k").replace("u", "v")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus `hills` of 30 training, 40 dev and 50 test lines; its dev.tsv is compressed."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "hills").mkdir()
    for seed, (name, count) in enumerate({"train": 30, "dev": 40, "test": 50}.items()):
        lines = "".join(f"{old_spelling(word)}\t{word}\n" for word in made_up_words(count, seed))
        if name == "dev":
            (folder / "hills" / "dev.tsv.gz").write_bytes(gzip.compress(lines.encode()))
        else:
            (folder / "hills" / f"{name}.tsv").write_text(lines)
    facts = "source_symbols: characters\ntarget_symbols: characters\nrows: running_text\ntargets: targets.txt\n"
    (folder / "suite.yaml").write_text(facts)
    (folder / "hills" / "targets.txt").write_text("\n".join(made_up_words(100, 9)) + "\n")
    (folder / "published.csv").write_text(
        "system,size,corpus,word_accuracy\nOld,10,hills,40.0\nBest,10,hills,50.0\nBest,20,hills,60.0\n"
    )
    return folder


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with small parameters."""
    write_small_params(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_small_params(folder: Path) -> None:
    params: dict[str, Any] = shipped_params()
    params["model"] |= {"units": 8, "projection": 8, "embedding": 8}
    params["training"] |= {"evaluate_every": 2}
    for section in (params["pretrain"], *params["strategies"].values()):
        section["steps"] = 4
    YAML().dump(params, folder / "params.yaml")


def run(data: Path, *further: str, strategies: tuple[str, ...] = ("identity", "lookup")) -> None:
    main(
        [
            *("--data", str(data), "--corpora", "hills", "--sizes", "10", "--out", "results.csv", "--work", "work"),
            *("--strategies", *strategies, *further),
        ]
    )


# Protocol


def test_fold_k_is_the_kth_block_of_consecutive_lines(data: Path, tmp_path: Path) -> None:
    words = made_up_words(30, seed=0)
    for fold in range(3):
        prepared = Suite.load(data).prepare(Cell("hills", 10, fold), None, tmp_path / str(fold))
        assert [example.target for example in prepared.train] == words[10 * fold : 10 * fold + 10]
        assert (len(prepared.dev), len(prepared.test)) == (40, 50)


@pytest.fixture
def types(tmp_path: Path) -> Suite:
    """A suite with a row for each word: spelling to phones, files by size, counts of targets, homographs."""
    corpus = tmp_path / "types" / "isles"
    corpus.mkdir(parents=True)
    rows = [f"{word}\t{' '.join(old_spelling(word))}\n" for word in made_up_words(30, seed=0)]
    for name, lines in {"train": rows, "train-10": rows[:10], "dev": rows[:5], "test": [*rows[:2], rows[0]]}.items():
        (corpus / f"{name}.tsv").write_text("".join(lines))
    (corpus / "targets.tsv.gz").write_bytes(gzip.compress(b"b a\t12\n k e \t3\nbad\t\nd i\t1\n"))
    facts = (
        "source_symbols: characters\ntarget_symbols: spaces\nrows: types\ntrain: {10: train-10.tsv, 30: train.tsv}\n"
    )
    (tmp_path / "types" / "suite.yaml").write_text(f"{facts}targets: targets.tsv\n")
    return Suite.load(tmp_path / "types")


def test_a_suite_may_name_a_file_for_each_size_and_count_its_targets(types: Suite, tmp_path: Path) -> None:
    for size in (10, 30):
        prepared = types.prepare(Cell("isles", size, 0), None, tmp_path / str(size))
        assert len(prepared.train) == size
        assert len(prepared.test) == 3
        texts = [prepared.target_alphabet.decode(row) for row in prepared.targets.padded(np.arange(3))]
        assert texts == ["b a", "k e", "d i"]
        assert prepared.target_counts is not None
        assert prepared.target_counts.tolist() == [12, 3, 1]
    with pytest.raises(UserError, match=r"has one fold of the sizes 10, 30: correct --sizes and --folds"):
        types.prepare(Cell("isles", 20, 0), None, tmp_path / "20")


def test_without_a_list_the_targets_of_the_pairs_are_the_unpaired_ones(types: Suite, tmp_path: Path) -> None:
    facts = types.folder / "suite.yaml"
    facts.write_text(facts.read_text().replace("targets: targets.tsv\n", ""))
    prepared = Suite.load(types.folder).prepare(Cell("isles", 10, 0), None, tmp_path / "alone")
    assert len(prepared.targets) == 10


def test_a_mistake_in_suite_yaml_is_named(types: Suite) -> None:
    (types.folder / "suite.yaml").write_text("source_symbols: words\n")
    with pytest.raises(UserError, match="source_symbols is 'words', but must be 'characters' or 'spaces'"):
        Suite.load(types.folder)


def test_a_fold_beyond_the_training_lines_is_an_error(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="hills has 30 training lines: fold 3 of 10 is beyond"):
        Suite.load(data).prepare(Cell("hills", 10, 3), None, tmp_path)


def test_dev_is_shortened_from_its_end(data: Path, tmp_path: Path) -> None:
    prepared = Suite.load(data).prepare(Cell("hills", 10, 0), 10, tmp_path)
    assert [example.target for example in prepared.dev] == made_up_words(40, seed=1)[:10]


def test_less_than_all_of_dev_makes_a_strategy_of_its_own() -> None:
    assert [titled("tandem", dev) for dev in ("all", "same")] == ["tandem", "tandem@dev=same"]


def test_a_strategy_is_measured_with_the_reranker_and_one_network(params: Params) -> None:
    strategy, settings = of_variant("augmented", params)
    assert (strategy, settings.decoding.order, settings.decoding.ensemble) == ("augmented", "rerank", False)
    assert settings.strategies == params.strategies


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_changes_the_shipped_parameters(params: Params, name: str) -> None:
    strategy, settings = of_variant(name, params)
    assert strategy in settings.strategies
    assert strategy not in params.strategies or settings != of_variant(strategy, params)[1]


@pytest.mark.parametrize(
    ("further", "message"),
    [
        (["--folds", "0"], "'0' is not a whole number from 1"),
        (["--corpora", "dales"], "has neither train.tsv nor train.tsv.gz: correct --data or --corpora"),
        (
            ["--strategies", "tandme"],
            "params.yaml has no strategy tandme, which tandme needs; there are identity, lookup, supervised",
        ),
    ],
)
def test_a_mistake_ends_with_a_sentence_and_code_2(
    data: Path,
    project: Path,
    capfd: pytest.CaptureFixture[str],
    further: list[str],
    message: str,
) -> None:
    with pytest.raises(SystemExit) as ended:
        run(data, *further)
    assert ended.value.code == 2
    assert message in capfd.readouterr().err


# From data to files and tables


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in which a network was trained, for all of dev and for part of it."""
    folder = tmp_path_factory.mktemp("trained")
    write_small_params(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run(data, strategies=("lookup", "tandem_synthetic", "tandem"))
        with (folder / "report.md").open("w") as report, contextlib.redirect_stdout(report):
            run(data, "--dev-tokens", "same", strategies=("tandem",))
        yield folder


@pytest.mark.slow
def test_each_strategy_has_a_row_for_dev_and_one_for_test(trained: Path) -> None:
    rows = pd.read_csv(trained / "results.csv")
    assert rows.columns.tolist() == COLUMNS
    names = ["lookup", "tandem_synthetic", "tandem", "tandem@dev=same"]
    assert rows["strategy"].tolist() == [name for name in names for _ in range(2)]
    assert rows["split"].tolist() == ["dev", "test"] * 4


@pytest.mark.slow
def test_a_network_is_trained_once_for_all_that_is_done_with_it(trained: Path) -> None:
    folders = {path.parent for path in (trained / "work" / "hills" / "10-0-all").glob("models/*/tandem/*/run.json")}
    assert len(folders) == 1


@pytest.mark.slow
def test_predictions_are_kept_token_by_token_and_agree_with_the_rows(trained: Path) -> None:
    results = Results(trained / "results.csv", trained / "work" / "predictions" / "results")
    assert len(results.accuracies()) == 4
    for (cell, strategy), accuracy in results.accuracies().items():
        test = results.test_predictions(cell, strategy)
        assert test["target"].tolist() == made_up_words(50, seed=2)
        assert test["correct"].mean() == pytest.approx(accuracy)
        assert (test["correct"] == (test["prediction"] == test["target"])).all()


@pytest.mark.slow
def test_the_tables_have_both_amounts_of_dev(trained: Path) -> None:
    report = (trained / "report.md").read_text()
    header = next(line for line in report.splitlines() if line.startswith("| corpus"))
    assert "tandem@dev=same" in header
    assert "Best 50.0" in report


def test_a_run_continues(data: Path, project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run(data, strategies=("identity",))
    run(data, "--folds", "2")
    first = (project / "results.csv").read_text()
    run(data, "--folds", "2")
    assert (project / "results.csv").read_text() == first
    assert first.count("\n") == 1 + 2 * 2 * 2
    assert "lookup is above the best published system" in capfd.readouterr().out


def test_an_output_of_another_kind_is_refused(data: Path, project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (project / "results.csv").write_text("name,value\n")
    with pytest.raises(SystemExit):
        run(data)
    assert "results.csv begins with 'name,value', not with 'corpus,size" in capfd.readouterr().err
    assert (project / "results.csv").read_text() == "name,value\n"


@pytest.mark.slow
def test_two_processes_measure_what_one_does(data: Path, project: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    for out, jobs in (("one.csv", "1"), ("two.csv", "2")):
        command = [sys.executable, "-m", "benchmarks.published", "--data", str(data), "--corpora", "hills"]
        command += ["--sizes", "10", "15", "--folds", "2", "--strategies", "lookup", "--out", out, "--jobs", jobs]
        subprocess.run(command, cwd=project, env=environment, check=True, capture_output=True)
    one, two = (pd.read_csv(project / name).drop(columns="seconds") for name in ("one.csv", "two.csv"))
    order = COLUMNS[:5]
    assert one.sort_values(order).reset_index(drop=True).equals(two.sort_values(order).reset_index(drop=True))


# Tables, by hand

TEXT = [Example("a", "a")] * 200  # two passages


def measured(folder: Path, right: dict[tuple[int, int, str], tuple[int, int]]) -> Results:
    """Results on `TEXT`: for each (size, fold, strategy) how many tokens of either passage are right."""
    results = Results(folder / "made_up.csv", folder / "predictions")
    for (size, fold, strategy), (first, second) in right.items():
        predictions = ["a"] * first + ["b"] * (100 - first) + ["a"] * second + ["b"] * (100 - second)
        table = scored(TEXT, predictions, Symbols.CHARACTERS)
        predicted = pd.concat([table.assign(split=split) for split in ("dev", "test")])
        results.add(Cell("hills", size, fold), strategy, predicted, 1.0)
    return results


def accuracies(folder: Path, right: dict[tuple[int, int, str], tuple[int, int]]) -> Accuracies:
    return Accuracies.of(measured(folder, right), {strategy for _, _, strategy in right}, PASSAGE)


def test_passages_are_what_is_resampled(tmp_path: Path) -> None:
    # Of two passages, one right and one wrong: resamples are 0, 1/2 and 1, with probabilities 1/4, 1/2 and 1/4.
    samples = accuracies(tmp_path, {(10, 0, "t"): (100, 0)}).mean("hills", 10, "t")
    assert samples is not None
    values, counts = np.unique(samples[1:], return_counts=True)
    assert values.tolist() == [0.0, 0.5, 1.0]
    assert counts / counts.sum() == pytest.approx([0.25, 0.5, 0.25], abs=0.02)
    found = interval(samples)
    assert (found.mean, found.low, found.high) == (0.5, 0.0, 1.0)


def test_differences_are_paired(tmp_path: Path) -> None:
    # 10 tokens better in either passage, however often it is drawn; without pairing the interval would be wide.
    difference = accuracies(tmp_path, {(10, 0, "t"): (90, 10), (10, 0, "u"): (80, 0)}).difference("hills", 10, "t", "u")
    assert difference is not None
    assert difference == pytest.approx(0.1)


def test_a_difference_is_over_the_folds_that_both_have(tmp_path: Path) -> None:
    found = accuracies(tmp_path, {(10, 0, "t"): (50, 50), (10, 1, "t"): (90, 90), (10, 1, "u"): (80, 80)})
    mean, difference = found.mean("hills", 10, "t"), found.difference("hills", 10, "t", "u")
    assert mean is not None
    assert mean == pytest.approx(0.7)
    assert difference is not None
    assert difference == pytest.approx(0.1)
    assert found.mean("hills", 20, "t") is found.difference("hills", 10, "t", "v") is None


def test_the_comparison_by_hand(tmp_path: Path, data: Path) -> None:
    # Published 50 and 60: mean error 45. Ours 60 and 80 without variation: mean error 30, a third less.
    found = accuracies(tmp_path, {(10, 0, "t"): (60, 60), (20, 0, "t"): (70, 70), (20, 1, "t"): (90, 90)})
    published = load_published(data / "published.csv")
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in comparison_table(found, published, ["t"]).split("\n")
    ]
    assert rows[0] == ["corpus", "tokens", "folds", "best published", "t", "difference"]
    assert rows[2] == ["hills", "10", "1", "Best 50.0", "60.0 (60.0 to 60.0)", "+10.0 (+10.0 to +10.0)"]
    assert rows[3] == ["hills", "20", "2", "Best 60.0", "80.0 (80.0 to 80.0)", "+20.0 (+20.0 to +20.0)"]
    assert rows[4] == ["mean error", "2 cells", "-", "45.0", "30.0 (30.0 to 30.0)", "-33.3 (-33.3 to -33.3) %"]
    assert verdict(found, published, "t") == (
        "t is above the best published system in 2 of 2 cells, in 2 with its whole interval; its mean error is "
        "30.0 (30.0 to 30.0) % against 45.0 %: 33.3 (33.3 to 33.3) % lower. "
        "t is better than the best published system in at least 2 of 2 cells (Bonferroni)."
    )


def test_without_published_figures_there_is_still_a_table(tmp_path: Path) -> None:
    found = accuracies(tmp_path, {(10, 0, "t"): (60, 60)})
    published = load_published(tmp_path / "published.csv")
    assert "| hills  |     10 |     1 |              - | 60.0 (60.0 to 60.0) |          - |" in comparison_table(
        found, published, ["t"]
    )
    assert verdict(found, published, "t") == "Nothing is published to compare t with."


def test_each_row_of_the_ablation_differs_from_the_one_above(tmp_path: Path) -> None:
    found = accuracies(tmp_path, {(10, 0, "t"): (50, 50), (10, 0, "u"): (70, 70), (10, 0, "v"): (60, 60)})
    table = ablation_table(found, ["t", "u", "v"], "hills", [10])
    last = [line.split("|")[3].strip() for line in table.splitlines()[2:]]
    assert last == ["-", "+20.0 (+20.0 to +20.0)", "-10.0 (-10.0 to -10.0)"]


def test_predictions_of_another_measurement_are_refused(tmp_path: Path) -> None:
    results = measured(tmp_path, {(10, 0, "t"): (60, 60)})
    results.out.write_text(results.out.read_text().replace("0.6", "0.7"))
    with pytest.raises(UserError, match="does not give the accuracy in"):
        Accuracies.of(results, {"t"}, PASSAGE)
    results.predictions_file(Cell("hills", 10, 0), "t").unlink()
    with pytest.raises(UserError, match=r"t\.tsv\.gz is missing"):
        Accuracies.of(results, {"t"}, PASSAGE)
