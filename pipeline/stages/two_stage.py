"""Stage `two_stage`: encoder A trained towards the frozen autoencoder of stage `pretrain`, the baseline."""

import pandas as pd

from pipeline.config import load_params
from pipeline.errors import explain_user_errors
from pipeline.prepared import PREPARED, Prepared
from pipeline.runs import HISTORY, run_parameters, run_training
from pipeline.stages import seed_argument
from pipeline.strategies import PRETRAIN, run_folder
from pipeline.tracking import Tracker


@explain_user_errors
def main() -> None:
    """Train encoder A, then all of the predictor where `two_stage.finetune` says so."""
    params, seed = load_params(), seed_argument(__doc__)
    prepared = Prepared.open(PREPARED)
    parameters = run_parameters("two_stage", params)
    with Tracker.start(params, prepared.digest, "two_stage", seed, parameters, continuing=True) as tracker:
        if not tracker.continued:
            tracker.log_history(pd.read_csv(run_folder(PRETRAIN, seed) / HISTORY), prefix="pretrain_")
        run_training("two_stage", params, prepared, seed, tracker.log_history)


if __name__ == "__main__":
    main()
