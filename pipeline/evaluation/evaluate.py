"""The test set as trained runs, ensembles and controls predict it. What the results show is left to `comparison`."""

import csv
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.config.params import Order, Params
from pipeline.data import scoring
from pipeline.data.alphabet import Alphabet, join, split
from pipeline.data.examples import Example
from pipeline.data.prepared import Prepared
from pipeline.evaluation.comparison import RunResult, calibration_error
from pipeline.evaluation.results import ORACLE, REPORTS, RERANKED, WITHOUT_LIST, EvaluatedRun
from pipeline.prediction.predictor import Predictor, load_trained
from pipeline.reranking.features import TO_FIT, FeatureExtractor
from pipeline.reranking.reranker import RankedPrediction, Reranker
from pipeline.runs.folders import HISTORY, PRETRAIN, RunMetadata, run_folder, starts_pretrained
from pipeline.runs.groups import RunGroup

IDENTITY, LOOKUP = "identity", "lookup"


def identity(sources: Iterable[str], source_alphabet: Alphabet, target_alphabet: Alphabet) -> list[str]:
    """Each source copied: its symbols, written as the targets write theirs."""
    return [join(split(source, source_alphabet.kind), target_alphabet.kind) for source in sources]


def lookup(
    pairs: Iterable[Example], sources: Sequence[str], source_alphabet: Alphabet, target_alphabet: Alphabet
) -> list[str]:
    """The most frequent target of each source in the pairs, the earliest of several; an unseen source is copied."""
    counts = Counter((pair.source, pair.target) for pair in pairs)
    best = {source: target for (source, target), _ in reversed(counts.most_common())}
    copies = identity(sources, source_alphabet, target_alphabet)
    return [best.get(source, copy) for source, copy in zip(sources, copies, strict=True)]


def evaluate(
    group: RunGroup, predictor: Predictor, params: Params, prepared: Prepared, without_list: bool = False
) -> RunResult:
    """Decode and score the test set with a run or an ensemble, and add up the steps that it took.

    Its orders are greedy, beam and `ORACLE`, where candidates are searched, and if asked for, where there is a list to
    do without, `WITHOUT_LIST`.
    """
    spent = trained = group.run_metadata(prepared.digest)
    if starts_pretrained(group.strategy, params):
        spent = trained + [RunMetadata.load(run_folder(PRETRAIN, seed)) for seed in group.seeds]
    sources = [example.source for example in prepared.test]
    by_order = predictor.predict_in_each_order(sources)
    candidates = by_order[params.decoding.order]
    first = [row[0] for row in candidates]
    orders = {
        order.value: _right(by_order[order], prepared) for order in (Order.GREEDY, Order.BEAM) if order in by_order
    }
    if params.decoding.order is not Order.GREEDY:
        pairs = zip(candidates, prepared.test, strict=True)
        orders[ORACLE] = np.array([any(one.text in example.accepted for one in row) for row, example in pairs])
    if without_list and predictor.features is not None and predictor.features.neighbourhood is not None:
        orders[WITHOUT_LIST] = _right(_without_list(group, predictor, prepared).predict(sources), prepared)
    return _scored(
        group.strategy,
        [one.text for one in first],
        prepared,
        seed=group.seeds[0],
        steps=sum(metadata.batches for metadata in spent),
        paired_steps=sum(metadata.steps for metadata in trained),
        symbols=sum(metadata.symbols for metadata in spent),
        reranked=params.decoding.order is Order.RERANK,
        history=pd.read_csv(run_folder(group.strategy, group.seeds[0]) / HISTORY),
        log_probabilities=[one.log_probability for one in first],
        confidences=[one.confidence for one in first],
        orders=orders,
    )


def _right(ranked: Sequence[Sequence[RankedPrediction]], prepared: Prepared) -> NDArray[np.bool_]:
    """Which test items the first prediction gets right."""
    right: NDArray[np.bool_] = score([row[0].text for row in ranked], prepared)["correct"].to_numpy()
    return right


