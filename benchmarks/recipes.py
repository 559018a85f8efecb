"""How a benchmark makes predictions: a recipe, its training and its score in one cell."""

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.cells import Cell
from benchmarks.results import Measurement, scored
from pipeline.config.params import Params, changed, flatten
from pipeline.data import scoring
from pipeline.data.prepared import Prepared
from pipeline.evaluation import evaluate as controls
from pipeline.model.inference import TrainedModel
from pipeline.prediction.predictor import fitted_chooser, learn_evidence
from pipeline.runs.folders import METADATA, PRETRAIN, RunMetadata, run_folder, run_parameters, starts_pretrained
from pipeline.training.trainer import run_training

NOT_OURS = ("data", "prepare")  # sections of params.yaml: a benchmark has its own data

Predict = Callable[[Sequence[str]], list[str]]


@dataclass(frozen=True)
class Recipe:
    """How a row of the table is made: a strategy with some parameters changed, and what is done with its networks.

    decoding: greedy, beam, or rerank. ensemble: average the networks of all seeds; else the first seed alone.
    """

    strategy: str
    changes: dict[str, Any] = field(default_factory=dict)
    decoding: str = "greedy"
    ensemble: bool = False


def measure(cell: Cell, strategy: str, recipe: Recipe, params: Params, prepared: Prepared, models: Path) -> Measurement:
    """Train and tune by a recipe, and score it on dev and test; seconds are those of all that it took."""
    started = time.perf_counter()
    params = changed(
        params, {"decoding.order": recipe.decoding, "decoding.ensemble": recipe.ensemble, **recipe.changes}
    )
    predict, trained = predictor(recipe, params, prepared, models)
    rows, tables = [], []
    for split, examples in (("dev", prepared.dev), ("test", prepared.test)):
        table = scored(examples, predict([example.source for example in examples]))
        rows.append(
            {
                "split": split,
                "word_accuracy": scoring.accuracy(table),
                "character_error_rate": scoring.error_rate(table),
                "seconds": round(time.perf_counter() - started + trained, 1),
            }
        )
        tables.append(table.assign(split=split))
    return Measurement(cell, strategy, rows, pd.concat(tables), parameters(recipe, params))


def parameters(recipe: Recipe, params: Params) -> dict[str, Any]:
    """What a recipe depends on, by dotted name, without the sections on data: the benchmark has its own."""
    if recipe.strategy in (controls.IDENTITY, controls.LOOKUP):
        return {}
    decoding = {name: value for name, value in flatten(params).items() if name.startswith("decoding.")}
    of_run = {**run_parameters(recipe.strategy, params), **decoding}
    return {name: value for name, value in of_run.items() if name.split(".")[0] not in NOT_OURS}


def predictor(recipe: Recipe, params: Params, prepared: Prepared, models: Path) -> tuple[Predict, float]:
    """A function from sources to predictions, and the seconds that networks kept from an earlier row had taken."""
    alphabets = prepared.source_alphabet, prepared.target_alphabet
    match recipe.strategy:
        case controls.IDENTITY:
            return (lambda sources: controls.identity(sources, *alphabets)), 0.0
        case controls.LOOKUP:
            return (lambda sources: controls.lookup(prepared.train, sources, *alphabets)), 0.0
    seeds = params.seeds if recipe.ensemble else params.seeds[:1]
    kept = [train(recipe.strategy, params, prepared, seed, models) for seed in seeds]
    model = TrainedModel.load(*(folder for folder, _ in kept))
    evidence = learn_evidence(params.decoding, prepared, held_out=False)
    chooser = fitted_chooser(model, params.decoding, evidence, prepared)
    return (lambda sources: [row[0].text for row in chooser.choose(sources)]), sum(spent for _, spent in kept)


def train(strategy: str, params: Params, prepared: Prepared, seed: int, models: Path) -> tuple[Path, float]:
    """The folder of a trained run, and the seconds of training in it that were spent before now."""
    decisive = [run_parameters(strategy, params), prepared.digest]
    key = hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:12]
    spent = 0.0
    for name in ([PRETRAIN] if starts_pretrained(strategy, params) else []) + [strategy]:
        folder = run_folder(name, seed, models / key)
        if (folder / METADATA).exists():
            spent += RunMetadata.load(folder).seconds
        else:
            for _ in run_training(name, params, prepared, seed, models / key):
                pass
    return run_folder(strategy, seed, models / key), spent
