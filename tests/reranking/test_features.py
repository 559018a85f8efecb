"""Features by hand, candidates that the search did not write, and files of both."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.config.options import Symbols
from pipeline.data.corpus import Corpus
from pipeline.data.examples import Example
from pipeline.data.prepared import Prepared, write_prepared
from pipeline.errors import UserError
from pipeline.model.inference import Hypothesis
from pipeline.reranking.features import FEATURES, FEATURES_METADATA, FILES, MODEL_RANGE, FeatureExtractor

PAIRS = [("vnd", "und"), ("vnd", "und"), ("vnd", "unt"), ("hus", "haus"), ("vns", "uns")]
LISTED = ["und", "uns", "unds", "haus", "haus", "hus", "maus", "uhr"]


@pytest.fixture
def prepared(tmp_path: Path) -> Prepared:
    examples = [Example(source, target) for source, target in PAIRS]
    corpus = Corpus(examples, examples[:1], examples[:1], LISTED, 0, None, "files")
    write_prepared(tmp_path / "prepared", corpus, Symbols.CHARACTERS, Symbols.CHARACTERS)
    return Prepared.open(tmp_path / "prepared")


def n_best(*texts: str) -> list[Hypothesis]:
    return [Hypothesis(text, -0.5 * place) for place, text in enumerate(texts, start=1)]


def features(extractor: FeatureExtractor, source: str, candidates: list[Hypothesis]) -> dict[str, Any]:
    found = extractor.features([source], [candidates])
    assert found.offsets.tolist() == [0, len(candidates)]
    return dict(zip(FEATURES, found.values.T.tolist(), strict=True))


def test_features_by_hand(prepared: Prepared) -> None:
    found = features(FeatureExtractor.learn(prepared, held_out=False), "vnd", n_best("und", "unt", "haus", "nd"))
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
    found = features(FeatureExtractor.learn(prepared, held_out=False), "hus", n_best("hus", "haus"))
    assert found["unchanged"] == [1, 0]
    assert found["edits"] == [0, 1]


def test_language_model_and_channel_prefer_what_is_plausible(prepared: Prepared) -> None:
    found = features(FeatureExtractor.learn(prepared, held_out=False), "vnd", n_best("und", "ddd", "maus"))
    assert found["language_model"][0] > found["language_model"][1]
    assert found["channel"][0] > found["channel"][1] > found["channel"][2]


def test_a_held_out_list_says_nothing_of_its_members(prepared: Prepared) -> None:
    extractor = FeatureExtractor.learn(prepared, held_out=True)
    assert features(extractor, "hus", n_best("haus", "hus"))["listed"] == [0, 0]
    assert extractor.further_candidates(["hus"], [n_best("huus")], 8) == [["haus"]]  # from the pairs


def test_features_without_the_list_are_those_of_a_held_out_one(prepared: Prepared) -> None:
    without = FeatureExtractor.learn(prepared, held_out=False).without_list()
    held_out = FeatureExtractor.learn(prepared, held_out=True)
    assert features(without, "vnd", n_best("und", "haus")) == features(held_out, "vnd", n_best("und", "haus"))
    given = ["vns"], [n_best("und")], 1
    assert without.further_candidates(*given) == held_out.further_candidates(*given)


def test_other_sources_in_the_call_change_nothing(prepared: Prepared) -> None:
    extractor = FeatureExtractor.learn(prepared, held_out=False)
    lists = [n_best("und", "unt"), n_best("haus"), n_best("maus", "uhr", "x?")]
    together = extractor.features(["vnd", "hus", "mvs"], lists)
    alone = [
        extractor.features([source], [row]).values for source, row in zip(["vnd", "hus", "mvs"], lists, strict=True)
    ]
    np.testing.assert_allclose(together.values, np.concatenate(alone), rtol=1e-6)


def test_unseen_symbols_and_empty_candidates_have_finite_features(prepared: Prepared) -> None:
    found = FeatureExtractor.learn(prepared, held_out=False).features(["Ω"], [n_best("", "�", "und")])
    assert np.isfinite(found.values).all()


def test_what_lies_far_below_the_best_is_all_the_same(prepared: Prepared) -> None:
    lists = [Hypothesis("und", -1.0), Hypothesis("unt", -40.0), Hypothesis("uhr", -np.inf)]
    found = features(FeatureExtractor.learn(prepared, held_out=False), "vnd", lists)
    assert found["log_probability"] == [-1, -1 - MODEL_RANGE, -1 - MODEL_RANGE]


def test_a_source_without_candidates_is_refused(prepared: Prepared) -> None:
    with pytest.raises(ValueError, match="source 1 has no candidate"):
        FeatureExtractor.learn(prepared, held_out=False).features(["vnd", "hus"], [n_best("und"), []])


def test_further_candidates_come_from_pairs_identity_and_the_list(prepared: Prepared) -> None:
    extractor = FeatureExtractor.learn(prepared, held_out=False)
    found = extractor.further_candidates(["vnd", "hus", "vnd"], [n_best("und"), n_best("has"), n_best("und")], 8)
    assert found[0] == found[2]
    assert set(found[0]) == {"unt", "uns", "unds", "uhr"}
    assert set(found[1]) == {"haus", "hus", "maus", "uns"}
    assert found[1][:2] == ["haus", "hus"]  # the pair, then the source


def test_listed_targets_near_any_candidate_are_candidates(prepared: Prepared) -> None:
    extractor = FeatureExtractor.learn(prepared, held_out=False)
    for first, near in (("und", True), ("mnopqrst", False)):  # not those that are far from the best
        [found] = extractor.further_candidates(["vns"], [n_best(first, "mauus")], 8)
        assert ("maus" in found) is near


def test_of_the_neighbours_those_by_which_the_channel_gives_the_source(prepared: Prepared) -> None:
    [found] = FeatureExtractor.learn(prepared, held_out=False).further_candidates(["vns"], [n_best("und")], count=1)
    assert found == ["uns"]


@pytest.mark.parametrize("held_out", [False, True])
def test_loaded_features_are_the_same_to_the_bit(prepared: Prepared, tmp_path: Path, held_out: bool) -> None:
    learned = FeatureExtractor.learn(prepared, held_out)
    learned.save(tmp_path / "features")
    loaded = FeatureExtractor.load(tmp_path / "features")
    sources, lists = ["vnd", "hus", "xy"], [n_best("und", "unt", "haus"), n_best("haus", ""), n_best("uhr")]
    here, there = (extractor.features(sources, lists) for extractor in (learned, loaded))
    np.testing.assert_array_equal(here.values, there.values)
    further = [extractor.further_candidates(sources, lists, 3) for extractor in (learned, loaded)]
    assert further[0] == further[1]


def test_the_same_features_are_saved_as_identical_bytes(prepared: Prepared, tmp_path: Path) -> None:
    for name in ("a", "b"):
        FeatureExtractor.learn(prepared, held_out=False).save(tmp_path / name)
    FeatureExtractor.load(tmp_path / "a").save(tmp_path / "c")
    for name in (*FILES, FEATURES_METADATA):
        assert len({(tmp_path / folder / name).read_bytes() for folder in ("a", "b", "c")}) == 1


@pytest.mark.parametrize("name", [*FILES, FEATURES_METADATA])
def test_a_changed_bit_or_missing_file_is_an_error(prepared: Prepared, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "features"
    FeatureExtractor.learn(prepared, held_out=False).save(folder)
    whole, rng = (folder / name).read_bytes(), np.random.default_rng(0)
    for place in rng.integers(0, len(whole) - 1, 40):  # the last byte is a line feed after JSON
        changed = bytearray(whole)
        changed[place] ^= 1 << rng.integers(8)
        (folder / name).write_bytes(changed)
        if name == FEATURES_METADATA and _same_json(bytes(changed), whole):
            continue
        with pytest.raises(UserError, match="features is missing or damaged"):
            FeatureExtractor.load(folder)
    (folder / name).unlink()
    with pytest.raises(UserError, match=r"features is missing or damaged .*: run `dvc repro features`"):
        FeatureExtractor.load(folder)


def _same_json(one: bytes, other: bytes) -> bool:
    """Whether only white space differs."""
    try:
        return bool(json.loads(one) == json.loads(other))
    except ValueError:
        return False
