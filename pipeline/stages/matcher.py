"""Stage `matcher`: the siamese model that scores how similar a source and a target are.

`python -m pipeline.stages.matcher STRATEGY` takes hard negatives from the predictor of that strategy's first seed. A
matcher of the same predictor, data and parameters is kept: one more seed trains none anew.
"""

import argparse
import json
from importlib.metadata import version
from pathlib import Path

from pipeline.config.params import load_params
from pipeline.data.prepared import Prepared
from pipeline.errors import UserError, explain_user_errors
from pipeline.graph import code_digest
from pipeline.hashing import digest_of, joined
from pipeline.matcher.network import MATCHER_FOLDER
from pipeline.matcher.training import RANK, MatchingData, calibrate, new_training
from pipeline.model.inference import TrainedModel
from pipeline.runs.environment import Usage
from pipeline.runs.folders import COMPUTING, KEY, MODELS, TIMINGS, before_dev, run_folder
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
    strategy = parser.parse_args().strategy
    params, prepared = load_params(), Prepared.open()
    seed, settings = params.seeds[0], params.matcher
    (run,) = RunGroup(strategy, (seed,)).run_metadata(prepared.digest)  # raises for other data
    code = code_digest("pipeline.stages.matcher")
    key = joined(prepared.digest, run.content, str(seed), repr(settings), code, *map(version, COMPUTING))
    if is_finished(key):
        print("the matcher is finished and kept")
        return
    predictor = TrainedModel.load(before_dev(run_folder(strategy, seed)))
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
    (TIMINGS_FOLDER / KEY).write_text(finished_key(key), encoding="utf-8")
    print(", ".join(f"{name} {value:.3f}" for name, value in metrics["test"].items()))


def is_finished(key: str) -> bool:
    """Whether the outputs are the whole and undamaged results of the training with this key."""
    try:
        return (TIMINGS_FOLDER / KEY).read_text(encoding="utf-8") == finished_key(key)
    except (OSError, UserError):
        return False


def finished_key(key: str) -> str:
    """A digest of the key of a training and of its results; raises `UserError` if one is missing."""
    return joined(key, digest_of([*sorted(MATCHER_FOLDER.glob("*")), TIMINGS_FOLDER / TIMINGS, METRICS]))


if __name__ == "__main__":
    main()
