"""Stage `rerank STRATEGY`: how much each feature counts, learned on dev for each run and the ensemble of a strategy."""

import argparse

from pipeline.config.params import Order, load_params
from pipeline.data.prepared import PREPARED, Prepared
from pipeline.errors import explain_user_errors
from pipeline.prediction.predictor import Predictor, each_model
from pipeline.reranking.features import TO_FIT, FeatureExtractor
from pipeline.reranking.reranker import Reranker
from pipeline.runs.groups import RERANKERS, RerankMetadata, RunGroup, ensembles, single_runs
from pipeline.stages import watched


@explain_user_errors
def main() -> None:
    """Fit and write a reranker for each; without `decoding.order: rerank` it keeps the order of the model's scores."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("strategy")
    strategy = parser.parse_args().strategy
    params, prepared = load_params(), Prepared.open(PREPARED)
    metadata = RerankMetadata.of(strategy, params, prepared.digest)
    features = FeatureExtractor.load(TO_FIT) if params.decoding.order is Order.RERANK else None
    groups = [group for group in (*single_runs(params), *ensembles(params)) if group.strategy == strategy]
    (RERANKERS / strategy).mkdir(parents=True, exist_ok=True)
    for group, model in each_model(watched(groups, f"rerank {strategy}"), held_out=True):
        reranker = Predictor(model, params.decoding, features).fitted(prepared.dev).reranker
        reranker.save(group.reranker)
        print(summary(group, reranker), flush=True)
    metadata.save(RERANKERS / strategy)


def summary(group: RunGroup, reranker: Reranker) -> str:
    """What was learned, in a line."""
    title = f"{group.strategy} {group.name}"
    if reranker.model_accuracy is None or reranker.accuracy is None:
        return f"{title}  keeps the order of the model's scores"
    return f"{title}  dev accuracy {reranker.model_accuracy:.1%}, reranked {reranker.accuracy:.1%} (cross-validated)"


if __name__ == "__main__":
    main()
