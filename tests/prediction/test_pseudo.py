"""Pseudo-pairs: which sources a teacher predicts, and which of its predictions are kept."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.config.options import Symbols
from pipeline.config.params import Order
from pipeline.data.corpus import Corpus
from pipeline.data.examples import Example
from pipeline.data.prepared import Prepared, read_examples, write_prepared
from pipeline.errors import UserError
from pipeline.prediction.predictor import Predictor
from pipeline.prediction.pseudo import made_up_sources, sources_to_predict, write_pseudo_pairs
from tests.support.small_project import RUNS, make_project

PAIRS = [Example("thou", "du"), Example("thee", "dich"), Example("thine", "dein")]


def prepared_with(folder: Path, sources: tuple[str, ...]) -> Prepared:
    corpus = Corpus(PAIRS, PAIRS[:1], PAIRS[:1], ["du", "dich", "dein"], 0, None, "made up", sources=sources)
    write_prepared(folder, corpus, Symbols.CHARACTERS, Symbols.CHARACTERS)
    return Prepared.open(folder)


@pytest.fixture
def teacher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Predictor:
    make_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    return Predictor.of_runs(RUNS[1], Order.RERANK)


def test_each_unpaired_source_is_predicted_once_unless_the_pairs_say_its_target(tmp_path: Path) -> None:
    prepared = prepared_with(tmp_path, ("thyself", "thou", "the", "thyself"))
    assert sources_to_predict(prepared, seed=0) == ["thyself", "the"]


def test_without_unpaired_sources_some_are_made_up_as_the_pairs_write_them(tmp_path: Path) -> None:
    prepared = prepared_with(tmp_path, ())
    made_up = made_up_sources(prepared, 200, seed=0)
    assert len(made_up) == 200
    assert {"thou", "thee", "thine"} & set(made_up)
    assert made_up == made_up_sources(prepared, 200, seed=0)
    assert set(sources_to_predict(prepared, seed=0)).isdisjoint(example.source for example in PAIRS)


def test_predictions_become_pairs_where_the_teacher_is_sure_enough(teacher: Predictor, tmp_path: Path) -> None:
    sources = ["F AO", "R", "K AO R", "F F"]
    first = [row[0] for row in teacher.predict(sources)]
    limit = float(np.median([one.confidence for one in first]))
    count = write_pseudo_pairs(tmp_path / "new" / "pairs.tsv", teacher, sources, limit)
    pairs = read_examples(tmp_path / "new" / "pairs.tsv")
    assert [(pair.source, pair.target) for pair in pairs] == [
        (source, one.text) for source, one in zip(sources, first, strict=True) if one.confidence >= limit and one.text
    ]
    assert count == len(pairs) < len(sources)
    assert pairs[0] == Example("F AO", "for")


def test_a_teacher_that_is_never_sure_is_an_error(teacher: Predictor, tmp_path: Path) -> None:
    unsure = replace(teacher, reranker=replace(teacher.reranker, weights=(0.0,) * len(teacher.reranker.weights)))
    with pytest.raises(UserError, match=r"the teacher is nowhere as sure as 1\.0: lower `confidence` of the strategy"):
        write_pseudo_pairs(tmp_path / "pairs.tsv", unsure, ["F AO", "K AO R"], 1.0)
    assert not (tmp_path / "pairs.tsv").exists()
