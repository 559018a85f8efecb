"""Stage `pretrain`: the autoencoder on unpaired targets, first stage of `two_stage`."""

from pipeline.errors import explain_user_errors
from pipeline.stages.training import train_seeds


@explain_user_errors
def main() -> None:
    """Train encoder B and the decoder to copy targets."""
    train_seeds("pretrain")


if __name__ == "__main__":
    main()
