"""Stage `rerank`: how much everything that speaks for a candidate counts, learned on dev for every run and ensemble."""

from pipeline.config.params import load_params
from pipeline.data.prepared import PREPARED, Prepared
from pipeline.errors import explain_user_errors
from pipeline.prediction.predictor import each_loaded, fitted_chooser, learn_evidence
from pipeline.reranking.reranker import Reranker
from pipeline.runs.groups import RERANKERS, RerankMetadata, RunGroup, ensembles, single_runs
from pipeline.stages import watched


@explain_user_errors
def main() -> None:
    """Fit a reranker to each and write it; without `decoding.order: rerank` it is the model's own order."""
    params, prepared = load_params(), Prepared.open(PREPARED)
    decoding, held_out = params.decoding, params.prepare.hold_out_targets
    evidence = learn_evidence(decoding, prepared, held_out)
    groups = [*single_runs(params), *ensembles(params)]
    for group, model in each_loaded(watched(groups, "rerank")):
        group.records(prepared.digest)
        reranker = fitted_chooser(model, decoding, evidence, prepared).reranker
        group.reranker.parent.mkdir(parents=True, exist_ok=True)
        reranker.save(group.reranker)
        print(summary(group, reranker), flush=True)
    RerankMetadata(prepared.digest, params.seeds, held_out, decoding).save(RERANKERS)


def summary(group: RunGroup, reranker: Reranker) -> str:
    """What was learned, in a line."""
    title = f"{group.strategy} {group.name}"
    if reranker.own_accuracy is None or reranker.accuracy is None:
        return f"{title}  keeps the model's own order"
    return f"{title}  dev accuracy {reranker.own_accuracy:.1%}, reranked {reranker.accuracy:.1%} (cross-validated)"


if __name__ == "__main__":
    main()
