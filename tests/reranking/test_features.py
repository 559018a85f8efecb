"""Evidence: features by hand, and candidates that the search did not write."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.config.options import Symbols
from pipeline.data.corpus import Corpus
from pipeline.data.examples import Example
from pipeline.data.prepared import Prepared, write_prepared
from pipeline.model.inference import Prediction
from pipeline.reranking.features import FEATURES, MODEL_RANGE, Evidence, merged

PAIRS = [("vnd", "und"), ("vnd", "und"), ("vnd", "unt"), ("hus", "haus"), ("vns", "uns")]
LISTED = ["und", "uns", "unds", "haus", "haus", "hus", "maus", "uhr"]


@pytest.fixture
def prepared(tmp_path: Path) -> Prepared:
    examples = [Example(source, target) for source, target in PAIRS]
    corpus = Corpus(examples, examples[:1], examples[:1], LISTED, 0, None, "files")
    write_prepared(tmp_path / "prepared", corpus, Symbols.CHARACTERS, Symbols.CHARACTERS)
    return Prepared.open(tmp_path / "prepared")


def n_best(*texts: str) -> list[Prediction]:
    return [Prediction(text, -0.5 * place) for place, text in enumerate(texts, start=1)]


def features(evidence: Evidence, source: str, candidates: list[Prediction]) -> dict[str, Any]:
    found = evidence.features([source], [candidates])
    assert found.offsets.tolist() == [0, len(candidates)]
    return dict(zip(FEATURES, found.values.T.tolist(), strict=True))


def test_features_by_hand(prepared: Prepared) -> None:
    found = features(Evidence.learn(prepared, held_out=False), "vnd", n_best("und", "unt", "haus", "nd"))
    assert found["log_probability"] == [-0.5, -1.0, -1.5, -2.0]
    assert found["log_probability_per_symbol"] == pytest.approx([-0.125, -0.25, -0.3, -2 / 3])
    assert found["listed"] == [1, 0, 1, 0]
    assert found["list_count"] == pytest.approx([0, 0, np.log(2), 0])
    assert found["trained"] == [1, 1, 1, 0]
    assert found["train_count"] == pytest.approx([np.log(2), 0, 0, 0])
    assert found["pair_count"] == pytest.approx([np.log(3), np.log(2), 0, 0])
    assert found["pair_share"] == pytest.approx([2 / 3, 1 / 3, 0, 0])
    assert found["edits"] == [1, 2, 4, 1]
    assert found["edits_per_symbol"] == pytest.approx([1 / 3, 2 / 3, 1, 1 / 3])
    assert found["unchanged"] == [0, 0, 0, 0]
    assert found["length"] == [3, 3, 4, 2]


def test_an_unchanged_source_is_told_apart(prepared: Prepared) -> None:
    found = features(Evidence.learn(prepared, held_out=False), "hus", n_best("hus", "haus"))
    assert found["unchanged"] == [1, 0]
    assert found["edits"] == [0, 1]


def test_language_model_and_channel_prefer_what_is_plausible(prepared: Prepared) -> None:
    found = features(Evidence.learn(prepared, held_out=False), "vnd", n_best("und", "ddd", "maus"))
    assert found["language_model"][0] > found["language_model"][1]
    assert found["channel"][0] > found["channel"][1] > found["channel"][2]


def test_a_held_out_list_says_nothing_of_its_members(prepared: Prepared) -> None:
    evidence = Evidence.learn(prepared, held_out=True)
    assert features(evidence, "hus", n_best("haus", "hus"))["listed"] == [0, 0]
    assert evidence.further_candidates(["hus"], [n_best("huus")]) == [["haus"]]  # from the pairs


def test_other_sources_in_the_call_change_nothing(prepared: Prepared) -> None:
    evidence = Evidence.learn(prepared, held_out=False)
    lists = [n_best("und", "unt"), n_best("haus"), n_best("maus", "uhr", "x?")]
    together = evidence.features(["vnd", "hus", "mvs"], lists)
    alone = [
        evidence.features([source], [row]).values for source, row in zip(["vnd", "hus", "mvs"], lists, strict=True)
    ]
    np.testing.assert_allclose(together.values, np.concatenate(alone), rtol=1e-6)


def test_unseen_symbols_and_empty_candidates_have_finite_features(prepared: Prepared) -> None:
    found = Evidence.learn(prepared, held_out=False).features(["Ω"], [n_best("", "�", "und")])
    assert np.isfinite(found.values).all()


def test_what_lies_far_below_the_best_is_all_the_same(prepared: Prepared) -> None:
    lists = [Prediction("und", -1.0), Prediction("unt", -40.0), Prediction("uhr", -np.inf)]
    found = features(Evidence.learn(prepared, held_out=False), "vnd", lists)
    assert found["log_probability"] == [-1, -1 - MODEL_RANGE, -1 - MODEL_RANGE]


def test_a_source_without_candidates_is_refused(prepared: Prepared) -> None:
    with pytest.raises(ValueError, match="source 1 has no candidate"):
        Evidence.learn(prepared, held_out=False).features(["vnd", "hus"], [n_best("und"), []])


def test_further_candidates_come_from_pairs_identity_and_the_list(prepared: Prepared) -> None:
    evidence = Evidence.learn(prepared, held_out=False)
    found = evidence.further_candidates(["vnd", "hus", "vnd"], [n_best("und"), n_best("has"), n_best("und")])
    assert found[0] == found[2]
    assert set(found[0]) == {"unt", "uns", "unds", "uhr"}
    assert set(found[1]) == {"haus", "hus", "maus", "uns"}
    assert found[1][:2] == ["haus", "hus"]  # the pair, then the source


def test_of_the_neighbours_those_by_which_the_channel_gives_the_source(prepared: Prepared) -> None:
    [found] = Evidence.learn(prepared, held_out=False).further_candidates(["vns"], [n_best("und")], count=1)
    assert found == ["uns"]


def test_merged_lists_are_in_the_order_of_the_network() -> None:
    lists = merged([n_best("a", "b"), n_best("c")], [["d"], ["e", "f"]], [-0.7, -0.1, -9.0])
    assert [[candidate.text for candidate in row] for row in lists] == [["a", "d", "b"], ["e", "c", "f"]]
