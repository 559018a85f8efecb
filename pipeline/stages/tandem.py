"""Stage `tandem`: batches of pairs and of unpaired targets in turn, through one shared decoder."""

from pipeline.config import Start, load_params
from pipeline.errors import explain_user_errors
from pipeline.prepared import PREPARED, Prepared
from pipeline.runs import new_network, pretrained_network, run_training, stage_parameters
from pipeline.stages import seed_argument
from pipeline.tracking import Tracker
from pipeline.training import Plan, Task


@explain_user_errors
def main() -> None:
    """Train both encoders and the decoder by the schedule."""
    params, seed = load_params(), seed_argument(__doc__)
    prepared = Prepared.open(PREPARED)
    if params.tandem.start is Start.PRETRAINED:
        network = pretrained_network(seed)
    else:
        network = new_network(params.model, prepared, seed)
    plan = Plan([Task(task) for task in params.tandem.schedule], Task.PAIRED, params.tandem.updates)
    parameters = stage_parameters(params, "tandem")
    with Tracker.start(params, prepared.digest, "tandem", seed, parameters=parameters) as tracker:
        run_training(params, prepared, network, plan, "tandem", seed, tracker)


if __name__ == "__main__":
    main()
