"""The command line: what it prints, and what it says to a mistake."""

import gzip
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.config.options import Symbols
from pipeline.config.params import Decoding, Order
from pipeline.data.alphabet import Alphabet, save_alphabets
from pipeline.data.corpus import Corpus
from pipeline.data.examples import Example
from pipeline.data.prepared import PREPARED, Prepared, write_prepared
from pipeline.model.backend import keras
from pipeline.model.network import Network, Sizes, save_network
from pipeline.prediction.predictor import OWN_ORDER
from pipeline.reranking.features import FEATURES
from pipeline.runs.folders import RunMetadata, run_folder, save_metadata
from pipeline.runs.groups import RERANKERS, RerankMetadata, RunGroup
from tests.conftest import PROJECT, Call, Called, small_model


def make_runs(folder: Path, data: str) -> None:
    """Two untrained tandem runs, as `dvc repro` would leave them; the second has the better record."""
    sources, targets = Alphabet(Symbols.SPACES, ("F", "AO", "K")), Alphabet(Symbols.CHARACTERS, tuple("fork"))
    for seed, accuracy in ((0, 0.25), (1, 0.5)):
        keras.utils.set_random_seed(seed)
        run = folder / run_folder("tandem", seed)
        save_network(Network(small_model(), Sizes(len(sources), len(targets), 6)), run)
        save_alphabets(run, sources, targets)
        save_metadata(RunMetadata("tandem", seed, data, 1, 1, 1, 1, 1.0, 1, accuracy, 0.5), run)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with trained runs alone."""
    folder = tmp_path_factory.mktemp("project")
    make_runs(folder, "0" * 64)
    return folder


@pytest.fixture
def whole_project(tmp_path: Path) -> Path:
    """The same with data, where F AO is for, and rerankers that trust the pairs before the model."""
    pairs = [Example("F AO", "for"), Example("K AO", "kor"), Example("F", "f")]
    corpus = Corpus(pairs, pairs, pairs, ["fork", "for"], 0, None, "made up")
    write_prepared(tmp_path / PREPARED, corpus, Symbols.SPACES, Symbols.CHARACTERS)
    digest = Prepared.open(tmp_path / PREPARED).digest
    make_runs(tmp_path, digest)
    decoding = Decoding(order=Order.RERANK, beam_width=2, neighbours=0, ensemble=True, seed=0)
    weights = tuple(100.0 * (name == "pair_share") for name in FEATURES)
    for group in (RunGroup("tandem", (0,)), RunGroup("tandem", (1,)), RunGroup("tandem", (0, 1))):
        (tmp_path / group.reranker).parent.mkdir(parents=True, exist_ok=True)
        replace(OWN_ORDER, weights=weights).save(tmp_path / group.reranker)
    RerankMetadata(digest, (0, 1), held_out=False, decoding=decoding).save(tmp_path / RERANKERS)
    return tmp_path


def tandem(folder: Path, *arguments: str, stdin: bytes = b"") -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a call in a process of its own."""
    command = [sys.executable, "-m", "pipeline.cli", *arguments]
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    done = subprocess.run(command, cwd=folder, env=environment, input=stdin, capture_output=True, check=False)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


