"""Ways to predict in a cell: strategies of params.yaml, some of their parameters changed, trained and scored there."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.config.options import Symbols
from pipeline.config.params import Order, Params, changed
from pipeline.data import scoring
from pipeline.data.examples import Example
from pipeline.data.prepared import Prepared
from pipeline.errors import UserError
from pipeline.evaluation.evaluate import IDENTITY, LOOKUP, identity, lookup
from pipeline.hashing import joined
from pipeline.model.inference import TrainedModel
from pipeline.prediction.predictor import Predictor
from pipeline.reranking.features import FeatureExtractor
from pipeline.runs import folders
from pipeline.training.trainer import run_training

# Every strategy of params.yaml is measured as `dvc repro` and `tandem predict` use it: one network and the reranker.
DEFAULTS = {"decoding.order": "rerank", "decoding.ensemble": False}
GREEDY = {"decoding.order": "greedy"}
ALTERNATING = {"strategies.tandem.tasks": ["paired", "autoencode"]}
ONLY_PAIRS = {"strategies.two_stage.tasks": ["paired"]}
# The last step trains the decoder, as every strategy has such a step.
FROZEN = {"strategies.two_stage.frozen_steps": 999, "strategies.two_stage.steps": 1}
# Further names: a strategy, and the parameters in which it differs from its entry in params.yaml and from `DEFAULTS`.
VARIANTS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "single": ("tandem", {}),
    "best": ("tandem", {"decoding.ensemble": True}),
    # What each part buys.
    "supervised_greedy": ("supervised", GREEDY),
    "two_stage_pairs": ("two_stage", ONLY_PAIRS),
    "two_stage_pairs_greedy": ("two_stage", {**GREEDY, **ONLY_PAIRS}),
    "tandem_plain": ("tandem", {**GREEDY, **ALTERNATING, "noise.kind": "none"}),
    "tandem_noise": ("tandem", {**GREEDY, **ALTERNATING}),
    "tandem_synthetic": ("tandem", GREEDY),
    "tandem_beam": ("tandem", {"decoding.order": "beam"}),
    # Other settings that were tried.
    "two_stage_frozen": ("two_stage", {**ONLY_PAIRS, **FROZEN}),
    "tandem_finetune": ("tandem", {"strategies.tandem.steps": 800, "strategies.tandem.finetune_steps": 200}),
    "tandem_no_autoencode": ("tandem", {"strategies.tandem.tasks": ["paired", "synthetic", "synthetic"]}),
}

Predict = Callable[[Sequence[str]], list[str]]


def of_variant(name: str, params: Params) -> tuple[str, Params]:
    """The strategy of a name and the parameters to train and predict with; raises `UserError` for an unknown name."""
    strategy, changes = VARIANTS.get(name, (name, {}))
    if strategy not in (IDENTITY, LOOKUP, *params.strategies):
        known = ", ".join([IDENTITY, LOOKUP, *params.strategies, *VARIANTS])
        raise UserError(f"params.yaml has no strategy {strategy}, which {name} needs; there are {known}")
    return strategy, changed(params, {**DEFAULTS, **changes})


def measure(name: str, params: Params, prepared: Prepared, models: Path, has_list: bool) -> tuple[pd.DataFrame, float]:
    """Scored predictions of a strategy or variant for dev and test, and the seconds of all that they took.

    has_list: whether there are unpaired targets besides those of the pairs. Columns as `scored` makes them, and
    `split`. Networks in `models` that were trained alike are not trained again.
    """
    strategy, params = of_variant(name, params)
    runs = [] if strategy in (IDENTITY, LOOKUP) else train(strategy, params, prepared, models)
    started = time.perf_counter()
    if runs:
        predict = best_of(fitted_predictor(params, prepared, [folder for folder, _ in runs], has_list))
    else:
        predict = _control(strategy, prepared)
    return dev_and_test(prepared, predict), sum(seconds for _, seconds in runs) + time.perf_counter() - started


def dev_and_test(prepared: Prepared, predict: Predict) -> pd.DataFrame:
    """Scored predictions for dev and test, with the columns that `measure` says."""
    splits, kind = {"dev": prepared.dev, "test": prepared.test}, prepared.target_alphabet.kind
    tables = [
        scored(examples, predict([example.source for example in examples]), kind).assign(split=split)
        for split, examples in splits.items()
    ]
    return pd.concat(tables)


def scored(examples: Sequence[Example], predictions: Sequence[str], kind: Symbols) -> pd.DataFrame:
    """A row for each example: source, target, prediction and the columns of `scoring.score`."""
    words = pd.DataFrame({"source": [one.source for one in examples], "target": [one.target for one in examples]})
    words["prediction"] = list(predictions)
    targets = words["target"].tolist()
    return words.join(scoring.score(predictions, targets, [{target} for target in targets], kind))


def _control(name: str, prepared: Prepared) -> Predict:
    alphabets = prepared.source_alphabet, prepared.target_alphabet
    if name == IDENTITY:
        return lambda sources: identity(sources, *alphabets)
    return lambda sources: lookup(prepared.train, sources, *alphabets)


def fitted_predictor(params: Params, prepared: Prepared, runs: Sequence[Path], has_list: bool) -> Predictor:
    """The predictor of trained run folders together, its reranker fitted on dev if `decoding.order` asks for one."""
    reranks = params.decoding.order is Order.RERANK
    features = FeatureExtractor.learn(prepared, held_out=not has_list) if reranks else None
    return Predictor(TrainedModel.load(*runs), params.decoding, features).fitted(prepared.dev)


def best_of(predictor: Predictor) -> Predict:
    """A function from sources to the best prediction for each."""
    return lambda sources: [row[0].text for row in predictor.predict(sources)]


def train(strategy: str, params: Params, prepared: Prepared, models: Path) -> list[tuple[Path, float]]:
    """Train the first seed, or with `decoding.ensemble` all; run folders, and the seconds of training in each."""
    models /= joined(*map(str, folders.run_parameters(strategy, params).items()))
    seeds = params.seeds if params.decoding.ensemble else params.seeds[:1]
    return [_train(strategy, params, prepared, seed, models) for seed in seeds]


def _train(strategy: str, params: Params, prepared: Prepared, seed: int, models: Path) -> tuple[Path, float]:
    """Train a network if it is missing; its run folder, and the seconds of training in it."""
    names = [*([folders.PRETRAIN] if folders.starts_pretrained(strategy, params) else []), strategy]
    for name in names:
        key = folders.training_key(name, params, prepared.digest, seed, models)
        if not folders.is_finished(name, seed, key, models):
            for _ in run_training(name, params, prepared, seed, models):
                pass
    return folders.run_folder(strategy, seed, models), sum(folders.load_seconds(name, seed, models) for name in names)
