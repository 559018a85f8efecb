"""The laws of training steps and of the loop: which batch may change which part, masks, stopping, best weights."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.config.options import Symbols
from pipeline.config.params import Model
from pipeline.data.alphabet import Alphabet
from pipeline.data.store import StringStore
from pipeline.errors import UserError
from pipeline.model.backend import keras, tf
from pipeline.model.network import Network, Sizes, load_network, save_network
from pipeline.model.search import decode, greedy_search
from pipeline.runs.folders import Row
from pipeline.training.batches import Batch, BatchStream
from pipeline.training.loop import (
    Progress,
    Score,
    TrainingLoop,
    TrainingSteps,
    learning_rate,
    masked_cross_entropy,
)
from pipeline.training.strategies import Phase, Task
from tests.conftest import quick_training, small_model

TOY = Alphabet(Symbols.CHARACTERS, tuple("abcd"))
SIZES = Sizes(len(TOY), len(TOY), 8)


def toy_strings(count: int, seed: int, longest: int = 4) -> list[str]:
    rng = np.random.default_rng(seed)
    return ["".join(rng.choice(list("abcd"), size=rng.integers(1, longest + 1))) for _ in range(count)]


def toy_stream(count: int = 50, seed: int = 0, change: Callable[[str], str] = str) -> BatchStream:
    targets = toy_strings(count, seed)
    sources = [change(target) for target in targets]
    return BatchStream(StringStore.of(sources, TOY), StringStore.of(targets, TOY), 16, seed)


def new_network(seed: int = 0, model: Model | None = None) -> Network:
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    return Network(model or small_model(), SIZES)


def weights(network: Network) -> dict[str, list[Any]]:
    return {name: getattr(network, name).get_weights() for name in ("encoder_a", "encoder_b", "decoder")}


def changed_parts(network: Network, task: Task, batch: Batch) -> set[str]:
    steps = TrainingSteps(network, quick_training())
    before = weights(network)
    steps(task, batch.source_ids, batch.target_ids, 0.01)
    after = weights(network)
    return {
        name
        for name in before
        if any(not np.array_equal(old, new) for old, new in zip(before[name], after[name], strict=True))
    }


VECTOR = {"decoder": "repeat", "bridge": "vector"}
FAMILIES: list[dict[str, Any]] = [
    VECTOR,
    {"decoder": "autoregressive", "bridge": "vector"},
    {"decoder": "autoregressive", "bridge": "attention"},
    {"decoder": "autoregressive", "bridge": "monotonic"},
]


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("task", "parts"),
    [
        (Task.PAIRED, {"encoder_a", "decoder"}),
        (Task.SYNTHETIC, {"encoder_a", "decoder"}),
        (Task.PSEUDO, {"encoder_a", "decoder"}),
        (Task.AUTOENCODE, {"encoder_b", "decoder"}),
        (Task.FROZEN_DECODER, {"encoder_a"}),
    ],
)
def test_a_batch_changes_the_parts_of_its_task_and_no_other_bit(
    task: Task, parts: set[str], family: dict[str, Any]
) -> None:
    network = new_network(model=small_model(tie_weights=False, **family))
    assert changed_parts(network, task, toy_stream()[0]) == parts


@pytest.mark.usefixtures("eager")
def test_a_batch_towards_the_embedding_changes_encoder_a_alone() -> None:
    network = new_network(model=small_model(tie_weights=False, **VECTOR))
    assert changed_parts(network, Task.EMBEDDING, toy_stream()[0]) == {"encoder_a"}


@pytest.mark.usefixtures("eager")
def test_with_tied_weights_encoder_b_keeps_all_but_the_table_it_reads_of_the_decoder() -> None:
    network, batch = new_network(model=small_model(tie_weights=True)), toy_stream()[0]
    own = [variable for variable in network.encoder_b.variables if variable is not network.decoder.symbols.embeddings]
    before = [variable.numpy() for variable in own]
    TrainingSteps(network, quick_training())(Task.PAIRED, batch.source_ids, batch.target_ids, 0.01)
    for old, variable in zip(before, own, strict=True):
        np.testing.assert_array_equal(old, variable.numpy())


@pytest.mark.usefixtures("eager")
def test_a_paired_batch_leaves_encoder_b_alone_after_autoencoding_too() -> None:
    network, batch = new_network(model=small_model(tie_weights=False)), toy_stream()[0]
    steps = TrainingSteps(network, quick_training())
    steps(Task.AUTOENCODE, batch.source_ids, batch.target_ids, 0.01)  # Adam now has momentum for encoder B
    before = network.encoder_b.get_weights()
    steps(Task.PAIRED, batch.source_ids, batch.target_ids, 0.01)
    for old, new in zip(before, network.encoder_b.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_cross_entropy_by_hand() -> None:
    logits = tf.math.log([[[0.5, 0.25, 0.25], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4]]])
    loss = masked_cross_entropy(logits, tf.constant([[2, 1, 0]]))  # the last is padding
    assert float(loss) == pytest.approx(-(math.log(0.25) + math.log(0.8)) / 2)


def test_padding_never_changes_the_loss() -> None:
    network, batch = new_network(), toy_stream()[0]
    wide = np.pad(batch.source_ids, ((0, 0), (0, 3))), np.pad(batch.target_ids, ((0, 0), (0, 5)))
    narrow_loss = masked_cross_entropy(network.predictor((batch.source_ids, batch.target_ids)), batch.target_ids)
    wide_loss = masked_cross_entropy(network.predictor(wide), wide[1])
    assert float(narrow_loss) == pytest.approx(float(wide_loss), rel=1e-5)


def test_l2_draws_the_weights_towards_zero() -> None:
    norms = []
    for l2 in (0.0, 10.0):
        network, batch = new_network(), toy_stream()[0]
        steps = TrainingSteps(network, quick_training(l2=l2))
        for _ in range(20):
            steps(Task.PAIRED, batch.source_ids, batch.target_ids, 0.01)
        norms.append(sum(float(np.square(weight).sum()) for weight in network.decoder.get_weights()))
    assert norms[1] < norms[0]


def test_learning_rate_warms_up_and_falls_to_zero() -> None:
    settings = quick_training(learning_rate=0.1, warmup=9, decay="cosine")
    assert learning_rate(settings, 0, 1000) == pytest.approx(0.01, rel=1e-3)
    assert learning_rate(settings, 500, 1000) == pytest.approx(0.05)
    assert learning_rate(settings, 999, 1000) < 1e-5
    constant = quick_training(learning_rate=0.1, warmup=0, decay="constant")
    assert learning_rate(constant, 999, 1000) == 0.1


def score(*rank: float) -> Score:
    return Score({"dev_first": rank[0]}, rank)


def loop_of(
    network: Network, phase: Phase, evaluate: Callable[[], Score], progress: Progress | None = None, **changes: Any
) -> TrainingLoop:
    settings = quick_training(**changes)
    streams = {Task.PAIRED: toy_stream(seed=1), Task.AUTOENCODE: toy_stream(seed=2)}
    return TrainingLoop(TrainingSteps(network, settings), phase, streams, settings, evaluate, progress)


def run(
    phase: Phase, evaluate: Callable[[Network], Score], seed: int = 0, **changes: Any
) -> tuple[Network, list[Row], Progress]:
    network = new_network(seed)
    loop = loop_of(network, phase, lambda: evaluate(network), **changes)
    return network, [evaluation for evaluation in loop if evaluation], loop.progress


def test_the_same_seed_gives_the_same_weights_and_history() -> None:
    phase = Phase([Task.PAIRED, Task.AUTOENCODE], Task.PAIRED, 12)
    runs = [run(phase, lambda _: score(0.0), seed=5, evaluate_every=4) for _ in range(2)]
    for one, two in zip(runs[0][0].get_weights(), runs[1][0].get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)
    assert runs[0][1] == runs[1][1]


@pytest.mark.usefixtures("eager")
def test_steps_count_the_paired_batches_of_the_cycle() -> None:
    phase = Phase([Task.PAIRED, Task.AUTOENCODE, Task.AUTOENCODE], Task.PAIRED, 5)
    _, _, progress = run(phase, lambda _: score(0.0), evaluate_every=5)
    assert progress.step == 5
    assert progress.batches == 5 + 2 * 4  # it ends with the last paired batch


@pytest.mark.usefixtures("eager")
def test_a_row_of_history_has_a_loss_for_each_task_and_what_was_measured() -> None:
    phase = Phase([Task.PAIRED, Task.AUTOENCODE], Task.PAIRED, 3)
    _, (evaluation,), _ = run(phase, lambda _: score(0.25), evaluate_every=5)
    names = {"step", "loss_paired", "loss_autoencode", "dev_first", "learning_rate", "gradient_norm"}
    assert set(evaluation) == names
    assert (evaluation["step"], evaluation["dev_first"]) == (3, 0.25)


@pytest.mark.usefixtures("eager")
def test_training_stops_after_patience_and_keeps_the_best_weights() -> None:
    scores = iter([0.1, 0.5, 0.4, 0.3, 0.9])
    kept: list[list[Any]] = []

    def evaluate(network: Network) -> Score:
        kept.append(network.get_weights())
        return score(next(scores))

    phase = Phase([Task.PAIRED], Task.PAIRED, 100)
    network, evaluations, progress = run(phase, evaluate, evaluate_every=2, patience=2)
    assert [evaluation["dev_first"] for evaluation in evaluations] == [0.1, 0.5, 0.4, 0.3]
    assert (progress.step, progress.best_step) == (8, 4)
    for best, final in zip(kept[1], network.get_weights(), strict=True):
        np.testing.assert_array_equal(best, final)


@pytest.mark.usefixtures("eager")
def test_equal_scores_are_compared_by_their_next_number() -> None:
    ranks = iter([(0.0, -0.9), (0.0, -0.8), (0.0, -0.85), (0.1, -0.9)])
    phase = Phase([Task.PAIRED], Task.PAIRED, 8)
    loop = loop_of(new_network(), phase, lambda: score(*next(ranks)), evaluate_every=2, patience=2)
    best_steps = [loop.progress.best_step for evaluation in loop if evaluation]
    assert best_steps == [2, 4, 4, 8]


def test_a_later_phase_keeps_the_best_weights_of_an_earlier_one_unless_it_beats_them() -> None:
    network, phase = new_network(), Phase([Task.PAIRED], Task.PAIRED, 4)
    first = loop_of(network, phase, lambda: score(0.5), evaluate_every=4)
    assert len([None for _ in first]) == 4
    best = network.get_weights()
    first.progress.start_phase(1)
    second = loop_of(network, phase, lambda: score(0.4), first.progress, evaluate_every=4)
    assert [evaluation["step"] for evaluation in second if evaluation] == [8]
    assert first.progress.best_step == 4
    for kept, final in zip(best, network.get_weights(), strict=True):
        np.testing.assert_array_equal(kept, final)


def test_a_loss_that_is_not_a_number_stops_with_what_to_do() -> None:
    network = new_network()
    network.decoder.output_symbols.bias.assign(tf.fill([len(TOY)], math.nan))
    loop = loop_of(network, Phase([Task.PAIRED], Task.PAIRED, 3), lambda: score(0.0))
    with pytest.raises(UserError, match=r"task 'paired' became nan at step 1: lower training\.learning_rate"):
        next(iter(loop))


COMBINATIONS = [
    {"cell": cell, **family, "layers": layers, "bidirectional": bidirectional, "tie_weights": tied, "dropout": dropout}
    for cell in ("lstm", "gru")
    for family in FAMILIES
    for layers in (1, 2)
    for bidirectional in (False, True)
    for tied in (False, True)
    for dropout in (0.0, 0.3)
]


def walk(combination: dict[str, Any], folder: Path) -> None:
    """Build, train a step, save, load, predict."""
    network, batch = new_network(model=small_model(**combination)), toy_stream()[0]
    steps = TrainingSteps(network, quick_training())
    for task in (Task.PAIRED, Task.AUTOENCODE):
        loss, norm = steps(task, batch.source_ids, batch.target_ids, 0.01)
        assert math.isfinite(loss)
        assert norm > 0
    save_network(network, folder)
    loaded = load_network(folder)
    sources = StringStore.of(["abc", "d"], TOY)
    written = [decode(greedy_search([parts.predictor], SIZES.longest_output), sources) for parts in (network, loaded)]
    np.testing.assert_array_equal(written[0].ids, written[1].ids)
    np.testing.assert_array_equal(written[0].log_probabilities, written[1].log_probabilities)


@pytest.mark.parametrize("combination", COMBINATIONS[5::17], ids=str)
def test_some_architectures_walk_from_building_to_predicting(combination: dict[str, Any], tmp_path: Path) -> None:
    walk(combination, tmp_path)


@pytest.mark.slow
@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("combination", COMBINATIONS, ids=str)
def test_every_architecture_walks_from_building_to_predicting(combination: dict[str, Any], tmp_path: Path) -> None:
    walk(combination, tmp_path)
