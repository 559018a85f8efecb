"""Hard negatives, batches, the loss by hand, measures by hand, and that a matcher learns."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from pipeline.config.options import Symbols
from pipeline.data.corpus import Corpus
from pipeline.data.examples import Example
from pipeline.data.prepared import Prepared, write_prepared
from pipeline.errors import UserError
from pipeline.matcher import training as matching
from pipeline.matcher.negatives import Hard, Negatives, all_of, edit_neighbours, wrong_candidates
from pipeline.matcher.network import Matcher, Vectors
from pipeline.matcher.training import (
    MatchingData,
    MatchingStream,
    calibrate,
    contrastive_loss,
    matcher_loop,
    retrieval,
    right_ranks,
    separation,
)
from pipeline.model.inference import TrainedModel
from pipeline.model.network import Network, Sizes
from tests.conftest import small_model
from tests.matcher.test_network import LETTERS, PHONEMES, new_matcher, similarities, small_settings, strings


def pairs(targets: list[str]) -> list[Example]:
    """A toy task: every letter stands for a phoneme, k and B for the same one."""
    sounds = {"B": "K", "b": "B", "e": "EH", "k": "K", "t": "T"}
    return [Example(" ".join(sounds[letter] for letter in target), target) for target in targets]


def neighbours(examples: list[Example], targets: list[str], count: int, seed: int = 0) -> list[list[str]]:
    return edit_neighbours(examples, targets, count, Symbols.CHARACTERS, np.random.default_rng(seed))


def test_edit_neighbours_are_the_closest_targets_that_are_not_accepted() -> None:
    example = Example("K AE T", "cat", ("kat",))
    targets = ["cat", "kat", "cart", "tapir", "ca", "bat", "cat"]
    assert set(neighbours([example], targets, 3)[0]) == {"cart", "ca", "bat"}
    assert neighbours([example], targets, 9)[0][3:] == ["tapir"]  # fewer than asked for
    assert neighbours([example], ["cat"], 2) == [[]]
    assert neighbours([example], targets, 0) == [[]]


def test_all_targets_of_a_source_are_right_in_each_of_its_examples() -> None:
    examples = [Example("EY M Z", "aims"), Example("EY M Z", "ames")]
    assert neighbours(examples, ["aims", "ames", "arms"], 5) == [["arms"], ["arms"]]


def test_edit_distance_counts_symbols_where_spaces_part_them() -> None:
    targets = ["long", "b c"]  # one substitution; two insertions
    found = edit_neighbours([Example("x", "a")], targets, 1, Symbols.SPACES, np.random.default_rng(0))
    assert found == [["long"]]


def test_the_same_seed_draws_the_same_neighbours() -> None:
    examples, targets = pairs(strings(20, 1)), strings(300, 2)
    assert neighbours(examples, targets, 4) == neighbours(examples, targets, 4)


def test_wrong_candidates_are_predictions_that_are_not_accepted() -> None:
    keras.utils.set_random_seed(0)
    network = Network(small_model(), Sizes(len(PHONEMES), len(LETTERS), 4))
    predictor = TrainedModel((network,), PHONEMES, LETTERS)
    written = [found.text for found in predictor.predict(["B EH T"], 4)[0]]
    (wrong,) = wrong_candidates([Example("B EH T", written[1], (written[2],))], predictor, 4)
    assert wrong == [written[0], written[3]]
    assert wrong_candidates([Example("B EH T", "bet")], predictor, 0) == [[]]


def stream(examples: list[Example], hard: list[list[str]], **changes: Any) -> MatchingStream:
    numbers = {"batch_size": 4, "negatives": 2, "seed": 0} | changes
    return MatchingStream(new_matcher(source=PHONEMES), examples, hard, **numbers)


def test_a_batch_is_sources_their_targets_and_their_wrong_targets() -> None:
    examples = [Example("B", "b"), Example("EH", "e"), Example("K", "k"), Example("T", "t")]
    ids, wrong = stream(examples, [["bb"], ["ee"], ["kk"], []])[0]
    assert ids.shape == (4 + 4 + 8, 4)  # START, two symbols, END
    sources, targets = ids[:4, 1].tolist(), ids[4:8, 1].tolist()
    assert sorted(sources) == [4, 5, 6, 7]
    letter = {4: 9, 5: 10, 6: 11, 7: 12}  # ids of b, e, k, t by those of B, EH, K, T; 8 is the letter B
    assert targets == [letter[source] for source in sources]
    for row, target in enumerate(targets):
        if target != 12:  # t has no wrong targets of its own
            assert ids[8 + 2 * row : 10 + 2 * row, 1:3].tolist() == [[target, target]] * 2
    assert wrong.shape == (4, 12)
    assert not wrong[np.arange(4), np.arange(4)].any()


def test_what_is_accepted_is_never_wrong_in_a_batch() -> None:
    examples = [Example("B", "b"), Example("B", "bb"), Example("K", "k", ("kk",)), Example("T", "t")]
    _, wrong = stream(examples, [["e"], ["e"], ["e"], ["kk"]])[0]
    # Wrong for each B are k, t and all 8 drawn; for K b, bb, t and 6 drawn, not the two kk; for T b, bb, k and all 8.
    assert sorted(wrong.sum(axis=1)) == [3 + 6, 2 + 8, 2 + 8, 3 + 8]


def test_batch_k_depends_on_seed_and_k_alone() -> None:
    examples, hard = pairs(strings(30, 1)), [strings(5, seed) for seed in range(30)]
    one, two = stream(examples, hard), stream(examples, hard)
    later = two[7]
    for expected, found in zip(one[3], two[3], strict=True):
        np.testing.assert_array_equal(expected, found)
    assert later[0].shape != one[3][0].shape or (later[0] != one[3][0]).any()


def test_the_loss_by_hand() -> None:
    logits = tf.math.log([[4.0, 2.0, 3.0], [1.0, 6.0, 9.0]])
    wrong = tf.constant([[False, True, True], [True, False, False]])  # the last target is right for source 1 as well
    targets = (-math.log(4 / 9) - math.log(6 / 7)) / 2
    sources = (-math.log(4 / 5) - math.log(6 / 8)) / 2
    assert float(contrastive_loss(logits, wrong)) == pytest.approx(targets + sources)


class Fixed(Matcher):
    """A matcher whose embeddings are looked up."""

    def __init__(self, vectors: dict[str, list[float]]) -> None:
        super().__init__(small_settings(), LETTERS, LETTERS)
        self.vectors = vectors

    def embed_sources(self, sources: Sequence[str]) -> Vectors:
        return np.array([self.vectors[source] for source in sources], dtype=np.float32).reshape(-1, 2)

    def embed_targets(self, targets: Sequence[str]) -> Vectors:
        return self.embed_sources(targets)


# Cosines with "b": 1.0, 0.8, 0.6, 0.0.
VECTORS = {"b": [1.0, 0.0], "bb": [1.0, 0.0], "e": [0.8, 0.6], "k": [0.6, 0.8], "t": [0.0, 1.0]}


def test_ranks_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    matcher = Fixed(VECTORS)
    examples = [Example("b", "e"), Example("b", "t", ("k",)), Example("b", "bb")]
    targets = ["e", "k", "t", "bb", "e"]
    assert right_ranks(matcher, examples, targets).tolist() == [2, 3, 1]
    assert right_ranks(matcher, [Example("b", "bb")], ["b", "bb"]).tolist() == [2]  # an equal one stands before it
    monkeypatch.setattr(matching, "CELLS_AT_ONCE", 2 * len(set(targets)))  # two sources, then one
    assert right_ranks(matcher, examples, targets).tolist() == [2, 3, 1]
    by_hand = {"mean_reciprocal_rank": (1 / 2 + 1 / 3 + 1) / 3, "recall_at_1": 1 / 3, "recall_at_5": 1}
    assert retrieval(matcher, examples, targets) == pytest.approx(by_hand)


def negatives_of(neighbours: Hard, candidates: Hard) -> Negatives:
    return {"neighbours": neighbours, "candidates": candidates}


def test_areas_by_hand() -> None:
    # True: 0.8 and 0.0. Wrong: neighbours 0.6 and 1.0, a candidate 0.0.
    negatives = negatives_of([["k"], ["bb"]], [[], ["t"]])
    areas = separation(Fixed(VECTORS), [Example("b", "e"), Example("b", "t")], negatives)
    assert areas == pytest.approx({"roc_auc": 2.5 / 6, "roc_auc_neighbours": 1 / 4, "roc_auc_candidates": 1.5 / 2})
    none = negatives_of([["k"], ["bb"]], [[], []])
    assert "roc_auc_candidates" not in separation(Fixed(VECTORS), [Example("b", "e"), Example("b", "t")], none)


def test_calibrated_similarities_are_probabilities_and_keep_the_order() -> None:
    matcher = Fixed(VECTORS)
    examples = [Example("b", "bb"), Example("b", "bb"), Example("b", "bb"), Example("b", "t")]
    # At cosine 1 three of four true pairs and one of four wrong ones, at cosine 0 the reverse.
    calibrate(matcher, examples, negatives_of([["bb"], ["t"], ["t"], ["t"]], [[]] * 4))
    np.testing.assert_allclose(similarities(matcher, ["b", "b"], ["bb", "t"]), [0.75, 0.25], atol=1e-3)


def trained(encoder: str, seed: int = 0, steps: int = 60, **changes: Any) -> tuple[Matcher, list[Any], float]:
    tf.config.experimental.enable_op_determinism()
    settings = small_settings(
        encoder=encoder, units=32, embedding=32, steps=steps, evaluate_every=20, learning_rate=0.01, dropout=0.1,
        **changes,
    )  # fmt: skip
    keras.utils.set_random_seed(seed)
    matcher = Matcher(settings, PHONEMES, LETTERS)
    targets = list(dict.fromkeys(word.replace("B", "b") for word in strings(400, 1)))
    train, dev = pairs(targets[:150]), pairs(targets[150:200])
    hard = neighbours(train, targets[:150], 5)
    batches = MatchingStream(matcher, train, hard, 32, 2, seed)
    loop = matcher_loop(matcher, batches, settings, lambda: retrieval(matcher, dev, targets)["mean_reciprocal_rank"])
    rows = [evaluation for evaluation in loop if evaluation]
    return matcher, rows, retrieval(matcher, dev, targets)["recall_at_5"]


@pytest.mark.parametrize("encoder", ["lstm", "conv"])
def test_a_matcher_learns_in_seconds(encoder: str) -> None:
    _, _, recall = trained(encoder, steps=160)
    assert recall > 0.9


@pytest.mark.parametrize("encoder", [pytest.param("lstm", marks=pytest.mark.slow), "conv"])
def test_the_same_seed_gives_the_same_weights_and_history(encoder: str) -> None:
    (one, first, _), (two, second, _) = trained(encoder, 3, 20), trained(encoder, 3, 20)
    assert first == second
    for expected, found in zip(one.siamese.get_weights(), two.siamese.get_weights(), strict=True):
        np.testing.assert_array_equal(expected, found)


def watched(scores: list[float], **changes: Any) -> tuple[Matcher, list[list[Any]], list[int]]:
    settings = small_settings(evaluate_every=1, steps=9, **changes)
    matcher = Matcher(settings, PHONEMES, LETTERS)
    examples = pairs(strings(8, 1))
    kept: list[list[Any]] = []
    left = iter(scores)

    def evaluate() -> float:
        kept.append(matcher.siamese.get_weights())
        return next(left)

    batches = MatchingStream(matcher, examples, [[] for _ in examples], 4, 1, 0)
    loop = matcher_loop(matcher, batches, settings, evaluate)
    return matcher, kept, [loop.progress.best_step for evaluation in loop if evaluation]


def test_training_stops_after_patience_and_keeps_the_best_weights() -> None:
    matcher, kept, best_steps = watched([0.1, 0.5, 0.4, 0.3, 0.9], patience=2)
    assert best_steps == [1, 2, 2, 2]
    for expected, found in zip(kept[1], matcher.siamese.get_weights(), strict=True):
        np.testing.assert_array_equal(expected, found)


def test_a_loss_that_is_not_a_number_says_what_to_lower() -> None:
    matcher = new_matcher(source=PHONEMES)
    matcher.similarity.log_scale.assign(math.nan)
    examples = pairs(strings(8, 1))
    batches = MatchingStream(matcher, examples, [[] for _ in examples], 4, 1, 0)
    with pytest.raises(UserError, match=r"became nan at step 1: lower matcher\.learning_rate"):
        next(iter(matcher_loop(matcher, batches, small_settings(), lambda: 0.0)))


def test_the_history_of_a_matcher_has_the_columns_of_every_training() -> None:
    _, (row,), _ = trained("conv", steps=20)
    assert set(row) == {"step", "loss_paired", "dev_mean_reciprocal_rank", "learning_rate", "gradient_norm"}


def made_up(folder: Path) -> Prepared:
    examples = pairs([word.replace("B", "b") for word in strings(12, 1)])
    corpus = Corpus(examples[:8], examples[8:10], examples[10:], strings(9, 2), 0, None, "made up")
    write_prepared(folder, corpus, Symbols.SPACES, Symbols.CHARACTERS)
    return Prepared.open(folder)


def test_of_many_unpaired_targets_a_sample_is_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared = made_up(tmp_path)
    sizes = Sizes(len(prepared.source_alphabet), len(prepared.target_alphabet), 4)
    predictor = TrainedModel((Network(small_model(), sizes),), prepared.source_alphabet, prepared.target_alphabet)
    settings = small_settings(candidates=0, neighbours=2)
    everything = MatchingData.collect(prepared, predictor, settings, seed=0)
    assert sorted(everything.unpaired) == sorted(strings(9, 2))
    assert [len(all_of(everything.negatives[split])) for split in ("train", "dev", "test")] == [8, 2, 2]
    monkeypatch.setattr(matching, "METRIC_TARGETS", 4)
    sample = MatchingData.collect(prepared, predictor, settings, seed=0).unpaired
    assert len(sample) == 4
    assert set(sample) <= set(everything.unpaired)
