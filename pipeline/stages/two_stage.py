"""Stage `two_stage`: encoder A trained towards the frozen autoencoder of stage `pretrain`, the baseline."""

import pandas as pd

from pipeline.config import load_params
from pipeline.errors import explain_user_errors
from pipeline.prepared import PREPARED, Prepared
from pipeline.runs import HISTORY, pretrained_network, run_folder, run_training, stage_parameters
from pipeline.stages import seed_argument
from pipeline.tracking import Tracker
from pipeline.training import Plan, Task


@explain_user_errors
def main() -> None:
    """Train encoder A alone."""
    params, seed = load_params(), seed_argument(__doc__)
    prepared = Prepared.open(PREPARED)
    network = pretrained_network(seed)
    task = Task(params.two_stage.objective)
    plan = Plan([task], task, params.two_stage.updates)
    parameters = stage_parameters(params, "pretrain", "two_stage")
    with Tracker.start(params, prepared.digest, "two_stage", seed, parameters=parameters, continuing=True) as tracker:
        if not tracker.continued:
            tracker.log_history(pd.read_csv(run_folder("pretrain", seed) / HISTORY), prefix="pretrain_")
        run_training(params, prepared, network, plan, "two_stage", seed, tracker)


if __name__ == "__main__":
    main()
