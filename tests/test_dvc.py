"""What DVC's commands make of mistakes in params.yaml, of data of one's own, and of a folder without a repository."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.conftest import Call
from tests.support.clones import commit, copy_files, environment, make_repository, run

pytestmark = pytest.mark.slow

DATA = {"source": "files", "pairs": "data/raw/my pairs.tsv", "targets": "data/raw/targets.txt"}
SYMBOLS = {"source_symbols": "characters", "target_symbols": "characters"}
PREPARE = {"pairs": 20, "dev": 10, "test": 10, "targets": None}


def change_params(folder: Path, change: Callable[[Any], Any]) -> None:
    yaml = YAML()
    content = yaml.load(folder / "params.yaml")
    change(content)
    yaml.dump(content, folder / "params.yaml")


def fails(folder: Path, *command: str) -> str:
    """What a command that ends with an error says."""
    done = subprocess.run(command, cwd=folder, env=environment(folder), capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "Traceback" not in done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project after its first stage."""
    folder = tmp_path_factory.mktemp("sources") / "clone"
    copy_files(folder)
    make_repository(folder)
    run(folder, "dvc", "repro", "prepare")
    return folder


@pytest.fixture
def sources(prepared: Path) -> Iterator[Path]:
    """The same, with a params.yaml that may be changed."""
    before = (prepared / "params.yaml").read_bytes()
    yield prepared
    (prepared / "params.yaml").write_bytes(before)


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """The project with files of one's own in data/raw that nothing tracks."""
    folder = tmp_path / "my clone"
    copy_files(folder)
    make_repository(folder)
    change_params(folder, lambda content: (content["data"].update(DATA | SYMBOLS), content["prepare"].update(PREPARE)))
    commit(folder)
    words = [first + second + third for first in "abcde" for second in "fgh" for third in "iklm"]
    (folder / DATA["pairs"]).write_text("".join(f"{word.upper()}\t{word}\n" for word in words), encoding="utf-8")
    (folder / DATA["targets"]).write_text("".join(f"{word}\n" for word in words), encoding="utf-8")
    return folder


NOT_A_LIST = "is {}, but must be a list, not empty and of at most 1000, of a whole number"
NOT_STRATEGIES = "is {}, but must be a section of 1 to 12 strategies"


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("seeds", 3, NOT_A_LIST.format(3)),
        ("seeds", [], NOT_A_LIST.format("[]")),
        ("seeds", None, NOT_A_LIST.format("null")),
        ("seeds", "0, 1", NOT_A_LIST.format("'0, 1'")),
        ("strategies", None, NOT_STRATEGIES.format("null")),
        ("strategies", ["tandem"], NOT_STRATEGIES.format("['tandem']")),
    ],
)
def test_a_mistake_in_params_yaml_is_reported_by_dvc_repro_in_our_own_words(
    sources: Path, name: str, value: Any, problem: str
) -> None:
    change_params(sources, lambda content: content.update({name: value}))
    output = fails(sources, "dvc", "repro")
    assert "error: params.yaml has 1 problem(s):" in output
    assert f"{name} {problem}" in output


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"seeds: [0", "line 1"),
        (b"seeds: [0]\nseeds: [1]\n", "line: 2"),
        (b"seeds: \xff", "not valid utf-8"),
        (b"just text", "expected a dictionary"),
        (b"", "missing from"),
    ],
)
def test_a_params_yaml_that_dvc_cannot_use_at_all_is_named_with_the_reason(
    sources: Path, content: bytes, problem: str
) -> None:
    (sources / "params.yaml").write_bytes(content)
    output = fails(sources, "dvc", "repro")
    assert "params.yaml" in output
    assert problem in output


COPIES = (["--temp"], ["--queue"])


def experiment(folder: Path, how: list[str]) -> str:
    """An experiment of stage `prepare` in a copy of the project; what it says."""
    command = ["dvc", "exp", "run", *how, "--set-param=prepare.pairs=15", "prepare"]
    command += ["&&", "dvc", "exp", "run", "--run-all"] if how == ["--queue"] else []
    done = subprocess.run(
        ["sh", "-c", " ".join(command)],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("how", COPIES, ids=" ".join)
def test_an_experiment_in_a_copy_says_how_to_track_the_files_that_it_lacks(mine: Path, how: list[str]) -> None:
    run(mine, "dvc", "repro", "prepare")
    output = experiment(mine, how)
    assert "error: data/raw/my pairs.tsv does not exist in this copy of the project" in output
    assert "`git add 'data/raw/my pairs.tsv'`" in output
    assert "`dvc add 'data/raw/my pairs.tsv'` and `git add 'data/raw/my pairs.tsv.dvc'`" in output


@pytest.mark.parametrize("how", COPIES, ids=" ".join)
@pytest.mark.parametrize("by", ["git", "dvc"])
def test_an_experiment_in_a_copy_has_the_files_that_git_or_dvc_tracks(mine: Path, how: list[str], by: str) -> None:
    for file in (DATA["pairs"], DATA["targets"]):
        run(mine, by, "add", file)
        if by == "dvc":
            run(mine, "git", "add", f"{file}.dvc")
    assert "files: 20 pairs" in run(mine, "dvc", "repro", "prepare")
    assert "files: 15 pairs, 10 dev, 10 test, 60 unpaired targets" in experiment(mine, how)


@pytest.mark.parametrize("how", COPIES, ids=" ".join)
def test_files_that_dvc_tracks_are_in_a_copy_as_they_are_now(mine: Path, how: list[str]) -> None:
    for file in (DATA["pairs"], DATA["targets"]):
        run(mine, "dvc", "add", file)
    commit(mine)
    with (mine / DATA["targets"]).open("a", encoding="utf-8") as targets:
        targets.write("another\n")
    assert "61 unpaired targets" in experiment(mine, how)


def test_without_a_repository_make_and_tandem_say_git_init(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Call
) -> None:
    folder = tmp_path / "unpacked"
    copy_files(folder)
    assert "run git init first" in fails(folder, "make", "repro")
    assert f"{folder} is not a git repository" in fails(folder, "dvc", "repro")
    monkeypatch.chdir(folder)
    for command in (["compare"], ["predict", "F"], ["publish"], ["sizes"]):
        code, _, error = call(*command)
        assert code == 2
        assert "`git init`" in error
        assert "Traceback" not in error
    make_repository(folder)
    code, _, error = call("compare")
    assert code == 2
    assert "git" not in error
