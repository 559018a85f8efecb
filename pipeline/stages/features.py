"""Stage `features`: what pairs and unpaired targets say of candidates, learned once and saved in models/features."""

from pipeline.config.params import Order, load_params
from pipeline.data.prepared import PREPARED, Prepared
from pipeline.errors import explain_user_errors
from pipeline.reranking.features import FEATURES_FOLDER, TO_FIT, TO_PREDICT, FeatureExtractor


@explain_user_errors
def main() -> None:
    """Learn features to fit rerankers with, and to predict with; without `decoding.order: rerank` there are none."""
    params = load_params()
    FEATURES_FOLDER.mkdir(parents=True, exist_ok=True)
    if params.decoding.order is Order.RERANK:
        prepared = Prepared.open(PREPARED)
        held_out = params.prepare.hold_out_targets or not prepared.has_list
        features = FeatureExtractor.learn(prepared, held_out)
        features.save(TO_FIT)
        features.with_dev(prepared).save(TO_PREDICT)


if __name__ == "__main__":
    main()
