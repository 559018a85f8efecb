"""The folder data/prepared and the stage that fills it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ruamel.yaml import YAML

from pipeline.config.options import Symbols
from pipeline.data.alignment import align, same_symbols
from pipeline.data.alphabet import LARGEST_ALPHABET
from pipeline.data.corpus import Corpus, Rejected
from pipeline.data.examples import Example
from pipeline.data.prepared import Prepared, write_prepared
from pipeline.errors import UserError
from pipeline.stages.prepare import main
from tests.conftest import PROJECT, shipped_params

CORPUS = Corpus(
    train=[Example("A B", "ab"), Example("B", "b\u2028")],
    dev=[Example("C", "c"), Example("A", "a", ("aa", "aaa"))],
    test=[Example("A", "b")],
    targets=["ba", "bab", "d"],
    held_out=0,
    rejected=None,
    origin="files",
)


def write(folder: Path, **changes: Any) -> Path:
    write_prepared(folder, Corpus(**{**vars(CORPUS), **changes}), Symbols.SPACES, Symbols.CHARACTERS)
    return folder


def test_what_is_written_is_loaded(tmp_path: Path) -> None:
    prepared = Prepared.open(write(tmp_path))
    assert list(prepared.train) == CORPUS.train
    assert list(prepared.dev) == CORPUS.dev
    assert list(prepared.test) == CORPUS.test
    assert prepared.longest_target == 3


def test_alphabets_hold_what_training_may_see_and_nothing_of_dev_and_test(tmp_path: Path) -> None:
    prepared = Prepared.open(write(tmp_path))
    assert prepared.source_alphabet.symbols == ("A", "B")
    assert prepared.target_alphabet.symbols == ("a", "b", "d", "\u2028")


def test_sources_written_in_the_symbols_of_targets_know_all_of_these(tmp_path: Path) -> None:
    train = [Example("vnd", "und"), Example("da\u017f", "das")]
    write_prepared(tmp_path, Corpus(**{**vars(CORPUS), "train": train}), Symbols.CHARACTERS, Symbols.CHARACTERS)
    assert "".join(Prepared.open(tmp_path).source_alphabet.symbols) == "abdnsuv\u017f"


def test_sources_that_share_few_symbols_with_targets_keep_their_own(tmp_path: Path) -> None:
    train = [Example("\u03b1\u03b2a", "aba")]
    write_prepared(tmp_path, Corpus(**{**vars(CORPUS), "train": train}), Symbols.CHARACTERS, Symbols.CHARACTERS)
    assert "".join(Prepared.open(tmp_path).source_alphabet.symbols) == "a\u03b1\u03b2"


def test_the_stores_hold_train_pairs_and_unpaired_targets_row_by_row(tmp_path: Path) -> None:
    prepared = Prepared.open(write(tmp_path))
    assert prepared.train_sources.padded(np.arange(2)).tolist() == [[4, 5], [5, 0]]
    assert prepared.train_targets.padded(np.arange(2)).tolist() == [[4, 5], [5, 7]]
    assert prepared.targets.padded(np.arange(3)).tolist() == [[5, 4, 0], [5, 4, 5], [6, 0, 0]]


def test_text_files_are_laid_out_as_documented(tmp_path: Path) -> None:
    write(tmp_path)
    assert (tmp_path / "dev.tsv").read_bytes() == b"C\tc\nA\ta\taa\taaa\n"
    assert (tmp_path / "targets.txt").read_bytes() == b"ba\nbab\nd\n"
    assert not (tmp_path / "rejected.tsv").exists()


def test_rejected_rows_are_written_only_where_they_are_skipped(tmp_path: Path) -> None:
    write(tmp_path, rejected=[Rejected("data/raw/pairs.tsv", 3, "the source is empty", r"\tb")])
    expected = "file\tline\treason\ttext\ndata/raw/pairs.tsv\t3\tthe source is empty\t\\tb\n"
    assert (tmp_path / "rejected.tsv").read_text() == expected
    write(tmp_path, rejected=None)
    assert not (tmp_path / "rejected.tsv").exists()


def test_the_same_corpus_gives_the_same_bytes(tmp_path: Path) -> None:
    one, two = (write(tmp_path / name) for name in ("one", "two"))
    assert {file.name: file.read_bytes() for file in one.iterdir()} == {
        file.name: file.read_bytes() for file in two.iterdir()
    }
    assert Prepared.open(one).digest == Prepared.open(two).digest


@pytest.mark.parametrize(
    "changes",
    [
        {"targets": ["ba", "bab", "b"]},
        {"test": [Example("A", "a")]},
        {"dev": [Example("C", "c"), Example("A", "a", ("aa",))]},
        {"train": list(reversed(CORPUS.train))},
    ],
)
def test_other_data_has_another_digest(tmp_path: Path, changes: dict[str, Any]) -> None:
    one, two = write(tmp_path / "one"), write(tmp_path / "two", **changes)
    assert Prepared.open(one).digest != Prepared.open(two).digest


def test_a_missing_folder_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"missing or damaged .* run `dvc repro prepare`"):
        Prepared.open(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["source_alphabet.json", "targets.txt", "targets.ids.npy", "dev.tsv", "alignment.npz"])
def test_a_missing_file_says_what_to_run(tmp_path: Path, name: str) -> None:
    (write(tmp_path) / name).unlink()
    with pytest.raises(UserError, match="run `dvc repro prepare`"):
        Prepared.open(tmp_path)


@pytest.mark.parametrize("content", [b"", b"\xff", b"a\n"])
def test_a_damaged_split_says_what_to_run(tmp_path: Path, content: bytes) -> None:
    (write(tmp_path) / "dev.tsv").write_bytes(content)
    prepared = Prepared.open(tmp_path)
    with pytest.raises(UserError, match=r"dev\.tsv is missing or damaged .* run `dvc repro prepare`"):
        _ = prepared.dev


def test_the_alignment_of_the_training_pairs_is_learned_once(tmp_path: Path) -> None:
    prepared = Prepared.open(write(tmp_path))
    same = same_symbols(prepared.source_alphabet, prepared.target_alphabet)
    learned = align(prepared.train_sources, prepared.train_targets, same, len(prepared.source_alphabet))
    np.testing.assert_array_equal(prepared.alignment.edits.first, learned.edits.first)
    np.testing.assert_array_equal(prepared.alignment.ends, learned.ends)


def test_the_alignment_of_other_pairs_is_damage(tmp_path: Path) -> None:
    write(tmp_path / "one")
    write(tmp_path / "two", train=CORPUS.train[:1])
    prepared = Prepared.open((tmp_path / "two/alignment.npz").replace(tmp_path / "one/alignment.npz").parent)
    with pytest.raises(UserError, match=r"alignment\.npz is missing or damaged .* run `dvc repro prepare`"):
        _ = prepared.alignment


def test_sources_and_targets_of_different_lengths_are_damage(tmp_path: Path) -> None:
    write(tmp_path / "one")
    write(tmp_path / "two", train=CORPUS.train[:1])
    for part in ("ids", "offsets"):
        (tmp_path / f"two/train_sources.{part}.npy").replace(tmp_path / f"one/train_sources.{part}.npy")
    with pytest.raises(UserError, match="differ in their number of rows"):
        Prepared.open(tmp_path / "one")


def test_ids_of_symbols_that_no_alphabet_has_are_damage(tmp_path: Path) -> None:
    write(tmp_path)
    ids = np.load(tmp_path / "targets.ids.npy")
    ids[-1] = 8  # the targets have 4 symbols, 4 to 7
    np.save(tmp_path / "targets.ids.npy", ids)
    with pytest.raises(UserError, match=r"targets is missing or damaged .it has ids of symbols that are not in the"):
        Prepared.open(tmp_path)


def test_too_many_different_symbols_are_an_error_that_names_the_side(tmp_path: Path) -> None:
    targets = " ".join(map(str, range(LARGEST_ALPHABET + 1)))  # and those of the pairs are two more
    with pytest.raises(UserError, match="the targets cannot be used: 65,535 different symbols"):
        write_prepared(tmp_path, Corpus(**{**vars(CORPUS), "targets": [targets]}), Symbols.SPACES, Symbols.SPACES)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The current folder, with raw data and a params.yaml of its own; the parameters."""
    monkeypatch.chdir(tmp_path)
    raw = tmp_path / "data/raw"
    raw.mkdir(parents=True)
    (raw / "pairs.tsv").write_text("".join(f"{letter}\t{letter.lower() * 2}\n" for letter in "ABCDEFGHI"))
    (raw / "dev.tsv").write_text("A\tz\nQ\taa\nQ\tz\nA\taa\n")
    (raw / "test.tsv").write_text("A\tx\nB\tbb\n")
    (raw / "targets.txt").write_text("x\nbb\nbbbb\ncc\n")
    params = shipped_params()
    params["data"] |= {
        "source": "files",
        **{key: f"data/raw/{key}.tsv" for key in ("pairs", "dev", "test")},
        "targets": "data/raw/targets.txt",
        "rows": "running_text",
        "source_symbols": "characters",
    }
    params["prepare"] |= {"pairs": None, "targets": None, "hold_out_targets": True}
    save_params(params)
    return params


