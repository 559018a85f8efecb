"""The cost of each architecture: parameters, and seconds per 1,000 batches of training on the prepared data.

`python -m benchmarks.architectures` in a project folder where `dvc repro prepare` has run. Each architecture differs
from params.yaml as its name says. Batches of pairs and of unpaired targets alternate, the architectures do their rounds
in turn on all cores, and medians count. With --train each is also trained by strategy tandem of params.yaml, with the
first seed, and its accuracy on the development data is shown.
"""

from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.timing import available_cores, in_turn, parser_of
from benchmarks.workload import TASKS, training
from pipeline.config.params import Bridge, Cell, DecoderKind, Model, Params, load_params
from pipeline.data.prepared import PREPARED, Prepared
from pipeline.errors import explain_user_errors
from pipeline.report.tables import markdown_table
from pipeline.runs.folders import RunMetadata, run_folder
from pipeline.training.trainer import new_network, run_training

STEPS, ROUNDS = 50, 3  # batches of pairs in a round
HEADER = ["architecture", "parameters", "seconds per 1,000 batches", "dev, %"]


def architectures(model: Model) -> dict[str, Model]:
    """The shipped architecture, and others by what they change in it."""
    model = replace(model, bridge=Bridge.ATTENTION if model.bridge is Bridge.AUTO else model.bridge)
    vector = replace(model, bridge=Bridge.VECTOR)
    question = replace(vector, decoder=DecoderKind.REPEAT, tie_weights=False, bidirectional=False)
    other = Cell.GRU if model.cell is Cell.LSTM else Cell.LSTM
    return {
        "params.yaml": model,
        "the question's: repeat, vector, untied, one direction": question,
        "model.bridge=vector": vector,
        f"model.cell={other}": replace(model, cell=other),
        f"model.tie_weights={not model.tie_weights}": replace(model, tie_weights=not model.tie_weights),
        f"model.layers={model.layers + 1}": replace(model, layers=model.layers + 1),
        f"model.units={model.units * 2}": replace(model, units=model.units * 2),
    }


@explain_user_errors
def main() -> None:
    """Print the table."""
    parser = parser_of(__doc__)
    parser.add_argument("--train", action="store_true", help="train each in tandem and show its dev accuracy")
    options = parser.parse_args()
    params, prepared = load_params(), Prepared.open(PREPARED)
    given = {name: replace(params, model=model) for name, model in architectures(params.model).items()}
    makes = {name: partial(training, one, prepared.folder, STEPS) for name, one in given.items()}
    rows = []
    for name, rounds in in_turn(makes, ROUNDS, available_cores()).items():
        seconds = 1000 * median(one.seconds for one in rounds) / (STEPS * len(TASKS))
        parameters = new_network(given[name].model, prepared, 0).count_params()
        reached = f"{100 * accuracy(given[name], prepared):.1f}" if options.train else ""
        rows.append([name, f"{parameters:,}", f"{seconds:.1f}", reached])
    print(markdown_table(HEADER, rows))


def accuracy(params: Params, prepared: Prepared) -> float:
    """Dev accuracy of strategy tandem."""
    with TemporaryDirectory() as folder:
        seed, models = params.seeds[0], Path(folder)
        for _ in run_training("tandem", params, prepared, seed, models):
            pass
        return RunMetadata.load(run_folder("tandem", seed, models)).dev_word_accuracy


if __name__ == "__main__":
    main()
