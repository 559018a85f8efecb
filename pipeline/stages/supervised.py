"""Stage `supervised`: pairs only, the control."""

from pipeline.errors import explain_user_errors
from pipeline.stages.training import train_seeds


@explain_user_errors
def main() -> None:
    """Train encoder A and the decoder on pairs."""
    train_seeds("supervised")


if __name__ == "__main__":
    main()
