"""`tandem add`: from corrected sheets to pairs and forced answers."""

import gzip
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from pipeline.annotation.sheet import read_sheet, sheet_of
from pipeline.annotation.suggest import Suggestion
from pipeline.config.params import load_params
from pipeline.data.corpus import read_corpus
from pipeline.reranking.reranker import RankedPrediction
from tests.conftest import Call, shipped_params

PAIRS = "vnd\tund\njar\tjahr\nthür\ttür\nſeyn\tsein\nhauſs\thaus\nbaum\tbaum\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with six pairs."""
    set_up(tmp_path, PAIRS.encode())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def set_up(folder: Path, pairs: bytes, name: str = "pairs.tsv", **changes: object) -> None:
    params = shipped_params()
    path = folder / "data/raw" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pairs)
    params["data"] |= {"source": "files", "pairs": f"data/raw/{name}", "source_symbols": "characters", **changes}
    params["prepare"] |= {"pairs": None, "targets": None, "dev": 1, "test": 1}
    YAML().dump(params, folder / "params.yaml")


def rows(path: str) -> list[str]:
    return Path(path).read_text(encoding="utf-8").splitlines()


def add(call: Call, text: str, *options: str) -> tuple[int, str, str]:
    Path("corrected.tsv").write_text(text, encoding="utf-8")
    return call("add", "corrected.tsv", *options)


def test_new_pairs_are_added_and_answered_with(project: Path, call: Call) -> None:
    code, output, _ = add(call, "rath\trat\nvnd\tund\nrath\trat\n")
    assert code == 0
    assert "data/raw/pairs.tsv: 1 pairs added" in output
    assert rows("data/raw/pairs.tsv") == [*PAIRS.splitlines(), "rath\trat"]
    assert rows("data/known.tsv") == ["rath\trat", "vnd\tund"]
    assert Path("data/earlier/pairs-1.tsv").read_text(encoding="utf-8") == PAIRS


def test_without_a_new_pair_the_file_stays(project: Path, call: Call) -> None:
    before = Path("data/raw/pairs.tsv").stat().st_mtime_ns
    assert add(call, "vnd\tund\n")[0] == 0
    assert Path("data/raw/pairs.tsv").stat().st_mtime_ns == before
    assert not Path("data/earlier").exists()


def test_another_target_is_named_and_nothing_is_written(project: Path, call: Call) -> None:
    code, _, error = add(call, "rath\trat\nvnd\tundt\n")
    assert code == 2
    assert "--replace takes the new target, --keep-both has both" in error
    assert "line 2: 'vnd' is 'undt', but already 'und'" in error
    assert Path("data/raw/pairs.tsv").read_text(encoding="utf-8") == PAIRS
    assert not Path("data/known.tsv").exists()


def test_replace_takes_the_new_target_in_its_place(project: Path, call: Call) -> None:
    assert add(call, "jar\tjahre\n", "--replace")[0] == 0
    assert rows("data/raw/pairs.tsv")[1] == "jar\tjahre"
    assert len(rows("data/raw/pairs.tsv")) == 6
    assert rows("data/known.tsv") == ["jar\tjahre"]


def test_keep_both_has_both_and_answers_with_the_new_one_first(project: Path, call: Call) -> None:
    add(call, "jar\tjahr\n")
    assert add(call, "jar\tjahre\n", "--keep-both")[0] == 0
    assert rows("data/raw/pairs.tsv")[-1] == "jar\tjahre"
    assert rows("data/known.tsv") == ["jar\tjahre", "jar\tjahr"]


def test_two_targets_in_one_file_are_a_conflict(project: Path, call: Call) -> None:
    for options in ((), ("--replace",)):
        code, _, error = add(call, "rath\trat\nrath\trath\n", *options)
        assert (code, "line 2: 'rath' is 'rath', but in line 1 'rat'" in error) == (2, True)
    assert add(call, "rath\trat\nrath\trath\n", "--keep-both")[0] == 0


