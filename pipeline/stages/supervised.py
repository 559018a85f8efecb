"""Stage `supervised`: pairs only, the control."""

from pipeline.config import load_params
from pipeline.errors import explain_user_errors
from pipeline.prepared import PREPARED, Prepared
from pipeline.runs import run_parameters, run_training
from pipeline.stages import seed_argument
from pipeline.tracking import Tracker


@explain_user_errors
def main() -> None:
    """Train encoder A and the decoder on pairs."""
    params, seed = load_params(), seed_argument(__doc__)
    prepared = Prepared.open(PREPARED)
    parameters = run_parameters("supervised", params)
    with Tracker.start(params, prepared.digest, "supervised", seed, parameters) as tracker:
        run_training("supervised", params, prepared, seed, tracker.log_history)


if __name__ == "__main__":
    main()