def save_params(params: Any) -> None:
    with Path("params.yaml").open("w") as file:
        YAML().dump(params, file)


def test_the_summary_counts_by_hand(project: Any, capsys: pytest.CaptureFixture[str]) -> None:
    main()
    assert json.loads(Path("reports/prepare.json").read_text()) == {
        "origin": "files",
        "pairs": 9,
        "dev": 4,
        "test": 2,
        "targets": 2,
        "targets_held_out": 2,
        "rows_rejected": 0,
        "duplicate_rows": 0,
        "ambiguous_sources": 2,
        "sources_on_two_sides": 2,
        "source_symbols": 9,
        "target_symbols": 9,
        "lengths": {
            "sources": {"mean": 1.0, "longest": 1},
            "targets": {"mean": 2.0, "longest": 2},
            "unpaired": {"mean": 3.0, "longest": 4},
        },
        "rows_with_unseen_symbol": {
            "dev": {"sources": 0.5, "targets": 0.5},
            "test": {"sources": 0.0, "targets": 0.5},
        },
        "test_targets_among_unpaired": 0.0,
        "notes": [],
    }
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_targets_that_are_not_held_out_are_reported(project: Any) -> None:
    project["prepare"]["hold_out_targets"] = False
    save_params(project)
    main()
    assert json.loads(Path("reports/prepare.json").read_text())["test_targets_among_unpaired"] == 1.0


@pytest.mark.parametrize("name", ["$(touch a)", "<img src=x onerror=alert(1)>", "-rf", "..\\..\\b"])
def test_whatever_a_file_is_called_it_is_read_and_only_outputs_are_written(project: Any, name: str) -> None:
    project["data"]["pairs"] = Path("data/raw/pairs.tsv").rename(f"data/raw/{name}").as_posix()
    save_params(project)
    place = Path.cwd()
    before = {path for path in place.parent.rglob("*") if path.is_file()}
    main()
    made = {path.relative_to(place) for path in place.parent.rglob("*") if path.is_file() and path not in before}
    assert {path.parts[:2] for path in made} == {("data", "prepared"), ("reports", "prepare.json")}
    assert json.loads(Path("reports/prepare.json").read_text())["pairs"] == 9


def test_a_user_mistake_is_one_line_and_exit_code_2(project: Any) -> None:
    Path("data/raw/targets.txt").write_text("good\n\n")
    run = subprocess.run(
        [sys.executable, "-m", "pipeline.stages.prepare"],
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 2
    assert run.stderr.startswith("error: data/raw/targets.txt, line 2: the target is empty.")
    assert len(run.stderr.splitlines()) == 1
