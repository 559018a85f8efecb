"""The command line: what it prints, and what it says to a mistake."""

import gzip
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.alphabet import Alphabet, Symbols, save_alphabets
from pipeline.backend import keras
from pipeline.cli import main
from pipeline.network import Network, Sizes, save_network
from pipeline.runs import Record, save_record
from pipeline.strategies import run_folder
from tests.conftest import PROJECT, small_model


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two untrained tandem runs, as `dvc repro` would leave them; the second has the better record."""
    folder = tmp_path_factory.mktemp("project")
    sources, targets = Alphabet(Symbols.SPACES, ("F", "AO", "K")), Alphabet(Symbols.CHARACTERS, tuple("fork"))
    for seed, accuracy in ((0, 0.25), (1, 0.5)):
        keras.utils.set_random_seed(seed)
        run = folder / run_folder("tandem", seed)
        save_network(Network(small_model(), Sizes(len(sources), len(targets), 6)), run)
        save_alphabets(run, sources, targets)
        save_record(Record("tandem", seed, "0" * 64, 1, 1, 1, 1, 1.0, 1, accuracy, 0.5), run)
    return folder


def tandem(folder: Path, *arguments: str, stdin: bytes = b"") -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a call in a process of its own."""
    command = [sys.executable, "-m", "pipeline.cli", *arguments]
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    done = subprocess.run(command, cwd=folder, env=environment, input=stdin, capture_output=True, check=False)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


@pytest.fixture
def call(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """The same in this process, which has tensorflow loaded."""

    def called(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.chdir(project)
        monkeypatch.setattr(sys, "argv", ["tandem", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return int(ended.value.code or 0), printed.out, printed.err

    return called


def test_predict_takes_arguments_a_file_or_standard_input_alike(
    project: Path, tmp_path: Path, call: Callable[..., tuple[int, str, str]]
) -> None:
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


def test_without_a_seed_the_run_with_the_best_record_answers(call: Callable[..., tuple[int, str, str]]) -> None:
    default, zero, one = (call("predict", "F AO", *seed)[1] for seed in ([], ["--seed=0"], ["--seed=1"]))
    assert default == one != zero


def test_an_unseen_symbol_is_an_unknown_and_not_a_crash(call: Callable[..., tuple[int, str, str]]) -> None:
    code, output, _ = call("predict", "F ZH \N{CAT FACE}")
    assert code == 0
    assert output.splitlines()[1].startswith("F ZH \N{CAT FACE}\t1\t")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["predict", "F AO", "--seed", "7"], "no run of strategy 'tandem' with seed 7 in models (there: 0, 1)"),
        (["predict", "F AO", "--strategy", "magic"], "no trained run of strategy 'magic' in models (there: tandem)"),
        (["predict", "F AO", " "], "source 2 is empty"),
        (["predict", "F\tAO"], "source 1, 'F\\tAO', has a tab"),
        (["predict", "F AO", "--input", "x"], "not both"),
        (["predict", "--input", "missing.txt"], "missing.txt does not exist"),
        (["compare"], "no comparison in reports/metrics.json"),
    ],
)
def test_a_mistake_is_a_sentence_and_exit_code_2(
    call: Callable[..., tuple[int, str, str]], arguments: list[str], message: str
) -> None:
    code, output, error = call(*arguments)
    assert (code, output) == (2, "")
    assert message in error
    assert "Traceback" not in error


def test_a_bad_row_is_named_with_its_line(project: Path) -> None:
    code, _, error = tandem(project, "predict", stdin=b"F AO\n\xff\n")
    assert code == 2
    assert "line 2: byte 1 is not UTF-8" in error
