"""Stage `publish`: add to MLflow what it lacks of the comparison in the files, at the end of every repro."""

from pipeline.config.params import load_params
from pipeline.errors import explain_user_errors
from pipeline.runs.checkpoints import CHECKPOINTS, clear
from pipeline.tracking.client import project_root
from pipeline.tracking.publish import publish


@explain_user_errors
def main() -> None:
    """Complete the comparison in MLflow, with a warning if it is down, and remove checkpoints of finished trainings."""
    publish(load_params())
    clear(project_root() / CHECKPOINTS)


if __name__ == "__main__":
    main()
