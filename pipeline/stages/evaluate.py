"""Stage `evaluate`: all that was trained on the test set, the strategies against each other, and the report."""

from pathlib import Path

from pipeline.choice import learn_evidence
from pipeline.comparison import compare
from pipeline.config import load_params
from pipeline.errors import UserError, explain_user_errors
from pipeline.evaluation import evaluate, evaluate_controls
from pipeline.examples import examples
from pipeline.prepared import PREPARED, Prepared
from pipeline.publication import publish
from pipeline.report import write_predictions, write_report
from pipeline.rerankers import RERANKERS, RerankRecord, ensembles, loaded, single_runs
from pipeline.stages import watched
from pipeline.streams import learned_noise
from pipeline.summary import verdict
from pipeline.tracking import Comparison

REPORTS = Path("reports")
REWRITES = 1000  # of the learned noise, at most


@explain_user_errors
def main() -> None:
    """Decode the test set with every run and ensemble, compare, and write reports/."""
    params, prepared = load_params(), Prepared.open(PREPARED)
    held_out = params.prepare.hold_out_targets
    if RerankRecord.load() != RerankRecord(prepared.digest, params.seeds, held_out, params.decoding):
        raise UserError(f"{RERANKERS} was made with other data or parameters than there are now: run `dvc repro`")
    evidence = learn_evidence(params.decoding, prepared, held_out)
    groups = [*single_runs(params.seeds), *ensembles(params.seeds, params.decoding)]
    found = {
        group: evaluate(group, model, params, prepared, evidence)
        for group, model in loaded(watched(groups, "evaluate"))
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
    rewrites = learned_noise(prepared).rewrites(REWRITES, prepared.source_alphabet, prepared.target_alphabet)
    write_report(REPORTS, metrics, examples(runs), runs, rewrites)
    for group, result in found.items():
        write_predictions(REPORTS / group.predictions, result, prepared.test)
    with Comparison.open(params, prepared.digest) as comparison:
        publish(comparison, params, found, metrics, REPORTS)
    print(verdict(metrics))


if __name__ == "__main__":
    main()
