"""Strategies: their phases, that each of them learns, and that all of them see the same batches of pairs."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import TypeAdapter

from pipeline.config.options import Symbols
from pipeline.config.params import Params, Strategy, load_params
from pipeline.data.corpus import Corpus
from pipeline.data.examples import Example
from pipeline.data.prepared import Prepared, write_prepared
from pipeline.model.inference import TrainedModel
from pipeline.model.network import WEIGHTS
from pipeline.runs.folders import ACCURACY, HISTORY, PRETRAIN, RunMetadata, before_dev, run_folder
from pipeline.training import trainer
from pipeline.training.batches import Batch
from pipeline.training.loop import TrainingSteps
from pipeline.training.strategies import Phase, Task, phases_of
from pipeline.training.trainer import run_training
from tests.conftest import PROJECT, changed_params

SHIPPED = tuple(load_params(PROJECT / "params.yaml").strategies)
QUICK: dict[str, Any] = {
    "model.units": 24,
    "model.projection": 12,
    "model.dropout": 0.0,
    "training.batch_size": 16,
    "training.learning_rate": 0.02,
    "training.warmup": 10,
    "training.evaluate_every": 1000,
    "pretrain.steps": 150,
}
PAIRED = (Task.PAIRED, Task.FROZEN_DECODER, Task.EMBEDDING)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """A source is its target in capital letters; few pairs, more targets."""
    rng, folder = np.random.default_rng(0), tmp_path_factory.mktemp("prepared")
    words = ["".join(rng.choice(list("abcd"), size=rng.integers(1, 5))) for _ in range(300)]
    pairs = [Example(word.upper(), word) for word in words[:150]]
    corpus = Corpus(pairs[:90], pairs[90:120], pairs[120:], words[150:], 0, None, "made up")
    write_prepared(folder, corpus, Symbols.CHARACTERS, Symbols.CHARACTERS)
    return Prepared.open(folder)


@pytest.fixture(scope="module")
def models(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of models with the pretrained autoencoder."""
    folder = tmp_path_factory.mktemp("models")
    reached = train(PRETRAIN, changed_params(QUICK), prepared, folder)
    assert reached.dev_word_accuracy > 0.5
    return folder


def train(strategy: str, params: Params, prepared: Prepared, models: Path) -> RunMetadata:
    for _ in run_training(strategy, params, prepared, 0, models):
        pass
    return RunMetadata.load(run_folder(strategy, 0, models))


def own(tasks: tuple[str, ...], **settings: Any) -> Params:
    """Parameters with one more strategy, `mine`, which starts from the pretrained autoencoder."""
    params = changed_params(QUICK)
    strategy = TypeAdapter(Strategy).validate_json(json.dumps({"tasks": tasks, "start": "pretrained", **settings}))
    return replace(params, strategies={**params.strategies, "mine": strategy})