def _without_list(group: RunGroup, predictor: Predictor, prepared: Prepared) -> Predictor:
    """The same predictor with a reranker that was fitted without the list. The language model still learned it."""
    to_fit, to_predict = FeatureExtractor.load(TO_FIT), predictor.features
    held_out = replace(predictor, model=load_trained(group, held_out=True), features=to_fit.without_list())
    reranker = held_out.fitted(prepared.dev).reranker
    return replace(predictor, features=to_predict and to_predict.without_list(), reranker=reranker)


def evaluate_controls(prepared: Prepared) -> list[RunResult]:
    """Score the test set as each control predicts it; no `identity` if the alphabets have no symbol in common."""
    sources, alphabets = [item.source for item in prepared.test], (prepared.source_alphabet, prepared.target_alphabet)
    predicted = {IDENTITY: identity(sources, *alphabets), LOOKUP: lookup(prepared.train, sources, *alphabets)}
    if set(prepared.source_alphabet.symbols).isdisjoint(prepared.target_alphabet.symbols):
        del predicted[IDENTITY]
    return [_scored(name, predictions, prepared) for name, predictions in predicted.items()]


def evaluated_run(group: RunGroup, result: RunResult) -> EvaluatedRun:
    """The steps of a single run, what it reached on dev and test, and its files."""
    metadata, reranker = RunMetadata.load(run_folder(group.strategy, group.seeds[0])), Reranker.load(group.reranker)
    metrics = {
        "dev_best_word_accuracy": metadata.dev_word_accuracy,
        "dev_best_character_error_rate": metadata.dev_character_error_rate,
        "test_word_accuracy": scoring.accuracy(result.scores),
        "test_character_error_rate": scoring.error_rate(result.scores),
        **{f"test_{order}_accuracy": float(right.mean()) for order, right in result.orders.items()},
        "parameters": metadata.parameters,
        "best_step": metadata.best_step,
        "steps": result.steps,
    }
    if (error := calibration_error([result])) is not None:
        metrics["test_calibration_error"] = error
    if reranker.accuracy is not None and reranker.model_accuracy is not None:  # cross-validated
        metrics[RERANKED] = reranker.accuracy
        metrics["dev_rerank_gain"] = reranker.accuracy - reranker.model_accuracy
    run = EvaluatedRun(metadata, metrics, REPORTS / group.predictions, group.reranker, models="")
    return replace(run, models=run.digest_now())


def write_predictions(path: Path, result: RunResult, test: Sequence[Example]) -> None:
    """Write predictions as TSV: a row per test item; `also` holds further targets that count as right."""
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = {
        "source": result.sources,
        "target": result.targets,
        "also": ["|".join(example.also) for example in test],
        "prediction": result.predictions,
        "log_probability": result.log_probabilities,
        "confidence": result.confidences,
        **result.scores,
    }
    table = pd.DataFrame(columns)
    table.to_csv(path, sep="\t", index=False, lineterminator="\n", quoting=csv.QUOTE_NONE, float_format="%.6g")


def score(predictions: Sequence[str], prepared: Prepared) -> pd.DataFrame:
    """The scores of predictions for the test set, as `scoring.score` returns them."""
    targets, accepted = [item.target for item in prepared.test], [item.accepted for item in prepared.test]
    return scoring.score(predictions, targets, accepted, prepared.target_alphabet.kind)


def _scored(strategy: str, predictions: Sequence[str], prepared: Prepared, **known: Any) -> RunResult:
    sources, targets = ([getattr(item, side) for item in prepared.test] for side in ("source", "target"))
    values = {"seed": 0, "steps": 0, "paired_steps": 0, "scores": score(predictions, prepared), **known}
    return RunResult(strategy, sources=sources, targets=targets, predictions=predictions, **values)
