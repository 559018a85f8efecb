"""Stage `evaluate`: all that was trained on the test set, the strategies against each other, and the report."""

from pipeline.config.params import load_params
from pipeline.data.prepared import PREPARED, Prepared
from pipeline.errors import UserError, explain_user_errors
from pipeline.evaluation import sizes
from pipeline.evaluation.attention import attention_maps, sources_to_map
from pipeline.evaluation.comparison import compare
from pipeline.evaluation.confusions import confusions
from pipeline.evaluation.evaluate import evaluate, evaluate_controls, tested_run
from pipeline.evaluation.examples import examples
from pipeline.evaluation.results import REPORTS, Outcome, focus_of
from pipeline.prediction.predictor import each_predictor, load_trained
from pipeline.report.findings import Findings
from pipeline.report.report import write_predictions, write_report
from pipeline.report.tables import verdict
from pipeline.runs.groups import RERANKERS, RerankMetadata, RunGroup, ensembles, single_runs
from pipeline.stages import watched
from pipeline.training.noise import learned_noise

REWRITES = 1000  # of the learned noise, at most


@explain_user_errors
def main() -> None:
    """Decode the test set with every run and ensemble, compare, and write reports/."""
    params, prepared = load_params(), Prepared.open(PREPARED)
    for strategy in params.strategies:
        if RerankMetadata.load(RERANKERS / strategy) != RerankMetadata.of(strategy, params, prepared.digest):
            raise UserError(f"{RERANKERS / strategy} was made with other data or parameters: run `dvc repro`")
    groups = [*single_runs(params), *ensembles(params)]
    found = {
        group: evaluate(group, predictor, params, prepared)
        for group, predictor in each_predictor(watched(groups, "evaluate"))
    }
    runs = [result for group, result in found.items() if not group.is_ensemble]
    unpaired = prepared.among_unpaired(target for example in prepared.test for target in example.accepted)
    metrics = compare(
        runs,
        seen=[not unpaired.isdisjoint(example.accepted) for example in prepared.test],
        source_lengths=[len(prepared.source_alphabet.encode(example.source)) for example in prepared.test],
        resamples=params.evaluate.resamples,
        confidence=params.evaluate.confidence,
        seed=params.evaluate.seed,
        ensembles=[result for group, result in found.items() if group.is_ensemble],
        controls=evaluate_controls(prepared),
    )
    focus, won_and_lost = focus_of(list(params.strategies)), examples(runs)
    sources = [example.source for example in prepared.test]
    mapped = sources_to_map(won_and_lost, sources, prepared.source_alphabet.kind)
    findings = Findings(
        metrics=metrics,
        results=runs,
        examples=won_and_lost,
        rewrites=learned_noise(prepared).rewrites(REWRITES, prepared.source_alphabet, prepared.target_alphabet),
        confusions=confusions(runs, [example.accepted for example in prepared.test], prepared.target_alphabet.kind),
        pairs=len(prepared.train_sources),
        targets=len(prepared.targets),
        dev=len(prepared.dev),
        attention=attention_maps(load_trained(RunGroup(focus, params.seeds[:1])), mapped),
        earlier=sizes.saved(params),
    )
    write_report(REPORTS, findings)
    for group, result in found.items():
        write_predictions(REPORTS / group.predictions, result, prepared.test)
    tested = [tested_run(group, result, REPORTS) for group, result in found.items() if not group.is_ensemble]
    Outcome.of(params, prepared.digest, tested).save()
    print(verdict(metrics))


if __name__ == "__main__":
    main()