def test_of_a_sheet_changed_and_marked_rows_count(project: Path, call: Call) -> None:
    def prediction(text: str) -> RankedPrediction:
        return RankedPrediction(text, -1.0, 0.5)

    suggestions = [
        Suggestion(source, 2, [prediction(target), prediction("zwei")])
        for source, target in (("rath", "rat"), ("thun", "thun"), ("theil", "theil"), ("muth", "mut"))
    ]
    header, *lines = sheet_of(suggestions).splitlines()
    assert header == "source\ttarget\tok\tconfidence\toccurrences\tprediction\tprediction 2"
    lines[0] = lines[0].replace("rat\t\t", "rat\tx\t")
    lines[1] = lines[1].replace("thun\t\t", "tun\t\t")
    text = "\n".join([header, *lines])
    code, _, error = add(call, text)
    assert code == 0
    assert "2 rows are as predicted and not marked, so they are left out" in error
    assert rows("data/known.tsv") == ["rath\trat", "thun\ttun"]
    assert add(call, text, "--unchanged")[0] == 0
    assert len(rows("data/known.tsv")) == 4


def test_rows_without_a_target_are_left_out_and_counted(project: Path) -> None:
    Path("sheet.csv").write_text("source;target\nrath;rat\nthun;\n", encoding="utf-8")
    corrections, notes = read_sheet(Path("sheet.csv"), load_params())
    assert [one[1:] for one in corrections] == [("rath", "rat")]
    assert notes == ["sheet.csv: 1 rows have no target and are left out"]


def test_bad_rows_are_all_named_and_nothing_is_written(project: Path, call: Call) -> None:
    long = "a" * 61
    code, _, error = add(call, f"rath\trat\n{long}\ta\n\tb\n")
    assert code == 2
    assert "has 2 row(s) that cannot be used" in error
    assert "line 2: the source has 61 symbols" in error
    assert "line 3: the source is empty" in error
    assert not Path("data/known.tsv").exists()


def test_other_columns_are_named(project: Path, call: Call) -> None:
    code, _, error = add(call, "a\tb\tc\n")
    assert (code, "3 columns and no header with source and target" in error) == (2, True)


def test_bad_rows_of_the_pairs_stay_and_packed_files_stay_packed(tmp_path: Path, project: Path, call: Call) -> None:
    content = b"no pair\nvnd\tund\n\xff\tx\n"
    set_up(tmp_path, gzip.compress(content), "pairs.tsv.gz")
    assert add(call, "rath\trat\n")[0] == 0
    assert gzip.decompress(Path("data/raw/pairs.tsv.gz").read_bytes()) == content + b"rath\trat\n"


def test_the_default_data_has_no_file_to_add_to(project: Path, call: Call) -> None:
    YAML().dump(shipped_params(), Path("params.yaml"))
    code, _, error = add(call, "F AO\tfor\n")
    assert (code, "data.source: cmudict has no file of pairs" in error) == (0, True)
    assert rows("data/known.tsv") == ["F AO\tfor"]


def test_sources_of_dev_and_test_are_answered_but_not_trained_on(tmp_path: Path, project: Path, call: Call) -> None:
    (tmp_path / "data/raw/dev.tsv").write_text("rath\trat\n", encoding="utf-8")
    set_up(tmp_path, PAIRS.encode(), dev="data/raw/dev.tsv")
    code, _, error = add(call, "rath\trat\nthun\ttun\n")
    assert (code, "1 sources are in dev or test" in error) == (0, True)
    assert rows("data/raw/pairs.tsv")[6:] == ["thun\ttun"]
    assert rows("data/known.tsv") == ["rath\trat", "thun\ttun"]


def test_fix_split_keeps_dev_and_test_as_they_are_split_off_now(project: Path, call: Call) -> None:
    params = load_params()
    before = read_corpus(params.data, params.prepare)
    code, _, error = add(call, "rath\trat\nthun\ttun\n", "--fix-split")
    assert (code, error) == (0, "")
    params = load_params()
    after = read_corpus(params.data, params.prepare)
    assert (after.dev, after.test) == (before.dev, before.test)
    assert [one.source for one in after.train] == [*(one.source for one in before.train), "rath", "thun"]


def test_without_it_a_note_says_that_the_split_changes(project: Path, call: Call) -> None:
    assert "draws dev and test anew" in add(call, "rath\trat\n")[2]
