"""Stage `matcher`: the siamese model that says how alike a source and a target are."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.config.params import Params, load_params
from pipeline.data.examples import Example
from pipeline.data.prepared import PREPARED, Prepared
from pipeline.errors import UserError, explain_user_errors
from pipeline.matcher.negatives import Negatives, find_negatives
from pipeline.matcher.network import FOLDER, Matcher
from pipeline.matcher.training import Look, MatchingStream, calibrate, retrieval, separation, train_matcher
from pipeline.model.backend import keras, tf
from pipeline.model.inference import TrainedModel
from pipeline.runs.folders import HISTORY, RunMetadata, run_folder
from pipeline.stages import end_on_sigterm, seed_argument

METRICS = Path("reports/matcher.json")

# Unpaired targets that are searched, at most: by a look at the development data, and for the metrics.
LOOK_TARGETS, METRIC_TARGETS = 10_000, 200_000


@explain_user_errors
def main() -> None:
    """Train on the pairs against hard negatives, calibrate on dev, measure on dev and test."""
    end_on_sigterm()
    params, seed = load_params(), seed_argument(__doc__)
    prepared = Prepared.open(PREPARED)
    unpaired = unpaired_targets(prepared, METRIC_TARGETS, seed)
    splits = {"train": prepared.train, "dev": prepared.dev, "test": prepared.test}
    listed = [*(example.target for example in prepared.train), *unpaired]
    predictor = load_predictor(prepared, seed)
    negatives = {
        name: find_negatives(examples, listed, predictor, params.matcher, seed) for name, examples in splits.items()
    }
    matcher, looks = train(params, prepared, unpaired, negatives["train"], seed)
    calibrate(matcher, prepared.dev, negatives["dev"])
    matcher.save(FOLDER)
    pd.DataFrame([look.row() for look in looks]).to_csv(FOLDER / HISTORY, index=False, lineterminator="\n")
    metrics = {
        "encoder": params.matcher.encoder.value,
        "parameters": matcher.siamese.count_params(),
        "steps": looks[-1].step,
        "best_step": max(look.step for look in looks if look.best),
        "seconds": round(looks[-1].seconds, 3),
        "searched": len(set(unpaired)),
        "dev": measure(matcher, prepared.dev, negatives["dev"], unpaired),
        "test": measure(matcher, prepared.test, negatives["test"], unpaired),
    }
    METRICS.parent.mkdir(parents=True, exist_ok=True)
    METRICS.write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
    print(", ".join(f"{name} {value:.3f}" for name, value in metrics["test"].items()))


def unpaired_targets(prepared: Prepared, at_most: int, seed: int) -> list[str]:
    """The unpaired targets, or a sample of them."""
    count = len(prepared.targets)
    rows = range(count) if count <= at_most else np.random.default_rng(seed).permutation(count)[:at_most].tolist()
    ids, offsets = prepared.targets.ids, prepared.targets.offsets
    return [prepared.target_alphabet.decode(ids[offsets[row] : offsets[row + 1]]) for row in rows]


def load_predictor(prepared: Prepared, seed: int) -> TrainedModel:
    """The supervised predictor, whose wrong predictions are hard negatives."""
    folder = run_folder("supervised", seed)
    if RunMetadata.load(folder).data != prepared.digest:
        raise UserError(f"{folder} was trained on other data than data/prepared now holds: run `dvc repro`")
    return TrainedModel.load(folder)


def train(
    params: Params, prepared: Prepared, unpaired: list[str], negatives: Negatives, seed: int
) -> tuple[Matcher, list[Look]]:
    """A matcher trained until it finds dev targets no better; the reader sees every look."""
    settings = params.matcher
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    matcher = Matcher(settings, prepared.source_alphabet, prepared.target_alphabet)
    stream = MatchingStream(matcher, prepared.train, negatives.all, settings.batch_size, settings.negatives, seed)
    listed = [*(example.target for example in prepared.dev), *unpaired[:LOOK_TARGETS]]
    looks = []
    for look in train_matcher(
        matcher, stream, settings, lambda: retrieval(matcher, prepared.dev, listed)["mean_reciprocal_rank"]
    ):
        looks.append(look)
        print(
            f"matcher {seed}  {look.step}/{settings.steps}  loss {look.loss:.3f}  "
            f"dev mean reciprocal rank {look.dev_score:.3f}",
            flush=True,
        )
    return matcher, looks


def measure(
    matcher: Matcher, examples: Sequence[Example], negatives: Negatives, unpaired: Sequence[str]
) -> dict[str, float]:
    """True pairs against hard negatives, and the right target among the targets of `examples` and the unpaired ones."""
    listed = [*(example.target for example in examples), *unpaired]
    return {**separation(matcher, examples, negatives), **retrieval(matcher, examples, listed)}


if __name__ == "__main__":
    main()
