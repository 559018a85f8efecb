"""Processor seconds that `tandem predict` takes for one word, beside those of another version of the project.

    python -m benchmarks.predict_start --against FOLDER     # in a project, after `dvc repro`

FOLDER is a finished project of the other version, which runs with its own code. Most of a short command is the import
of tensorflow, on which both depend: it is measured too, and the ratio is of what comes on top of it. The commands take
turns after a first round that does not count, and medians over the rounds are shown.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from benchmarks.commands import run
from benchmarks.timing import count
from pipeline.errors import explain_user_errors
from pipeline.report.tables import markdown_table

OURS, THEIRS, IMPORT = "tandem predict, this version", "tandem predict, the other version", "import of tensorflow"


@explain_user_errors
def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print medians and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", type=Path, required=True, help="a finished project with code of another version")
    parser.add_argument("--source", default="F AO R K")
    parser.add_argument("--rounds", type=count, default=5)
    options = parser.parse_args(arguments)
    seconds = measure(Path.cwd(), options.against.absolute(), options.source, options.rounds)
    print(report({name: median(some) for name, some in seconds.items()}))


def measure(project: Path, other: Path, source: str, rounds: int) -> dict[str, list[float]]:
    """Processor seconds of each command in each round, those of all its threads and processes."""
    here = Path(__file__).parents[1]
    predict = ["-m", "pipeline.cli", "predict", source]
    commands = {
        OURS: (predict, project, here),
        IMPORT: (["-c", "import pipeline.model.backend"], project, here),
        THEIRS: (predict, other, other),
    }
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(rounds + 1):
        for name, (command, folder, code) in commands.items():
            cost, _ = run([sys.executable, *command], folder, {"PYTHONPATH": str(code)})
            seconds[name].append(cost.cpu_seconds)
    return {name: some[1:] for name, some in seconds.items()}


def report(medians: dict[str, float]) -> str:
    """A table of processor seconds, and the ratio of those beyond the import."""
    rows = [[name, f"{value:.2f}", f"{value - medians[IMPORT]:.2f}"] for name, value in medians.items()]
    ratio = (medians[OURS] - medians[IMPORT]) / (medians[THEIRS] - medians[IMPORT])
    table = markdown_table(["command", "processor seconds", "without the import"], rows)
    return f"{table}\nWithout the import, this version takes {ratio:.2f} times the processor time of the other.\n"


if __name__ == "__main__":
    main()
