"""Stage `pretrain`: the autoencoder on unpaired targets, the first stage of the two-stage strategy."""

from functools import partial

from pipeline.config import load_params
from pipeline.errors import explain_user_errors
from pipeline.prepared import PREPARED, Prepared
from pipeline.runs import run_parameters, run_training
from pipeline.stages import seed_argument
from pipeline.tracking import Tracker


@explain_user_errors
def main() -> None:
    """Train encoder B and the decoder to copy targets."""
    params, seed = load_params(), seed_argument(__doc__)
    prepared = Prepared.open(PREPARED)
    parameters = run_parameters("two_stage", params)
    with Tracker.start(params, prepared.digest, "two_stage", seed, parameters) as tracker:
        run_training("pretrain", params, prepared, seed, partial(tracker.log_history, prefix="pretrain_"))
        tracker.finish("SCHEDULED")  # stage two_stage goes on with this run


if __name__ == "__main__":
    main()
