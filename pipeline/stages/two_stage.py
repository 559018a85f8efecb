"""Stage `two_stage`: encoder A trained towards the frozen autoencoder of stage `pretrain`, the baseline."""

from pipeline.errors import explain_user_errors
from pipeline.stages.training import train_seeds


@explain_user_errors
def main() -> None:
    """Train encoder A, then all of the predictor where `two_stage.finetune` says so."""
    train_seeds("two_stage")


if __name__ == "__main__":
    main()
