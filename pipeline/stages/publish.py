"""Stage `publish`: MLflow gets what it lacks of the comparison in the files; it runs at the end of every repro."""

from pipeline.config import load_params
from pipeline.errors import explain_user_errors
from pipeline.publication import publish


@explain_user_errors
def main() -> None:
    """Complete the comparison in MLflow; that it is away costs a warning."""
    publish(load_params())


if __name__ == "__main__":
    main()
