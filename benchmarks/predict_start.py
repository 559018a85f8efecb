"""Processor seconds that `tandem predict` takes for one word, beside those of another version of the project.

    python -m benchmarks.predict_start --against FOLDER     # in a project, after `dvc repro`

FOLDER is a finished project of the other version, which runs with its own code. Most of a short command is the import
of tensorflow, on which both depend: it is measured too, and the ratio is of what comes on top of it. The commands take
turns after a first round that does not count, and medians over the rounds are shown.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from benchmarks.commands import run
from benchmarks.timing import count, parser_of
from pipeline.errors import explain_user_errors
from pipeline.report.tables import markdown_table

OURS, THEIRS, IMPORT = "tandem predict, this version", "tandem predict, the other version", "import of tensorflow"
SOURCE = "F AO R K"


@explain_user_errors
def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print medians and the ratio."""
    parser = parser_of(__doc__)
    parser.add_argument("--against", type=Path, required=True, help="a finished project with code of another version")
    parser.add_argument("--rounds", type=count, default=5)
    options = parser.parse_args(arguments)
    project, other, here = Path.cwd(), options.against.absolute(), Path(__file__).parents[1]
    predict = ["-m", "pipeline.cli", "predict", SOURCE]
    commands = {
        OURS: (predict, project, here),
        IMPORT: (["-c", "import pipeline.model.backend"], project, here),
        THEIRS: (predict, other, other),
    }
    seconds = [
        {
            name: run([sys.executable, *command], folder, {"PYTHONPATH": str(code)}).cpu_seconds
            for name, (command, folder, code) in commands.items()
        }
        for _ in range(options.rounds + 1)
    ]
    print(report(pd.DataFrame(seconds[1:]).median()))


def report(medians: pd.Series) -> str:
    """A table of processor seconds, and the ratio of those beyond the import."""
    more = medians - medians[IMPORT]
    rows = [[str(name), f"{value:.2f}", f"{more[name]:.2f}"] for name, value in medians.items()]
    table = markdown_table(["command", "processor seconds", "without the import"], rows)
    ratio = more[OURS] / more[THEIRS]
    return f"{table}\nWithout the import, this version takes {ratio:.2f} times the processor time of the other.\n"


if __name__ == "__main__":
    main()
