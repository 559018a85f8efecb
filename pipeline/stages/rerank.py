"""Stage `rerank STRATEGY`: how much each feature counts, learned on dev for each run and the ensemble of a strategy."""

import argparse
from collections.abc import Iterator, Sequence
from functools import partial

from pipeline.config.params import Order, Params, load_params
from pipeline.data.prepared import Prepared
from pipeline.errors import explain_user_errors
from pipeline.prediction.predictor import Predictor, each_model
from pipeline.reranking.features import TO_FIT, FeatureExtractor
from pipeline.reranking.reranker import Reranker
from pipeline.runs.groups import RERANKERS, RerankMetadata, RunGroup, ensembles, single_runs
from pipeline.stages.decoding import decoded


@explain_user_errors
def main() -> None:
    """Fit and write a reranker for each; without `decoding.order: rerank` it keeps the order of the model's scores."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("strategy")
    strategy = parser.parse_args().strategy
    params = load_params()
    metadata = RerankMetadata.of(strategy, params, Prepared.open().digest)
    groups = [group for group in (*single_runs(params), *ensembles(params)) if group.strategy == strategy]
    (RERANKERS / strategy).mkdir(parents=True, exist_ok=True)
    for group, reranker in decoded(partial(fit, params=params), groups, params, f"rerank {strategy}"):
        reranker.save(group.reranker)
        print(summary(group, reranker), flush=True)
    metadata.save(RERANKERS / strategy)


def fit(groups: Sequence[RunGroup], params: Params) -> Iterator[tuple[RunGroup, Reranker]]:
    """Each group with its reranker."""
    dev, with_features = Prepared.open().dev, params.decoding.order is Order.RERANK
    features = FeatureExtractor.load(TO_FIT) if with_features else None
    for group, model in each_model(groups, held_out=True):
        yield group, Predictor(model, params.decoding, features).fitted(dev).reranker


def summary(group: RunGroup, reranker: Reranker) -> str:
    """What was learned, in a line."""
    title = f"{group.strategy} {group.name}"
    if reranker.model_accuracy is None or reranker.accuracy is None:
        return f"{title}  keeps the order of the model's scores"
    return f"{title}  dev accuracy {reranker.model_accuracy:.1%}, reranked {reranker.accuracy:.1%} (cross-validated)"


if __name__ == "__main__":
    main()
