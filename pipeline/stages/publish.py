"""Stage `publish`: MLflow gets what it lacks of the comparison in the files; it runs at the end of every repro."""

from pipeline.config.params import load_params
from pipeline.errors import explain_user_errors
from pipeline.runs.checkpoints import FOLDER, clear
from pipeline.tracking.client import project_root
from pipeline.tracking.publish import publish


@explain_user_errors
def main() -> None:
    """Complete the comparison in MLflow; that it is away costs a warning. Checkpoints are not needed any more."""
    publish(load_params())
    clear(project_root() / FOLDER)


if __name__ == "__main__":
    main()
