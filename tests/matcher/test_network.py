"""The laws of the siamese model: symmetry to the bit, range, padding, any trunk, files, and the index."""

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from pydantic import TypeAdapter
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.config import params as config
from pipeline.config.options import Symbols
from pipeline.data.alphabet import Alphabet
from pipeline.errors import UserError
from pipeline.matcher.network import SETTINGS, WEIGHTS, Index, JointAlphabet, Matcher, Vectors, build_siamese, closed
from tests.conftest import shipped_params

PHONEMES = Alphabet(Symbols.SPACES, ("B", "EH", "K", "T"))
LETTERS = Alphabet(Symbols.CHARACTERS, tuple("Bbekt"))
ENCODERS = ["lstm", "conv"]


def small_settings(**changes: Any) -> config.Matcher:
    """The shipped matcher with few units and no dropout."""
    small = {"projection": 8, "units": 12, "embedding": 10, "dropout": 0.0}
    return TypeAdapter(config.Matcher).validate_json(json.dumps(shipped_params()["matcher"] | small | changes))


def new_matcher(encoder: str = "conv", seed: int = 0, source: Alphabet = LETTERS, **changes: Any) -> Matcher:
    keras.utils.set_random_seed(seed)
    return Matcher(small_settings(encoder=encoder, **changes), source, LETTERS)


def similarities(matcher: Matcher, sources: list[str], targets: list[str]) -> Vectors:
    """Of source i and target i."""
    return matcher.similarity(matcher.embed_sources(sources), matcher.embed_targets(targets)).numpy()


def strings(count: int, seed: int = 0, longest: int = 9) -> list[str]:
    rng = np.random.default_rng(seed)
    return ["".join(rng.choice(list("Bbekt"), rng.integers(1, longest + 1))) for _ in range(count)]


def image_trunk() -> keras.Model:
    image = keras.Input((9, 9, 3))
    features = keras.layers.Conv2D(4, 3, activation="relu")(image)
    return keras.Model(image, keras.layers.SeparableConv2D(6, 3, strides=2)(features))


def images(count: int) -> tf.Tensor:
    return tf.random.stateless_normal((count, 9, 9, 3), seed=(count, 1))


def assert_symmetric_and_in_range(siamese: keras.Model, left: tf.Tensor, right: tf.Tensor) -> None:
    """To the bit, called at once, compiled, and one by one."""
    for score in (siamese, tf.function(siamese), tf.function(siamese, jit_compile=True), siamese.predict_on_batch):
        there, back = np.array(score([left, right])), np.array(score([right, left]))
        np.testing.assert_array_equal(there, back)
        assert there.shape == (len(left),)
        assert ((there >= 0.0) & (there <= 1.0)).all()
    for row in range(3):
        one, other = left[row : row + 1], right[row : row + 1]
        np.testing.assert_array_equal(siamese([one, other]), siamese([other, one]))


def test_an_image_network_serves_as_trunk_for_two_images() -> None:
    siamese = build_siamese(image_trunk())
    assert_symmetric_and_in_range(siamese, images(20), images(21)[:20])


@pytest.mark.parametrize("encoder", ENCODERS)
def test_the_score_of_two_strings_is_symmetric_to_the_bit(encoder: str) -> None:
    matcher = new_matcher(encoder, units=48, embedding=33)
    left, right = (matcher.alphabet.targets(strings(70, seed)) for seed in (1, 2))
    rows = np.arange(70)
    assert_symmetric_and_in_range(matcher.siamese, tf.constant(closed(left, rows)), tf.constant(closed(right, rows)))


@pytest.mark.parametrize("encoder", ENCODERS)
def test_similarities_of_lists_are_symmetric_to_the_bit(encoder: str) -> None:
    matcher, one, other = new_matcher(encoder), strings(600, 1), strings(600, 2)
    there = similarities(matcher, one, other)
    assert there.dtype == np.float32
    np.testing.assert_array_equal(there, similarities(matcher, other, one))


def test_similarities_are_those_of_the_siamese_model() -> None:
    matcher, one, other = new_matcher(), strings(50, 1), strings(50, 2)
    rows = np.arange(50)
    ids = [closed(matcher.alphabet.sources(one), rows), closed(matcher.alphabet.targets(other), rows)]
    np.testing.assert_allclose(similarities(matcher, one, other), matcher.siamese(ids), atol=1e-6)


def test_both_inputs_go_through_one_trunk_whose_weights_count_once() -> None:
    trunk = image_trunk()
    siamese = build_siamese(trunk)
    assert sum(layer is trunk for layer in siamese.layers) == 1
    assert siamese.count_params() == trunk.count_params() + 2  # scale and shift


def test_sharing_survives_a_file_of_keras_own_format(tmp_path: Path) -> None:
    before = build_siamese(image_trunk())
    before.save(tmp_path / "siamese.keras")
    after = keras.models.load_model(tmp_path / "siamese.keras")
    pair = [images(4), images(5)[:4]]
    np.testing.assert_array_equal(before(pair), after(pair))
    assert after.count_params() == before.count_params()


