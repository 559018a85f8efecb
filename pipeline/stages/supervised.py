"""Stage `supervised`: pairs only, the control."""

from pipeline.config import load_params
from pipeline.errors import explain_user_errors
from pipeline.prepared import PREPARED, Prepared
from pipeline.runs import new_network, run_training, stage_parameters
from pipeline.stages import seed_argument
from pipeline.tracking import Tracker
from pipeline.training import Plan, Task


@explain_user_errors
def main() -> None:
    """Train encoder A and the decoder on pairs."""
    params, seed = load_params(), seed_argument(__doc__)
    prepared = Prepared.open(PREPARED)
    network = new_network(params.model, prepared, seed)
    plan = Plan([Task.PAIRED], Task.PAIRED, params.supervised.updates)
    parameters = stage_parameters(params, "supervised")
    with Tracker.start(params, prepared.digest, "supervised", seed, parameters=parameters) as tracker:
        run_training(params, prepared, network, plan, "supervised", seed, tracker)


if __name__ == "__main__":
    main()
