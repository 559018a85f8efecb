"""Ways to predict in a cell: strategies of params.yaml, some of their parameters changed, trained and scored there."""

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.results import Cell, Measurement, scored
from pipeline.config.options import Symbols
from pipeline.config.params import Params, changed, flatten
from pipeline.data import scoring
from pipeline.data.corpus import Corpus, read_pairs, read_targets
from pipeline.data.prepared import Prepared, write_prepared
from pipeline.errors import UserError
from pipeline.evaluation import evaluate as controls
from pipeline.model.inference import TrainedModel
from pipeline.prediction.predictor import fitted_chooser, learn_evidence
from pipeline.runs.folders import METADATA, PRETRAIN, load_seconds, run_folder, run_parameters, starts_pretrained
from pipeline.training.trainer import run_training

CONTROLS = (controls.IDENTITY, controls.LOOKUP)
NOT_OURS = ("data", "prepare")  # sections of params.yaml: a benchmark has its own data
MAX_SYMBOLS = 1000  # of a word; a longer one is an error

# Every strategy of params.yaml is measured as `dvc repro` and `tandem predict` use it: one network and the reranker.
DEFAULTS = {"decoding.order": "rerank", "decoding.ensemble": False}
GREEDY = {"decoding.order": "greedy"}
ALTERNATING = {"strategies.tandem.tasks": ["paired", "autoencode"]}
# Further names: a strategy, and the parameters in which it differs from its entry in params.yaml and from `DEFAULTS`.
VARIANTS: Mapping[str, tuple[str, dict[str, Any]]] = {
    # What each part buys.
    "supervised_greedy": ("supervised", GREEDY),
    "augmented_greedy": ("augmented", GREEDY),
    "two_stage_greedy": ("two_stage", GREEDY),
    "tandem_plain": ("tandem", {**GREEDY, **ALTERNATING, "noise.kind": "none"}),
    "tandem_noise": ("tandem", {**GREEDY, **ALTERNATING}),
    "tandem_synthetic": ("tandem", GREEDY),
    "tandem_beam": ("tandem", {"decoding.order": "beam"}),
    "tandem_ensemble": ("tandem", {"decoding.ensemble": True}),
    # Other settings that were tried.
    "two_stage_pairs": ("two_stage", {"strategies.two_stage.tasks": ["paired"]}),
    "two_stage_pairs_greedy": ("two_stage", {**GREEDY, "strategies.two_stage.tasks": ["paired"]}),
    "two_stage_frozen": (  # a last step with the decoder, as every strategy has one
        "two_stage",
        {
            "strategies.two_stage.frozen_steps": 999,
            "strategies.two_stage.steps": 1,
            "strategies.two_stage.tasks": ["paired"],
        },
    ),
    "tandem_finetune": ("tandem", {"strategies.tandem.steps": 800, "strategies.tandem.finetune_steps": 200}),
    "tandem_no_autoencode": ("tandem", {"strategies.tandem.tasks": ["paired", "synthetic", "synthetic"]}),
}


def of_variant(name: str, params: Params) -> tuple[str, Params]:
    """The strategy of a name and the parameters to train and predict with; raises `UserError` for an unknown name."""
    strategy, changes = VARIANTS.get(name, (name, {}))
    if strategy not in (*CONTROLS, *params.strategies):
        known = ", ".join([*CONTROLS, *params.strategies, *VARIANTS])
        raise UserError(f"params.yaml has no strategy {strategy}, which {name} needs; there are {known}")
    return strategy, changed(params, {**DEFAULTS, **changes})


def prepare(data: Path, cell: Cell, dev_lines: int | None, folder: Path) -> Prepared:
    """The cell's block of training lines, with all of dev or its beginning, all of test, and the target list."""
    characters = Symbols.CHARACTERS
    train, dev, test = (
        read_pairs(_find(data, cell.corpus, f"{name}.tsv"), characters, characters, MAX_SYMBOLS)
        for name in ("train", "dev", "test")
    )
    block = train[cell.fold * cell.size : (cell.fold + 1) * cell.size]
    if len(block) < cell.size:
        raise UserError(f"{cell.corpus} has {len(train):,} training lines: fold {cell.fold} of {cell.size:,} is beyond")
    targets = read_targets(_find(data, cell.corpus, "targets.txt"), characters, MAX_SYMBOLS)
    write_prepared(folder, Corpus(block, dev[:dev_lines], test, targets, 0, None, cell.corpus), characters, characters)
    return Prepared.open(folder)


def _find(data: Path, corpus: str, name: str) -> Path:
    for path in (data / corpus / f"{name}.gz", data / corpus / name):
        if path.exists():
            return path
    raise UserError(f"{data / corpus} has neither {name} nor {name}.gz: correct --data or --corpora")


def measure(cell: Cell, title: str, name: str, params: Params, prepared: Prepared, models: Path) -> Measurement:
    """Train and tune a strategy or variant, and score it on dev and test; seconds are those of all that it took.

    title: its name in the CSV.
    """
    started = time.perf_counter()
    strategy, params = of_variant(name, params)
    predict, trained = _predictor(strategy, params, prepared, models)
    rows, tables = [], []
    for split, examples in (("dev", prepared.dev), ("test", prepared.test)):
        table = scored(examples, predict([example.source for example in examples]))
        rates = {"word_accuracy": scoring.accuracy(table), "character_error_rate": scoring.error_rate(table)}
        rows.append({"split": split, **rates, "seconds": round(time.perf_counter() - started + trained, 1)})
        tables.append(table.assign(split=split))
    return Measurement(cell, title, rows, pd.concat(tables), _parameters(strategy, params))


def _parameters(strategy: str, params: Params) -> dict[str, Any]:
    if strategy in CONTROLS:
        return {}
    decoding = {name: value for name, value in flatten(params).items() if name.startswith("decoding.")}
    every = {**run_parameters(strategy, params), **decoding}
    return {name: value for name, value in every.items() if name.split(".")[0] not in NOT_OURS}


def _predictor(
    strategy: str, params: Params, prepared: Prepared, models: Path
) -> tuple[Callable[[Sequence[str]], list[str]], float]:
    """A function from sources to predictions, and the seconds that networks kept from an earlier row had taken."""
    alphabets = prepared.source_alphabet, prepared.target_alphabet
    if strategy == controls.IDENTITY:
        return (lambda sources: controls.identity(sources, *alphabets)), 0.0
    if strategy == controls.LOOKUP:
        return (lambda sources: controls.lookup(prepared.train, sources, *alphabets)), 0.0
    seeds = params.seeds if params.decoding.ensemble else params.seeds[:1]
    trained = [_train(strategy, params, prepared, seed, models) for seed in seeds]
    model = TrainedModel.load(*(folder for folder, _ in trained))
    evidence = learn_evidence(params.decoding, prepared, held_out=False)
    chooser = fitted_chooser(model, params.decoding, evidence, prepared)
    return (lambda sources: [row[0].text for row in chooser.choose(sources)]), sum(spent for _, spent in trained)


def _train(strategy: str, params: Params, prepared: Prepared, seed: int, models: Path) -> tuple[Path, float]:
    """The folder of a trained run, and the seconds of training in it that were spent before now."""
    decisive = [run_parameters(strategy, params), prepared.digest]
    models = models / hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:12]
    spent = 0.0
    for name in ([PRETRAIN] if starts_pretrained(strategy, params) else []) + [strategy]:
        if (run_folder(name, seed, models) / METADATA).exists():
            spent += load_seconds(name, seed, models)
        else:
            for _ in run_training(name, params, prepared, seed, models):
                pass
    return run_folder(strategy, seed, models), spent
