"""Alignments of predictions: every source symbol once and in order, whatever the output is and whoever wrote it."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.params import Decoding, Order
from pipeline.data.alphabet import save_alphabets
from pipeline.data.prepared import Prepared
from pipeline.errors import UserError
from pipeline.model.inference import TrainedModel
from pipeline.model.network import Network, Sizes, save_network
from pipeline.prediction.alignments import EDITS, Aligner, Pieces, as_text
from pipeline.prediction.bundle import write_bundle
from pipeline.prediction.predictor import Predictor
from pipeline.reranking.reranker import RankedPrediction
from tests.conftest import small_model
from tests.support.small_project import RUNS, make_project
from tests.support.untrained import SOURCES, swapped_words

GREEDY = Decoding(order=Order.GREEDY, beam_width=1, neighbours=0, ensemble=False, seed=0)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """Words of a to d; a source writes d for a and a for d."""
    return swapped_words(tmp_path_factory.mktemp("prepared"))


@pytest.fixture(scope="module")
def aligner(prepared: Prepared) -> Aligner:
    return Aligner(prepared.source_alphabet, prepared.target_alphabet, prepared.alignment.edits)


def assert_whole(source: Sequence[str], output: Sequence[str], pieces: Pieces) -> None:
    assert len(pieces) == len(output)
    assert [place for piece in pieces for place in piece] == list(range(len(source) if output else 0))


def test_symbols_are_aligned_as_the_pairs_write_them(aligner: Aligner) -> None:
    assert aligner.align(["dbca", "ad"], ["abcd", "da"]) == [[[0], [1], [2], [3]], [[0], [1]]]
    assert aligner.align(["bc"], ["bac"]) == [[[0], [], [1]]]
    assert aligner.align(["bac"], ["bd"]) == [[[0], [1, 2]]]


@given(st.lists(st.tuples(st.text("abcdé\u0301 ", min_size=1, max_size=8), st.text("abcdx\N{CAT FACE}", max_size=8))))
def test_every_source_symbol_is_of_one_output_symbol_and_in_order(
    aligner: Aligner, pairs: list[tuple[str, str]]
) -> None:
    aligned = aligner.align([source for source, _ in pairs], [output for _, output in pairs])
    for (source, output), pieces in zip(pairs, aligned, strict=True):
        assert_whole(source, output, pieces)
        assert [pieces] == aligner.align([source], [output])  # alone as among others


@pytest.mark.parametrize("bridge", ["vector", "attention", "monotonic"])
def test_every_prediction_has_an_alignment_whatever_the_bridge(
    prepared: Prepared, aligner: Aligner, tmp_path: Path, bridge: str
) -> None:
    sizes = Sizes(len(prepared.source_alphabet), len(prepared.target_alphabet), 6)
    save_network(Network(small_model(bridge=bridge), sizes), tmp_path)
    save_alphabets(tmp_path, prepared.source_alphabet, prepared.target_alphabet)
    predictor = Predictor(TrainedModel.load(tmp_path), GREEDY, aligner=aligner)
    ranked = predictor.predict(SOURCES, predictor.options(Order.BEAM, n_best=3))
    never_written = RankedPrediction("dcbad", -50.0, 0.0)
    lists = [[*row, never_written] for row in ranked]
    for source, row, aligned in zip(SOURCES, lists, predictor.alignments(SOURCES, lists), strict=True):
        for one, pieces in zip(row, aligned, strict=True):
            assert_whole(source, one.text, pieces)


@pytest.mark.parametrize("order", list(Order))
def test_a_bundle_aligns_the_normal_form_as_its_project_in_every_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, order: Order
) -> None:
    make_project(tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    sources, ranked = [" F  AO R\nK", "K"], [[RankedPrediction("fork", -1.0, 0.5)], []]
    alignments = Predictor.of_runs(RUNS[-1], order).alignments(sources, ranked)
    assert alignments == [[[[0], [1], [2], [3]]], []]
    write_bundle(tmp_path / "bundle", RUNS[-1])
    monkeypatch.chdir(tmp_path)
    assert Predictor.load(tmp_path / "bundle", order).alignments(sources, ranked) == alignments


def test_edits_that_are_damaged_or_of_other_alphabets_are_named(
    prepared: Prepared, aligner: Aligner, tmp_path: Path
) -> None:
    load = Aligner.load
    aligner.save(tmp_path)
    loaded = load(tmp_path, aligner.source, aligner.target)
    assert all(
        np.array_equal(ours, theirs)
        for ours, theirs in zip(vars(loaded.edits).values(), vars(aligner.edits).values(), strict=True)
    )
    with pytest.raises(UserError, match=r"edits\.npz is damaged \(its edits are those of other alphabets\)"):
        load(tmp_path, aligner.source, replace(aligner.target, symbols=("a",)))
    (tmp_path / EDITS).write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"edits\.npz is damaged"):
        load(tmp_path, aligner.source, aligner.target)


def test_as_text_each_symbol_stands_before_its_source_symbols() -> None:
    assert as_text(["B", "AA", "K", "S"], "box", [[0], [1], [2, 3]]) == "b=B o=AA x=K+S"
    assert as_text(["N"], "ne", [[0], []]) == "n=N e="
    assert as_text(["N"], "", []) == ""


def test_a_separator_in_a_symbol_is_encoded_and_a_letter_of_any_script_is_not() -> None:
    assert as_text(["+", " ", "\u200b", "ش"], "=%é", [[0, 1], [2], [3]]) == "%3D=%2B+%20 %25=%E2%80%8B é=ش"
