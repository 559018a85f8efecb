"""Stage `pretrain`: the autoencoder on unpaired targets, the first stage of the two-stage strategy."""

from pipeline.config import load_params
from pipeline.errors import explain_user_errors
from pipeline.prepared import PREPARED, Prepared
from pipeline.runs import new_network, run_training, stage_parameters
from pipeline.stages import seed_argument
from pipeline.tracking import Tracker
from pipeline.training import Plan, Task


@explain_user_errors
def main() -> None:
    """Train encoder B and the decoder to copy targets."""
    params, seed = load_params(), seed_argument(__doc__)
    prepared = Prepared.open(PREPARED)
    network = new_network(params.model, prepared, seed)
    plan = Plan([Task.AUTOENCODE], Task.AUTOENCODE, params.pretrain.updates)
    parameters = stage_parameters(params, "pretrain", "two_stage")
    with Tracker.start(params, prepared.digest, "two_stage", seed, parameters=parameters) as tracker:
        run_training(params, prepared, network, plan, "pretrain", seed, tracker, prefix="pretrain_")
        tracker.finish("SCHEDULED")


if __name__ == "__main__":
    main()
