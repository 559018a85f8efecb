"""Which sources are suggested, and how a file of them is read."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.annotation.pool import annotated, read_pool
from pipeline.annotation.suggest import choose, disagreement, suggest
from pipeline.config.options import Symbols
from pipeline.config.params import load_params
from pipeline.errors import UserError
from pipeline.prediction.predictor import Predictor
from pipeline.runs.groups import RunGroup
from tests.conftest import Call
from tests.support.small_project import make_project


def chosen(
    sources: list[str], count: int, values: object = 1.0, times: object = 1.0, known: Sequence[str] = ()
) -> list[str]:
    full = [np.broadcast_to(np.asarray(one, dtype=np.float64), len(sources)).copy() for one in (values, times)]
    return [sources[row] for row in choose(sources, full[0], full[1], known, Symbols.CHARACTERS, count)]


def test_the_most_valuable_comes_first() -> None:
    assert chosen(["ab", "cd", "ef"], 3, values=[1, 3, 2]) == ["cd", "ef", "ab"]


def test_two_alike_are_not_chosen_one_after_the_other() -> None:
    assert chosen(["banana", "bananas", "cherry"], 2, values=[3, 2, 2]) == ["banana", "cherry"]


def test_what_the_pairs_show_already_is_worth_less() -> None:
    assert chosen(["banana", "cherry"], 1, known=["bananas", "bandana"]) == ["cherry"]


def test_parts_that_occur_often_are_worth_more() -> None:
    assert chosen(["xyz", "abc"], 1, times=[1, 9]) == ["abc"]


def test_no_source_is_chosen_twice_and_none_beyond_the_last() -> None:
    assert sorted(chosen(["a", "b"], 9)) == ["a", "b"]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    make_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_annotated_sources_are_not_suggested(project: Path) -> None:
    predictor = Predictor.of_runs(RunGroup("tandem", (0, 1)))
    (project / "data/known.tsv").write_text("K\tk\n")
    known = annotated(load_params())
    assert known >= {"F AO", "K AO", "F", "F AO R K", "R AO", "R", "K"}
    found = suggest(predictor, {"F AO": 9, "K": 9, "AO F": 1, "AO K": 2}, known, 9, n_best=2)
    assert sorted(one.source for one in found) == ["AO F", "AO K"]
    assert {one.source: one.occurrences for one in found} == {"AO F": 1, "AO K": 2}
    assert {len(one.predictions) for one in found} == {2}


def test_seeds_that_write_the_same_do_not_disagree(project: Path) -> None:
    model = Predictor.of_runs(RunGroup("tandem", (0, 1))).model
    sources = ["F AO", "K AO F"]
    assert disagreement(model, sources).max() > 0
    same = replace(model, networks=(model.networks[0], model.networks[0]), _compiled={})
    assert disagreement(same, sources).tolist() == [0, 0]
    assert disagreement(replace(model, networks=model.networks[:1], _compiled={}), sources).tolist() == [0, 0]


def test_repeated_lines_and_counts_say_how_often_a_source_occurs(project: Path) -> None:
    predictor = Predictor.of_runs(RunGroup("tandem", (0,)))
    (project / "text").write_text("F AO\nK\nF  AO\n")
    (project / "counts").write_text("F AO\t2\nK\t1\n")
    assert read_pool(project / "text", predictor) == read_pool(project / "counts", predictor) == {"F AO": 2, "K": 1}
    (project / "pairs").write_text("F AO\tfor\nK\tk\n")
    with pytest.raises(UserError, match="has two columns, pairs"):
        read_pool(project / "pairs", predictor)


def test_the_sheet_is_written_to_a_file_that_does_not_exist(project: Path, call: Call) -> None:
    (project / "sources.txt").write_text("AO F\nAO K\nF AO\nK\x00\n")
    code, output, error = call("suggest", "--among", "sources.txt", "--count", "1", "--n-best", "2")
    assert (code, len(output.splitlines())) == (0, 2)
    assert "sources.txt, line 4 the string has the control character U+0000, so it is left out" in error
    code, _, _ = call("suggest", "--among", "sources.txt", "--output", "sheet.tsv")
    assert (code, len((project / "sheet.tsv").read_text().splitlines())) == (0, 3)
    code, _, error = call("suggest", "--among", "sources.txt", "--output", "sheet.tsv")
    assert (code, "sheet.tsv exists, and may have corrections in it" in error) == (2, True)