def steps_of(params: Params, paired: int) -> Params:
    """The shipped strategies with so many paired steps in all, half of them with a frozen decoder where one is."""
    halved = {
        name: replace(each, steps=paired - half, frozen_steps=half, finetune_steps=0)
        for name, each in params.strategies.items()
        for half in (paired // 2 if each.frozen_steps else 0,)
    }
    return replace(params, strategies=halved)


def test_phases_come_in_the_order_frozen_then_tasks_then_pairs_alone_then_dev() -> None:
    params = own(("paired", "autoencode"), steps=5, frozen_steps=3, finetune_steps=2)
    params = replace(params, training=replace(params.training, dev_steps=4))
    assert phases_of("mine", params) == [
        Phase([Task.FROZEN_DECODER], Task.FROZEN_DECODER, 3),
        Phase([Task.PAIRED, Task.AUTOENCODE], Task.PAIRED, 5),
        Phase([Task.PAIRED], Task.PAIRED, 2),
        Phase([Task.PAIRED, Task.AUTOENCODE], Task.PAIRED, 4, with_dev=True),
    ]


def test_the_autoencoder_learns_no_pairs_of_dev() -> None:
    params = changed_params(QUICK | {"training.dev_steps": 4})
    assert [phase.with_dev for phase in phases_of(PRETRAIN, params)] == [False]


def test_a_phase_without_steps_is_left_out() -> None:
    assert phases_of("mine", own(("paired",), steps=5)) == [Phase([Task.PAIRED], Task.PAIRED, 5)]


@pytest.mark.parametrize("strategy", SHIPPED)
def test_each_shipped_strategy_learns(strategy: str, prepared: Prepared, models: Path) -> None:
    reached = train(strategy, steps_of(changed_params(QUICK), 200), prepared, models)
    assert reached.steps == 200
    assert reached.dev_word_accuracy > 0.7


def test_a_strategy_of_the_users_own_trains_through_its_phases(prepared: Prepared, models: Path) -> None:
    tasks = ("synthetic", "paired", "autoencode")
    reached = train("mine", own(tasks, steps=3, frozen_steps=2, finetune_steps=4), prepared, models)
    assert (reached.strategy, reached.steps) == ("mine", 2 + 3 + 4)
    assert reached.batches == 2 + (3 * 3 - 1) + 4  # the last cycle ends with its batch of pairs


def test_dev_steps_teach_the_pairs_of_dev_and_keep_the_network_of_before(prepared: Prepared, tmp_path: Path) -> None:
    short = {"strategies.supervised.steps": 60, "training.dev_steps": 0}
    train("supervised", changed_params(QUICK | short), prepared, tmp_path / "without")
    reached = train("supervised", changed_params(QUICK | short | {"training.dev_steps": 140}), prepared, tmp_path)
    without, run = run_folder("supervised", 0, tmp_path / "without"), run_folder("supervised", 0, tmp_path)
    assert (reached.steps, reached.best_step) == (200, 60)
    assert before_dev(run) == run / "before_dev"
    assert (before_dev(run) / WEIGHTS).read_bytes() == (without / WEIGHTS).read_bytes()
    assert before_dev(without) == without
    history = pd.read_csv(run / HISTORY)
    assert history[ACCURACY].notna().tolist() == [True, False]
    dev = [example.source for example in prepared.dev]
    right = {
        folder: sum(
            row[0].text == example.target
            for row, example in zip(TrainedModel.load(folder).predict(dev), prepared.dev, strict=True)
        )
        for folder in (run, before_dev(run))
    }
    assert right[run] > right[before_dev(run)]


def test_prepared_data_with_dev_are_those_whose_pairs_were_all_to_train_on(prepared: Prepared, tmp_path: Path) -> None:
    pairs, dev = [*prepared.train, *prepared.dev], list(prepared.dev)
    targets = [prepared.target_alphabet.decode(row.tolist()) for row in prepared.targets.padded(np.arange(150))]
    corpus = Corpus(pairs, dev, list(prepared.test), targets, 0, None, "made up")
    write_prepared(tmp_path, corpus, Symbols.CHARACTERS, Symbols.CHARACTERS)
    wanted, both = Prepared.open(tmp_path), prepared.with_dev()
    assert (both.train, both.dev) == (wanted.train, wanted.dev)
    for ours, theirs in ((both.train_sources, wanted.train_sources), (both.train_targets, wanted.train_targets)):
        assert ours.ids.tolist() == theirs.ids.tolist()
        assert ours.offsets.tolist() == theirs.offsets.tolist()
    both.alignment.save(tmp_path / "ours.npz")
    wanted.alignment.save(tmp_path / "theirs.npz")
    assert (tmp_path / "ours.npz").read_bytes() == (tmp_path / "theirs.npz").read_bytes()
    assert prepared.train != both.train


def test_a_training_without_dev_steps_leaves_no_network_of_before(prepared: Prepared, tmp_path: Path) -> None:
    for steps in (3, 0):
        train(
            "supervised",
            changed_params(QUICK | {"strategies.supervised.steps": 3, "training.dev_steps": steps}),
            prepared,
            tmp_path,
        )
        assert (run_folder("supervised", 0, tmp_path) / "before_dev").exists() == bool(steps)


class SeenSteps(TrainingSteps):
    """Steps that keep the pairs they are given, and train nothing."""

    seen: list[tuple[bytes, bytes]]

    def __call__(self, task: Task, source_ids: Any, target_ids: Any, rate: float) -> tuple[float, float]:
        if task in PAIRED:
            SeenSteps.seen.append((source_ids.tobytes(), target_ids.tobytes()))
        return 1.0, 1.0


def test_the_same_number_of_steps_of_a_phase_sees_the_same_pairs_in_every_strategy(
    prepared: Prepared, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "TrainingSteps", SeenSteps)
    seen: dict[str, list[tuple[bytes, bytes]]] = {}
    for strategy in SHIPPED:
        SeenSteps.seen = seen[strategy] = []
        train(strategy, steps_of(changed_params(QUICK), 20), prepared, models)
    pairs = seen["supervised"]
    assert len(set(pairs)) == 20
    assert seen.pop("two_stage") == pairs[:10] * 2  # two phases
    assert all(each == pairs for each in seen.values())


def test_on_a_further_sample_of_the_pairs_a_seed_draws_other_weights_and_batches(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "TrainingSteps", SeenSteps)
    seen, weights = [], []
    for sample in (0, 1):
        params = steps_of(changed_params(QUICK | {"prepare.resamples": 2, "prepare.sample": sample}), 5)
        SeenSteps.seen = []
        train("supervised", params, prepared, tmp_path)  # on the same pairs
        seen.append(SeenSteps.seen)
        weights.append(trainer.start("supervised", params, prepared, 0).decoder.get_weights()[0])
    assert set(seen[0]).isdisjoint(seen[1])
    assert not np.array_equal(*weights)


def test_seeds_of_samples_are_all_different_and_those_of_the_first_as_they_are() -> None:
    samples = [changed_params({"prepare.resamples": 1000, "prepare.sample": sample}) for sample in (0, 1, 999)]
    drawn = [trainer.seed_of_all(seed, params) for params in samples for seed in range(1000)]
    assert drawn[:1000] == list(range(1000))
    assert len(set(drawn)) == len(drawn)
    assert max(drawn) < 2**31


def test_a_batch_counts_the_symbols_of_its_targets_without_padding() -> None:
    ids = np.array([[4, 5, 2], [4, 2, 0]], dtype=np.int32)
    assert Batch(ids, ids).symbols == 5
