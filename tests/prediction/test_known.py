"""Forced answers: what people gave is predicted, at once and everywhere."""

from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipeline.errors import UserError
from pipeline.prediction.known import known_content, load_known
from pipeline.prediction.predictor import Predictor
from pipeline.prediction.requests import Service
from tests.conftest import Call
from tests.support.small_project import RUNS, make_project


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    make_project(tmp_path)
    (tmp_path / "data/known.tsv").write_text("F  AO\tphone\nK\tquay\nK\tcay\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def rows(output: str) -> list[list[str]]:
    return [line.split("\t")[:5] for line in output.splitlines()[1:]]


def test_what_is_written_is_loaded(project: Path) -> None:
    known = load_known()
    assert known == {"F AO": ("phone",), "K": ("quay", "cay")}
    Path("data/known.tsv").write_bytes(known_content(known))
    assert load_known() == known


@pytest.mark.parametrize("order", [[], ["--order=beam"], ["--order=greedy"], ["--ensemble"]])
def test_a_known_target_is_predicted_in_every_order(project: Path, call: Call, order: list[str]) -> None:
    output = call("predict", " F AO ", "F", *order).output
    assert rows(output)[0] == [" F AO ".strip(), "1", "phone", "0.0000", "1.0000"]
    assert rows(output)[1][2] != "phone"
    assert rows(call("predict", "F AO", "--no-known", *order).output)[0][2] != "phone"


def test_other_candidates_keep_their_order_below_it(project: Path, call: Call) -> None:
    without = rows(call("predict", "F AO", "--n-best=2", "--no-known").output)
    given = rows(call("predict", "F AO", "--n-best=3").output)
    assert [row[2:] for row in given] == [["phone", "0.0000", "1.0000"], *(row[2:] for row in without)]


def test_a_known_target_that_is_a_candidate_is_not_there_twice(project: Path, call: Call) -> None:
    second = next(row[2] for row in rows(call("predict", "F AO", "--n-best=3", "--no-known").output)[1:] if row[2])
    Path("data/known.tsv").write_text(f"F AO\t{second}\n", encoding="utf-8")
    given = rows(call("predict", "F AO", "--n-best=3").output)
    assert [row[2] for row in given].count(second) == 1
    assert given[0][2] == second


def test_files_of_predictions_have_known_targets_and_say_with_which_they_were_made(project: Path, call: Call) -> None:
    Path("sources.txt").write_text("F AO\nF\n")
    whole = ("predict", "--input", "sources.txt", "--output", "out")
    assert call(*whole).code == 0
    assert pq.read_table("out/sources.parquet")["prediction"].to_pylist()[0] == "phone"
    code, _, error = call(*whole, "--no-known")
    assert (code, "was made with other forced answers" in error) == (2, True)
    assert call("predict", "--input", "sources.txt", "--output", "other", "--no-known").code == 0
    assert pq.read_table("other/sources.parquet")["prediction"].to_pylist()[0] != "phone"


def test_a_service_answers_with_them(project: Path) -> None:
    service = Service(replace(Predictor.of_runs(RUNS[0]), known=load_known()))
    (answer,) = service.answer(service.parse(["K"], {}))
    assert (answer["prediction"], answer["log_probability"], answer["confidence"]) == ("quay", 0.0, 1.0)


def test_a_row_that_is_no_pair_is_named(project: Path) -> None:
    Path("data/known.tsv").write_text("F\tf\nF AO\n")
    with pytest.raises(UserError, match=r"data/known\.tsv, line 2: 1 tab-separated columns.*--no-known"):
        load_known()
