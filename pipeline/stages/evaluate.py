"""Stage `evaluate`: decode the test set with everything that was trained, and compare the strategies."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial

from pipeline.config.params import Params, load_params
from pipeline.data.prepared import Prepared
from pipeline.errors import UserError, explain_user_errors
from pipeline.evaluation.attention import attention_maps, sources_to_map
from pipeline.evaluation.comparison import (
    RunResult,
    calibration_table,
    compare,
    curves_table,
    focus_and_rivals,
    histories_table,
)
from pipeline.evaluation.coverage import coverage_table
from pipeline.evaluation.evaluate import evaluate, evaluate_controls, evaluated_run, write_predictions
from pipeline.evaluation.metrics import Resampling
from pipeline.evaluation.mistakes import confusions, examples
from pipeline.evaluation.results import EVALUATION, REPORTS, EvaluatedRuns, EvaluationResults
from pipeline.prediction.predictor import each_predictor, load_trained
from pipeline.runs.groups import RERANKERS, RerankMetadata, RunGroup, decisive_parameters, ensembles, single_runs
from pipeline.stages.decoding import decoded
from pipeline.training.noise import learned_noise

REWRITES = 1000  # of the learned noise, at most


@explain_user_errors
def main() -> None:
    """Write reports/evaluation, reports/predictions and reports/metrics.json."""
    params, prepared = load_params(), Prepared.open()
    for strategy in params.strategies:
        if not (RERANKERS / strategy).exists():
            raise UserError(f"no stage trains strategies.{strategy}: name it in stage `own` of dvc.yaml")
        if RerankMetadata.load(RERANKERS / strategy) != RerankMetadata.of(strategy, params, prepared.digest):
            raise UserError(f"{RERANKERS / strategy} was made with other data or parameters: run `dvc repro`")
    groups = [*single_runs(params), *ensembles(params)]
    focus = focus_and_rivals(list(params.strategies), params.strategies)["focus"]
    by_group = dict(decoded(partial(decode, params=params, focus=focus), groups, params, "evaluate"))
    results = {group: by_group[group] for group in groups}
    runs = [result for group, result in results.items() if not group.is_ensemble]
    unpaired = prepared.among_unpaired(target for example in prepared.test for target in example.accepted)
    resampling = Resampling(**asdict(params.evaluate))
    metrics = compare(
        runs,
        listed=[not unpaired.isdisjoint(example.accepted) for example in prepared.test],
        source_lengths=[len(prepared.source_alphabet.encode(example.source)) for example in prepared.test],
        settings=params.strategies,
        resampling=resampling,
        ensembles=[result for group, result in results.items() if group.is_ensemble],
        controls=evaluate_controls(prepared),
    )
    won_and_lost = examples(runs, focus)
    sources = [example.source for example in prepared.test]
    mapped = sources_to_map(won_and_lost, sources, prepared.source_alphabet.kind)
    EvaluationResults(
        metrics=metrics,
        curves=curves_table(runs),
        histories=histories_table(runs),
        calibration=calibration_table(runs),
        coverage=coverage_table([run for run in runs if run.strategy == focus], resampling),
        confusions=confusions(runs, [example.accepted for example in prepared.test], prepared.target_alphabet.kind),
        noise=learned_noise(prepared).rewrites(REWRITES, prepared.source_alphabet, prepared.target_alphabet),
        examples=won_and_lost,
        attention=attention_maps(load_trained(RunGroup(focus, params.seeds[:1])), mapped),
    ).save()
    for group, result in results.items():
        write_predictions(REPORTS / group.predictions, result, prepared.test)
    evaluated = [evaluated_run(group, result) for group, result in results.items() if not group.is_ensemble]
    parameters = {name: value for name, value in decisive_parameters(params).items() if not name.startswith("matcher.")}
    EvaluatedRuns(prepared.digest, parameters, tuple(evaluated)).save(EVALUATION)


def decode(groups: Sequence[RunGroup], params: Params, focus: str) -> Iterator[tuple[RunGroup, RunResult]]:
    """Each group with its result on the test set; single runs of the strategy `focus` also do without the list."""
    prepared = Prepared.open()
    for group, predictor in each_predictor(groups):
        yield group, evaluate(group, predictor, params, prepared, group.strategy == focus and not group.is_ensemble)


if __name__ == "__main__":
    main()
