"""The test set as trained runs, ensembles and controls predict it. What the results say is `comparison`'s."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from pipeline.config.params import Order, Params
from pipeline.data import scoring
from pipeline.data.alphabet import Alphabet, join, split
from pipeline.data.examples import Example
from pipeline.data.prepared import Prepared
from pipeline.evaluation.comparison import RunResult, calibration_error
from pipeline.evaluation.results import BEAM, GREEDY, RERANKED, TestedRun
from pipeline.prediction.predictor import Predictor
from pipeline.reranking.reranker import Reranker
from pipeline.runs.folders import HISTORY, PRETRAIN, RunMetadata, run_folder, starts_pretrained
from pipeline.runs.groups import RunGroup

IDENTITY, LOOKUP = "identity", "lookup"


def identity(sources: Iterable[str], source_alphabet: Alphabet, target_alphabet: Alphabet) -> list[str]:
    """Each source copied: its symbols, written as the targets write theirs."""
    return [join(split(source, source_alphabet.kind), target_alphabet.kind) for source in sources]


def lookup(
    pairs: Iterable[Example], sources: Sequence[str], source_alphabet: Alphabet, target_alphabet: Alphabet
) -> list[str]:
    """The most frequent target that the pairs give each source, the earliest of several; an unseen source is copied."""
    best: dict[str, str] = {}
    for (source, target), _ in Counter((pair.source, pair.target) for pair in pairs).most_common():
        best.setdefault(source, target)
    copies = identity(sources, source_alphabet, target_alphabet)
    return [best.get(source, copy) for source, copy in zip(sources, copies, strict=True)]


def controls(
    pairs: Iterable[Example], sources: Sequence[str], source_alphabet: Alphabet, target_alphabet: Alphabet
) -> dict[str, list[str]]:
    """The predictions of each control by its name; without `identity` where the alphabets have no symbol in common."""
    found = {LOOKUP: lookup(pairs, sources, source_alphabet, target_alphabet)}
    if set(source_alphabet.symbols).isdisjoint(target_alphabet.symbols):
        return found
    return {IDENTITY: identity(sources, source_alphabet, target_alphabet), **found}


def evaluate(group: RunGroup, predictor: Predictor, params: Params, prepared: Prepared) -> RunResult:
    """Decode and score the test set with a run or an ensemble, and add up what was spent."""
    records = group.run_metadata(prepared.digest)
    spent = list(records)
    if starts_pretrained(group.strategy, params):
        spent += [RunMetadata.load(run_folder(PRETRAIN, seed)) for seed in group.seeds]
    sources = [example.source for example in prepared.test]
    by_order = predictor.predict_in_each_order(sources)
    first = by_order[params.decoding.order]
    names = {Order.GREEDY: GREEDY, Order.BEAM: BEAM}
    orders = {names[order]: [one.text for one in best] for order, best in by_order.items() if order in names}
    return RunResult(
        strategy=group.strategy,
        seed=group.seeds[0],
        sources=sources,
        targets=[example.target for example in prepared.test],
        predictions=[choice.text for choice in first],
        scores=score([choice.text for choice in first], prepared),
        steps=sum(metadata.batches for metadata in spent),
        paired_steps=sum(metadata.steps for metadata in records),
        seconds=sum(metadata.seconds for metadata in spent),
        history=pd.read_csv(run_folder(group.strategy, group.seeds[0]) / HISTORY),
        log_probabilities=[choice.log_probability for choice in first],
        confidences=[choice.confidence for choice in first],
        orders={name: score(texts, prepared)["correct"].to_numpy() for name, texts in orders.items()},
    )


def tested_run(group: RunGroup, result: RunResult, reports: Path) -> TestedRun:
    """What a single run spent and reached on dev and test; its predictions stand below `reports`."""
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
        "seconds": result.seconds,
    }
    if (error := calibration_error([result])) is not None:
        metrics["test_calibration_error"] = error
    if reranker.accuracy is not None and reranker.model_accuracy is not None:  # cross-validated
        metrics[RERANKED] = reranker.accuracy
        metrics["dev_rerank_gain"] = reranker.accuracy - reranker.model_accuracy
    run = TestedRun(metadata, metrics, reports / group.predictions, group.reranker, models="")
    return replace(run, models=run.models_now())


def evaluate_controls(prepared: Prepared) -> list[RunResult]:
    """Score the test set as each control predicts it."""
    sources = [example.source for example in prepared.test]
    found = controls(prepared.train, sources, prepared.source_alphabet, prepared.target_alphabet)
    return [
        RunResult(
            strategy=name,
            seed=0,
            sources=sources,
            targets=[example.target for example in prepared.test],
            predictions=predictions,
            scores=score(predictions, prepared),
            steps=0,
            paired_steps=0,
            seconds=0.0,
        )
        for name, predictions in found.items()
    ]


def score(predictions: Sequence[str], prepared: Prepared) -> pd.DataFrame:
    """The scores of predictions for the test set, as `scoring.score` gives them."""
    targets, accepted = [item.target for item in prepared.test], [item.accepted for item in prepared.test]
    return scoring.score(predictions, targets, accepted, prepared.target_alphabet.kind)
