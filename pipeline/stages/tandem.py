"""Stage `tandem`: batches of pairs and of unpaired targets in turn, through one shared decoder."""

from pipeline.errors import explain_user_errors
from pipeline.stages.training import train_seeds


@explain_user_errors
def main() -> None:
    """Train both encoders and the decoder by the schedule."""
    train_seeds("tandem")


if __name__ == "__main__":
    main()