def test_similarity_by_hand() -> None:
    siamese = build_siamese(keras.Sequential([keras.Input((2,)), keras.layers.Identity()]))
    layer = siamese.get_layer("similarity")
    layer.log_scale.assign(np.log(2.0))
    layer.shift.assign(-1.0)
    similarities = siamese([tf.constant([[3.0, 4.0], [1.0, 0.0]]), tf.constant([[30.0, 40.0], [0.0, 5.0]])])
    np.testing.assert_allclose(similarities, [1 / (1 + np.exp(-1)), 1 / (1 + np.exp(1))], rtol=1e-6)  # cosines 1 and 0


@pytest.mark.parametrize("encoder", ENCODERS)
def test_padding_never_changes_an_embedding(encoder: str) -> None:
    matcher = new_matcher(encoder)
    alone = matcher.embed_targets(["bet"])
    ids = closed(matcher.alphabet.targets(["bet"]), np.array([0]))
    wide = matcher.similarity.direction(matcher.trunk(np.pad(ids, ((0, 0), (0, 7)))))
    np.testing.assert_allclose(alone, wide, atol=1e-6)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_an_empty_string_and_unseen_symbols_have_a_similarity_too(encoder: str) -> None:
    every = similarities(new_matcher(encoder), ["", "b", "日本"], ["b", "", "bet"])
    assert np.isfinite(every).all()


def test_symbols_of_sides_that_split_alike_are_one_and_others_are_not() -> None:
    alike = JointAlphabet(Alphabet(Symbols.CHARACTERS, ("b", "ſ")), LETTERS)
    assert len(alike) == 4 + 2 + 4  # of B b e k t, all but b are new
    assert alike.sources(["b"]).ids[0] == alike.targets(["b"]).ids[0]
    apart = JointAlphabet(PHONEMES, LETTERS)
    assert len(apart) == 4 + 4 + 5
    assert apart.sources(["B EH T"]).ids.tolist() == [4, 5, 7]
    assert apart.targets(["Bet"]).ids.tolist() == [8, 10, 12]


def test_unseen_symbols_of_either_side_are_unknown() -> None:
    alphabet = JointAlphabet(PHONEMES, LETTERS)
    assert alphabet.sources(["B ZH"]).ids[1] == alphabet.targets(["bx"]).ids[1] == 3


@pytest.mark.parametrize("encoder", ENCODERS)
def test_a_saved_matcher_loads_with_equal_embeddings_and_bytes(tmp_path: Path, encoder: str) -> None:
    before = new_matcher(encoder, source=PHONEMES)
    for name in ("one", "two"):
        before.save(tmp_path / name)
    after = Matcher.load(tmp_path / "one")
    np.testing.assert_array_equal(before.embed_sources(["B EH T"]), after.embed_sources(["B EH T"]))
    np.testing.assert_array_equal(similarities(before, ["B"], ["bet"]), similarities(after, ["B"], ["bet"]))
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


@pytest.mark.parametrize("name", [SETTINGS, WEIGHTS])
def test_a_damaged_folder_says_what_to_do(tmp_path: Path, name: str) -> None:
    new_matcher().save(tmp_path)
    (tmp_path / name).write_bytes(b"nonsense")
    with pytest.raises(UserError, match="run `dvc repro matcher`"):
        Matcher.load(tmp_path)


def test_an_index_finds_what_comparing_every_pair_finds() -> None:
    matcher, targets, sources = new_matcher(), sorted(set(strings(900, 1))), strings(130, 2)
    index = Index(matcher, targets)
    for source, matches in zip(sources, index.search(sources, top=7), strict=True):
        every = similarities(matcher, [source] * len(targets), targets)
        np.testing.assert_allclose([match.similarity for match in matches], np.sort(every)[::-1][:7], atol=1e-6)
        own = similarities(matcher, [source] * 7, [match.target for match in matches])
        np.testing.assert_allclose([match.similarity for match in matches], own, atol=1e-6)


def test_an_index_holds_equal_targets_once_and_gives_no_more_than_it_has() -> None:
    index = Index(new_matcher(), ["bet", "tek", "bet"])
    (matches,) = index.search(["bet"], top=5)
    assert [match.target for match in matches] == ["bet", "tek"]
    assert matches[0].similarity == pytest.approx(1 / (1 + np.exp(-5)))  # cosine 1, scale 10, shift -5
    assert Index(new_matcher(), []).search(["bet"], top=5) == [[]]


def test_targets_that_tie_keep_the_order_of_the_list() -> None:
    targets = ["x", "bet", "y", "z"]  # three unknown symbols have the same embedding
    (matches,) = Index(new_matcher(), targets).search(["q"], top=2)
    assert [match.target for match in matches] == ["x", "y"]


def test_tandem_match_prints_the_best_of_a_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    new_matcher().save(Path("models/matcher"))
    Path("list.txt").write_text("tek\nbet\nkeb\n")
    result = CliRunner().invoke(app, ["match", "bet", "--among", "list.txt", "--top", "2"])
    header, first, second = result.stdout.splitlines()
    assert header == "source\trank\ttarget\tsimilarity\tunknown"
    assert first == "bet\t1\tbet\t0.9933\t"
    assert second.startswith("bet\t2\t")


def test_an_lstm_needs_an_even_number_of_units() -> None:
    with pytest.raises(ValueError, match="must be even"):
        small_settings(encoder="lstm", units=11)