@pytest.fixture
def call(call: Call, project: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """The same in this process, which has tensorflow loaded."""

    def called(*arguments: str, folder: Path = project) -> Called:
        monkeypatch.chdir(folder)
        return call(*arguments)

    return called


def test_predict_takes_arguments_a_file_or_standard_input_alike(project: Path, tmp_path: Path, call: Call) -> None:
    (tmp_path / "sources.txt").write_text("\ufeffF AO\r\nK\r\n", encoding="utf-8")
    (tmp_path / "sources.txt.gz").write_bytes(gzip.compress(b"F AO\nK\n"))
    answers = [
        call("predict", "F AO", "K"),
        call("predict", "--input", str(tmp_path / "sources.txt")),
        call("predict", "--input", str(tmp_path / "sources.txt.gz")),
        tandem(project, "predict", stdin=b"F AO\nK"),
    ]
    assert {code for code, _, _ in answers} == {0}
    assert len({output for _, output, _ in answers}) == 1
    lines = [line.split("\t") for line in answers[0][1].splitlines()]
    assert [line[0] for line in lines] == ["source", "F AO", "K"]


def test_without_a_seed_the_run_with_the_best_record_answers(call: Call) -> None:
    default, zero, one = (call("predict", "F AO", *seed)[1] for seed in ([], ["--seed=0"], ["--seed=1"]))
    assert default == one != zero


def test_an_unseen_symbol_is_an_unknown_and_not_a_crash(call: Call) -> None:
    code, output, _ = call("predict", "F ZH \N{CAT FACE}")
    assert code == 0
    assert output.splitlines()[1].startswith("F ZH \N{CAT FACE}\t1\t")


def predictions(output: str) -> list[str]:
    return [line.split("\t")[2] for line in output.splitlines()[1:]]


def test_predictions_are_reranked_where_the_last_repro_left_what_it_takes(whole_project: Path, call: Call) -> None:
    for which in ([], ["--seed=0"], ["--ensemble"]):
        code, output, error = call("predict", "F AO", "--n-best=3", *which, folder=whole_project)
        assert (code, error) == (0, "")
        assert predictions(output)[0] == "for"  # which the untrained model would not write
        header, *rows = [line.split("\t") for line in output.splitlines()]
        assert header == ["source", "rank", "prediction", "log_probability", "confidence"]
        assert [row[1] for row in rows] == ["1", "2", "3"]
        assert float(rows[0][4]) > 0.99 > 0.01 > float(rows[1][4])


def test_another_order_can_be_asked_for(whole_project: Path, call: Call) -> None:
    by_default, greedy, beam = (
        call("predict", "F AO", *order, folder=whole_project)[1] for order in ([], ["--order=greedy"], ["--order=beam"])
    )
    assert "for" in predictions(by_default)
    assert "for" not in predictions(greedy) + predictions(beam)


def test_n_best_of_greedy_decoding_are_those_of_a_beam_so_wide(whole_project: Path, call: Call) -> None:
    greedy = call("predict", "F AO", "--n-best=3", "--order=greedy", folder=whole_project)[1]
    beam = call("predict", "F AO", "--n-best=3", "--order=beam", "--beam=3", folder=whole_project)[1]
    assert greedy == beam
    assert len(predictions(beam)) == 3


def test_without_rerankers_the_models_own_order_is_used_with_a_note(project: Path, call: Call) -> None:
    code, output, error = call("predict", "F AO")
    assert code == 0
    assert output == call("predict", "F AO", "--order=beam")[1]
    assert error.startswith("note: predictions come in the model's own order, not reranked: models/rerank/record.json")
    assert len(error.splitlines()) == 1


def test_rerankers_for_other_data_are_not_used(whole_project: Path, call: Call) -> None:
    pairs = whole_project / PREPARED / "train.tsv"
    pairs.write_text(pairs.read_text(encoding="utf-8") + "K\tk\n", encoding="utf-8")
    code, _, error = call("predict", "F AO", folder=whole_project)
    assert code == 0
    assert "models/rerank was made with other data than data/prepared now holds" in error


@pytest.mark.parametrize("into_files", [False, True])
def test_a_run_whose_reranker_is_missing_predicts_in_its_own_order_with_a_note(
    whole_project: Path, tmp_path: Path, call: Call, into_files: bool
) -> None:
    reranker = RERANKERS / "tandem" / "1.json"
    (whole_project / reranker).unlink()
    shutil.copyfile(PROJECT / "params.yaml", whole_project / "params.yaml")
    (tmp_path / "sources.txt").write_text("F AO\n", encoding="utf-8")
    files = ["--input", str(tmp_path / "sources.txt"), "--output", str(tmp_path / "out")]
    code, _, error = call("predict", *(files if into_files else ["F AO"]), folder=whole_project)
    assert code == 0
    assert error.startswith(f"note: predictions come in the model's own order, not reranked: {reranker}")
    code, output, error = call("predict", "F AO", "--order=rerank", folder=whole_project)
    assert (code, output) == (2, "")
    assert str(reranker) in error


def test_an_ensemble_without_rerankers_has_all_seeds(call: Call) -> None:
    outputs = [call("predict", "F AO", "--order=greedy", which)[1] for which in ("--ensemble", "--seed=0", "--seed=1")]
    assert len(set(outputs)) == 3


def test_a_report_of_another_version_is_told(tmp_path: Path, call: Call) -> None:
    (tmp_path / "reports" / "evaluation").mkdir(parents=True)
    (tmp_path / "reports" / "evaluation" / "metrics.json").write_text('{"tandem": {}}', encoding="utf-8")
    code, output, error = call("compare", folder=tmp_path)
    assert (code, output) == (2, "")
    assert "reports/evaluation/metrics.json is not a comparison by this version: run `dvc repro`" in error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["predict", "F AO", "--seed", "7"], "no run of strategy 'tandem' with seed 7 in models (there: 0, 1)"),
        (["predict", "F AO", "--strategy", "magic"], "no trained run of strategy 'magic' in models (there: tandem)"),
        (["predict", "F AO", " "], "source 2 is empty"),
        (["predict", "F\tAO"], "source 1, 'F\\tAO', has a tab"),
        (["predict", "F AO", "--input", "x"], "not both"),
        (["predict", "F AO", "--seed", "0", "--ensemble"], "give --seed or --ensemble, not both"),
        (["predict", "F AO", "--order", "rerank"], "models/rerank/record.json cannot be used (No such file"),
        (["predict", "--input", "missing.txt"], "missing.txt does not exist"),
        (["compare"], "no comparison in reports/evaluation/metrics.json"),
    ],
)
def test_a_mistake_is_a_sentence_and_exit_code_2(call: Call, arguments: list[str], message: str) -> None:
    code, output, error = call(*arguments)
    assert (code, output) == (2, "")
    assert message in error
    assert "Traceback" not in error


def test_a_bad_row_is_named_with_its_line(project: Path) -> None:
    code, _, error = tandem(project, "predict", stdin=b"F AO\n\xff\n")
    assert code == 2
    assert "line 2: byte 1 is not UTF-8" in error
