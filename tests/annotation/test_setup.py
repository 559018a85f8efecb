"""`tandem init`: from files of people to a project."""

import csv
import re
import sys
from pathlib import Path

import pytest

from pipeline.config.params import load_params
from pipeline.data.corpus import read_corpus
from tests.conftest import PROJECT, Call
from tests.support.clones import copy_files, make_repository, ran, run
from tests.test_published import made_up_words, old_spelling


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project that was never set up, and the files of somebody: a spreadsheet's export and a word list."""
    words = list(dict.fromkeys(made_up_words(300, seed=3)))
    with (tmp_path / "our words.csv").open("w", encoding="utf-16", newline="") as file:
        table = csv.writer(file, delimiter=";")
        table.writerow(["old", "modern"])
        table.writerows((old_spelling(word), word) for word in words)
    listed = [f"{word}\t{count}" for count, word in enumerate([*words, *made_up_words(500, seed=4)], start=7)]
    (tmp_path / "modern words.txt").write_text("\r\n".join(listed[::-1]), encoding="utf-8")
    (tmp_path / "project").mkdir()
    (tmp_path / "project/params.yaml").write_bytes((PROJECT / "params.yaml").read_bytes())
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path


FILES = ("../our words.csv", "../modern words.txt")


def snapshot() -> dict[str, bytes]:
    return {path.as_posix(): path.read_bytes() for path in Path().rglob("*") if path.is_file()}


def test_files_are_copied_in_the_projects_form_and_params_fit_them(folder: Path, call: Call) -> None:
    before = Path("params.yaml").read_text(encoding="utf-8")
    code, output, error = call("init", *FILES)
    assert (code, error) == (0, "")
    assert "UTF-16; columns separated by semicolons; a header, 'old\\tmodern', which is left out" in output
    assert "targets; UTF-8; columns separated by tabs; with counts" in output
    assert "minutes on" in output
    params = load_params()
    assert (params.data.source, params.data.rows, params.data.source_symbols) == ("files", "words", "characters")
    corpus = read_corpus(params.data, params.prepare)
    number = sum(map(len, (corpus.train, corpus.dev, corpus.test)))
    assert number == len(set(made_up_words(300, seed=3)))
    assert number // 10 < len(corpus.dev) < number // 4
    assert number // 10 < len(corpus.test) < number // 4
    assert set(made_up_words(500, seed=4)) <= set(corpus.targets)
    after = Path("params.yaml").read_text(encoding="utf-8")
    assert [line.partition("#")[2] for line in after.splitlines()] == [
        line.partition("#")[2] for line in before.splitlines()
    ]


def test_check_only_looks(folder: Path, call: Call) -> None:
    before = snapshot()
    code, output, _ = call("init", "--check", *FILES)
    assert (code, "pairs to train on" in output) == (0, True)
    assert snapshot() == before


def test_twice_is_as_once(folder: Path, call: Call) -> None:
    call("init", *FILES)
    before = snapshot()
    code, output, _ = call("init", *FILES)
    assert (code, "nothing has changed" in output) == (0, True)
    assert snapshot() == before


def test_what_would_be_lost_is_named_and_stays_unless_a_person_says_yes(folder: Path, call: Call) -> None:
    call("init", *FILES)
    before = snapshot()
    (folder / "others.tsv").write_text("".join(f"{word}x\t{word}\n" for word in set(made_up_words(60, seed=5))))
    code, _, error = call("init", "../others.tsv", "../modern words.txt")
    assert (code, "this overwrites data/raw/pairs.tsv" in error, "Say --yes" in error) == (2, True, True)
    assert snapshot() == before
    code, output, _ = call("init", "../others.tsv", "../modern words.txt", "--yes")
    assert (code, "data/raw/pairs.tsv: written, the one before is data/earlier/pairs-1.tsv" in output) == (0, True)
    assert Path("data/earlier/pairs-1.tsv").read_bytes() == before["data/raw/pairs.tsv"]


def test_a_folder_in_the_way_is_named_and_nothing_is_written(folder: Path, call: Call) -> None:
    Path("data/raw/targets.txt").mkdir(parents=True)
    before = snapshot()
    code, _, error = call("init", *FILES, "--yes")
    assert (code, "targets.txt" in error) == (2, True)
    assert snapshot() == before


def test_what_looks_wrong_is_said(folder: Path, call: Call) -> None:
    rows = [f"{old_spelling(word)}\t{word}\u200b" for word in dict.fromkeys(made_up_words(300, seed=3))]
    (folder / "pairs.tsv").write_text("\n".join([*rows, "x\t", "a\tb\tc"]), encoding="utf-8")
    code, _, error = call("init", "--check", "../pairs.tsv")
    assert code == 0
    assert f"pairs.tsv, line {len(rows) + 1}: the target is empty, so it is left out" in error
    assert "with characters that nobody sees, U+200B" in error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name your files"),
        (["../none.tsv"], "../none.tsv does not exist"),
        (["../modern words.txt"], "no file has pairs"),
        (["../two.tsv"], "has 2 different sources: training, dev and test need one each"),
        (["../our words.csv", "--columns=1,9"], "--columns 9"),
        (["../modern words.txt", "--pairs=../modern words.txt"], "was given as pairs, but has one column"),
    ],
)
def test_a_mistake_is_a_sentence_and_writes_nothing(
    folder: Path, call: Call, arguments: list[str], message: str
) -> None:
    (folder / "two.tsv").write_text("a\tb\nc\td\n")
    before = snapshot()
    code, _, error = call("init", *arguments)
    assert (code, message in error) == (2, True), error
    assert snapshot() == before


@pytest.mark.slow
def test_from_two_files_to_a_verdict(folder: Path) -> None:
    """`tandem init`, `dvc repro` with a small budget, `tandem compare`; then suggest, add and predict."""
    project = folder / "walk"
    project.mkdir()
    copy_files(project)
    make_repository(project)
    tandem = (sys.executable, "-m", "pipeline.cli")
    run(project, *tandem, "init", "../our words.csv", "../modern words.txt")
    params = project / "params.yaml"
    text = params.read_text(encoding="utf-8").replace("seeds: [0, 1, 2]", "seeds: [0, 1]")
    text = text.replace("units: 128", "units: 16").replace("evaluate_every: 100", "evaluate_every: 10")
    params.write_text(re.sub(r"steps: [1-9]\d+", "steps: 10", text), encoding="utf-8")
    run(project, "dvc", "repro")
    assert "tandem" in run(project, *tandem, "compare")
    (project / "old text.txt").write_text("\n".join(map(old_spelling, made_up_words(200, seed=6))))
    run(project, *tandem, "suggest", "--among", "old text.txt", "--count", "5", "--output", "sheet.tsv")
    _, *rows = (project / "sheet.tsv").read_text(encoding="utf-8").splitlines()
    answers = {old_spelling(word): word for word in made_up_words(200, seed=6)}
    sources = [row.split("\t")[0] for row in rows]
    (project / "sheet.tsv").write_text(
        "".join(f"{source}\t{answers[source]}\n" for source in sources), encoding="utf-8"
    )
    run(project, *tandem, "add", "sheet.tsv", "--fix-split")
    predicted = [line.split("\t") for line in run(project, *tandem, "predict", *sources).splitlines()[1:]]
    assert [row[2] for row in predicted] == [answers[source] for source in sources]
    assert ran(run(project, "dvc", "repro", "supervised")) == {"prepare", "supervised"}
