"""Stage `features`: what pairs and unpaired targets say of candidates, learned once and saved in models/features."""

from pipeline.config.params import Order, load_params
from pipeline.data.prepared import PREPARED, Prepared
from pipeline.errors import explain_user_errors
from pipeline.reranking.features import FEATURES_FOLDER, FeatureExtractor


@explain_user_errors
def main() -> None:
    """Learn the features and save them; without `decoding.order: rerank` the folder stays empty."""
    params = load_params()
    FEATURES_FOLDER.mkdir(parents=True, exist_ok=True)
    if params.decoding.order is Order.RERANK:
        held_out = params.prepare.hold_out_targets or not params.data.has_list
        FeatureExtractor.learn(Prepared.open(PREPARED), held_out).save(FEATURES_FOLDER)


if __name__ == "__main__":
    main()
