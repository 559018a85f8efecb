"""Ways to predict in a cell: strategies of params.yaml, some of their parameters changed, trained and scored there."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
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
from pipeline.prediction.pseudo import sources_to_predict, write_pseudo_pairs
from pipeline.reranking.features import FeatureExtractor
from pipeline.runs import folders
from pipeline.training.trainer import run_training

SINGLE, BEST = "single", "best"
MEMBERS, TEACHERS = 5, 3  # networks of `best`, and of a teacher

Predict = Callable[[Sequence[str]], list[str]]  # from sources to predictions

# Every strategy of params.yaml is measured as `dvc repro` and `tandem predict` use it: one network and the reranker.
DEFAULTS = {"decoding.order": "rerank", "decoding.ensemble": False}
GREEDY = {"decoding.order": "greedy"}
ALTERNATING = {"strategies.tandem.tasks": ["paired", "autoencode"]}
ONLY_PAIRS = {"strategies.two_stage.tasks": ["paired"]}
# The last step trains the decoder, as every strategy has such a step.
FROZEN = {"strategies.two_stage.frozen_steps": 699, "strategies.two_stage.steps": 1, "training.dev_steps": 0}
TAUGHT = {"tasks": ["paired", "synthetic", "pseudo"], "steps": 700, "teacher": "augmented"}
# Further names: a strategy, and the parameters in which it differs from its entry in params.yaml and from `DEFAULTS`.
VARIANTS: Mapping[str, tuple[str, dict[str, Any]]] = {
    # A second round: a strategy that learns from what the seeds of `augmented` predict together.
    "taught": ("taught", {"strategies.taught": TAUGHT}),
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
    "tandem_finetune": ("tandem", {"strategies.tandem.steps": 500, "strategies.tandem.finetune_steps": 200}),
    "tandem_no_autoencode": ("tandem", {"strategies.tandem.tasks": ["paired", "synthetic", "synthetic"]}),
}


def of_variant(name: str, params: Params, prepared: Prepared | None = None) -> tuple[str, Params]:
    """The strategy of a name and the parameters to train and predict with; raises `UserError` for an unknown name.

    prepared: the data, by which `single` and `best` take the strategy that docs/results.md recommends for such data.
    """
    strategy = recommended(prepared) if name in (SINGLE, BEST) else name
    strategy, changes = VARIANTS.get(strategy, (strategy, {}))
    if name == BEST:
        changes = {**changes, "decoding.ensemble": True, "seeds": list(range(MEMBERS))}
    if strategy not in (IDENTITY, LOOKUP, *params.strategies) and f"strategies.{strategy}" not in changes:
        known = ", ".join([IDENTITY, LOOKUP, *params.strategies, *VARIANTS])
        raise UserError(f"params.yaml has no strategy {strategy}, which {name} needs; there are {known}")
    return strategy, changed(params, {**DEFAULTS, **changes})


def recommended(prepared: Prepared | None) -> str:
    """The strategy or variant for data with a target list, with unpaired sources as well, or without either."""
    if prepared is None or prepared.has_list:
        return "taught" if prepared and prepared.sources else "augmented"
    return "supervised"


def measure(name: str, params: Params, prepared: Prepared, models: Path) -> tuple[pd.DataFrame, float]:
    """Scored predictions of a strategy or variant for dev and test, and the seconds of all that they took.

    Columns as `scored` makes them, and `split`. Networks in `models` that were trained alike are not trained again.
    """
    strategy, params = of_variant(name, params, prepared)
    if strategy in (IDENTITY, LOOKUP):
        started, seconds = time.perf_counter(), 0.0
        on_dev = on_test = _control(strategy, prepared)
    else:
        runs, seconds = train(strategy, params, prepared, models)
        started = time.perf_counter()
        on_dev, on_test = map(best_of, predictors(params, prepared, runs))
    return dev_and_test(prepared, on_dev, on_test), seconds + time.perf_counter() - started


def dev_and_test(prepared: Prepared, on_dev: Predict, on_test: Predict) -> pd.DataFrame:
    """Scored predictions for dev and test, with the columns that `measure` says."""
    splits, kind = {"dev": (on_dev, prepared.dev), "test": (on_test, prepared.test)}, prepared.target_alphabet.kind
    tables = [
        scored(examples, predict([example.source for example in examples]), kind).assign(split=split)
        for split, (predict, examples) in splits.items()
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


def predictors(params: Params, prepared: Prepared, runs: Sequence[Path]) -> tuple[Predictor, Predictor]:
    """What run folders together predict dev with, and what all else, with features that know the pairs of dev."""
    reranks = params.decoding.order is Order.RERANK
    features = FeatureExtractor.learn(prepared, held_out=not prepared.has_list) if reranks else None
    before_dev = TrainedModel.load(*map(folders.before_dev, runs))
    fitted = Predictor(before_dev, params.decoding, features).fitted(prepared.dev)
    return fitted, replace(fitted, model=TrainedModel.load(*runs), features=features and features.with_dev(prepared))


def best_of(predictor: Predictor) -> Predict:
    """A function from sources to the best prediction for each."""
    return lambda sources: [row[0].text for row in predictor.predict(sources)]


def train(strategy: str, params: Params, prepared: Prepared, models: Path) -> tuple[list[Path], float]:
    """Train the first seed, or with `decoding.ensemble` all, and a teacher's; run folders, and the seconds of all.

    Networks that were trained alike are kept.
    """
    folder = models / joined(*map(str, folders.run_parameters(strategy, params).items()))
    seeds = params.seeds if params.decoding.ensemble else params.seeds[:1]
    pseudo, seconds = folders.pseudo_file(strategy, folder), 0.0
    if teacher := params.strategies[strategy].teacher:
        together = replace(params, seeds=params.seeds[:TEACHERS], decoding=replace(params.decoding, ensemble=True))
        teachers, seconds = train(teacher, together, prepared, models)
        if not pseudo.exists():
            started, confidence = time.perf_counter(), params.strategies[strategy].confidence
            _, predictor = predictors(params, prepared, teachers)
            write_pseudo_pairs(pseudo, predictor, sources_to_predict(prepared, 0), confidence)
            seconds += time.perf_counter() - started
    names = [*([folders.PRETRAIN] if folders.starts_pretrained(strategy, params) else []), strategy]
    for seed in seeds:
        for name in names:
            key = folders.training_key(name, params, prepared.digest, seed, folder)
            if not folders.is_finished(name, seed, key, folder):
                for _ in run_training(name, params, prepared, seed, folder):
                    pass
            seconds += folders.load_seconds(name, seed, folder)
    return [folders.run_folder(strategy, seed, folder) for seed in seeds], seconds
