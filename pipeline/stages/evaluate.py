"""Stage `evaluate`: every trained run on the test set, the strategies against each other, and the report."""

import csv
import json
from pathlib import Path

import pandas as pd

from pipeline import scoring
from pipeline.comparison import COMPARISONS, Metrics, RunResult, compare, examples, table, verdict
from pipeline.config import Params, load_params
from pipeline.corpus import Example
from pipeline.errors import UserError, explain_user_errors
from pipeline.inference import TrainedModel
from pipeline.prepared import PREPARED, Prepared
from pipeline.report import write_report
from pipeline.runs import HISTORY, Record, run_parameters
from pipeline.strategies import PRETRAIN, STRATEGIES, needs_pretraining, run_folder
from pipeline.tracking import Comparison, Tracker, numbers

REPORTS = Path("reports")
PREDICTIONS = REPORTS / "predictions"
MATCHER = REPORTS / "matcher.json"  # by stage matcher


@explain_user_errors
def main() -> None:
    """Decode the test set with every run, compare, and write reports/."""
    params, prepared = load_params(), Prepared.open(PREPARED)
    results = [evaluate(strategy, seed, params, prepared) for strategy in STRATEGIES for seed in params.seeds]
    unpaired = prepared.among_unpaired(target for example in prepared.test for target in example.accepted)
    metrics = compare(
        results,
        seen=[not unpaired.isdisjoint(example.accepted) for example in prepared.test],
        source_lengths=[len(prepared.source_alphabet.encode(example.source)) for example in prepared.test],
        resamples=params.evaluate.resamples,
        confidence=params.evaluate.confidence,
        seed=params.evaluate.seed,
    )
    write_report(REPORTS, metrics, examples(results), results)
    for result in results:
        write_predictions(result, prepared.test)
    publish(params, prepared, results, metrics)
    print(verdict(metrics))


def evaluate(strategy: str, seed: int, params: Params, prepared: Prepared) -> RunResult:
    """Decode and score the test set with one run, and add up what it spent."""
    folder = run_folder(strategy, seed)
    record = Record.load(folder)
    if record.data != prepared.digest:
        raise UserError(f"{folder} was trained on other data than data/prepared now holds: run `dvc repro`")
    sources = [example.source for example in prepared.test]
    targets = [example.target for example in prepared.test]
    predictions = [found[0].text for found in TrainedModel.load(folder).predict(sources)]
    accepted = [example.accepted for example in prepared.test]
    spent = [record]
    if needs_pretraining(strategy, params):
        spent.append(Record.load(run_folder(PRETRAIN, seed)))
    return RunResult(
        strategy=strategy,
        seed=seed,
        sources=sources,
        targets=targets,
        predictions=predictions,
        scores=scoring.score(predictions, targets, accepted, prepared.target_alphabet.kind),
        updates=sum(part.batches for part in spent),
        paired_updates=record.updates,
        seconds=sum(part.seconds for part in spent),
        history=pd.read_csv(folder / HISTORY),
    )


def write_predictions(result: RunResult, test: tuple[Example, ...]) -> None:
    """Write a run's predictions.tsv: a row per test item; `also` holds further targets that count as right."""
    PREDICTIONS.mkdir(parents=True, exist_ok=True)
    table = pd.DataFrame(
        {
            "source": result.sources,
            "target": result.targets,
            "also": ["|".join(example.also) for example in test],
            "prediction": result.predictions,
            **result.scores,
        }
    )
    table.to_csv(predictions_file(result), sep="\t", index=False, lineterminator="\n", quoting=csv.QUOTE_NONE)


def predictions_file(result: RunResult) -> Path:
    """Where the predictions of a run stand."""
    return PREDICTIONS / f"{result.strategy}-{result.seed}.tsv"


def publish(params: Params, prepared: Prepared, results: list[RunResult], metrics: Metrics) -> None:
    """Complete the comparison in MLflow: missing children from their files, test metrics, the report."""
    with Comparison.open(params, prepared.digest) as comparison:
        for result in results:
            child = publish_child(comparison, params, result)
            child.log_metrics(
                {
                    "test_word_accuracy": scoring.accuracy(result.scores),
                    "test_character_error_rate": scoring.error_rate(result.scores),
                    "updates": result.updates,
                    "seconds": result.seconds,
                },
                step=result.paired_updates,
            )
            child.log_artifact(predictions_file(result))
        for strategy in STRATEGIES:
            comparison.log_metrics({f"{strategy}_word_accuracy": metrics[strategy]["word_accuracy"]["mean"]})
        for name, found in metrics[COMPARISONS].items():
            comparison.log_metrics({f"{name}_difference": found["difference"], f"{name}_p_value": found["p_value"]})
        comparison.log_metrics(numbers(json.loads(MATCHER.read_text(encoding="utf-8")), "matcher"))
        for path in sorted(REPORTS.iterdir()):
            if path.is_file():
                comparison.log_artifact(path)
        comparison.set_description(f"{verdict(metrics)}\n\n{table(metrics)}")


def publish_child(comparison: Comparison, params: Params, result: RunResult) -> Tracker:
    """The child of a run: the one that its stage made while training, or one from the files."""
    pretrained = needs_pretraining(result.strategy, params)
    return comparison.publish_child(
        result.strategy,
        result.seed,
        run_folder(result.strategy, result.seed),
        run_parameters(result.strategy, params),
        reused=True,
        pretraining=run_folder(PRETRAIN, result.seed) if pretrained else None,
    )


if __name__ == "__main__":
    main()
