"""Stage `matcher`: the siamese model that scores how similar a source and a target are.

`python -m pipeline.stages.matcher STRATEGY --seed SEED` takes hard negatives from the predictor of that run.
"""

import argparse
import json
from pathlib import Path

from pipeline.config.params import load_params
from pipeline.data.prepared import Prepared
from pipeline.errors import explain_user_errors
from pipeline.matcher.network import MATCHER_FOLDER
from pipeline.matcher.training import RANK, MatchingData, calibrate, new_training
from pipeline.model.inference import TrainedModel
from pipeline.runs.environment import Usage
from pipeline.runs.folders import MODELS, run_folder
from pipeline.runs.groups import RunGroup
from pipeline.stages import end_on_sigterm
from pipeline.training.loop import History

TIMINGS_FOLDER = MODELS / "timings" / "matcher"
METRICS = Path("reports/matcher.json")


@explain_user_errors
def main() -> None:
    """Train on the pairs against hard negatives, calibrate on dev, measure on dev and test."""
    end_on_sigterm()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("strategy")
    parser.add_argument("--seed", type=int, required=True)
    arguments = parser.parse_args()
    seed, settings, prepared = arguments.seed, load_params().matcher, Prepared.open()
    predictor = load_predictor(arguments.strategy, seed, prepared)
    data = MatchingData.collect(prepared, predictor, settings, seed)
    matcher, loop = new_training(settings, prepared, data, seed)
    history, usage = History(loop.progress), Usage()
    for evaluation in loop:
        if evaluation:
            row = history.add(evaluation, usage.row())
            losses = f"loss {row['loss_paired']:.3f}  dev {RANK.replace('_', ' ')} {row[f'dev_{RANK}']:.3f}"
            print(f"matcher {seed}  {row['step']}/{settings.steps}  {losses}", flush=True)
    calibrate(matcher, prepared.dev, data.negatives["dev"])
    matcher.save(MATCHER_FOLDER)
    history.save(MATCHER_FOLDER, TIMINGS_FOLDER)
    metrics = {
        "encoder": settings.encoder.value,
        "parameters": matcher.siamese.count_params(),
        "steps": loop.progress.step,
        "best_step": loop.progress.best_step,
        "searched": len(set(data.unpaired)),
        "dev": data.measure(matcher, "dev"),
        "test": data.measure(matcher, "test"),
    }
    METRICS.parent.mkdir(parents=True, exist_ok=True)
    METRICS.write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
    print(", ".join(f"{name} {value:.3f}" for name, value in metrics["test"].items()))


def load_predictor(strategy: str, seed: int, prepared: Prepared) -> TrainedModel:
    """The predictor of a run on this data; its wrong predictions are hard negatives."""
    RunGroup(strategy, (seed,)).run_metadata(prepared.digest)  # raises for other data
    return TrainedModel.load(run_folder(strategy, seed))


if __name__ == "__main__":
    main()
