"""The cost of each architecture: parameters, and seconds per 1,000 batches of training on the prepared data.

`python -m benchmarks.architectures` in a project folder where `dvc repro prepare` has run. Each architecture differs
from params.yaml as its name says. Batches of pairs and of unpaired targets alternate, as do the architectures, and the
median over the rounds counts. With --train each is also trained by strategy tandem of params.yaml, with the first seed,
and its accuracy on the development data is shown.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.timing import count
from benchmarks.workload import TASKS, phase
from pipeline.config.params import Bridge, Cell, DecoderKind, Model, Params, load_params
from pipeline.data.prepared import PREPARED, Prepared
from pipeline.errors import explain_user_errors
from pipeline.report.tables import markdown_table
from pipeline.runs.folders import RunMetadata, run_folder
from pipeline.training.loop import TrainingSteps
from pipeline.training.noise import streams
from pipeline.training.trainer import new_network, run_training

WARM_UP = 10  # batches that compile and are not timed
HEADER = ["architecture", "parameters", "seconds per 1,000 batches", "dev words right, %"]


def architectures(model: Model) -> dict[str, Model]:
    """The shipped architecture, and others by what they change in it."""
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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=count, default=100, help="of each architecture in each round")
    parser.add_argument("--rounds", type=count, default=3)
    parser.add_argument("--train", action="store_true", help="train each in tandem and show its dev accuracy")
    options = parser.parse_args()
    params, prepared = load_params(), Prepared.open(PREPARED)
    batches = streams(phase(1), prepared, params, seed=0)
    networks = {name: new_network(model, prepared, 0) for name, model in architectures(params.model).items()}
    steps = {name: TrainingSteps(network, params.training) for name, network in networks.items()}

    def seconds_per_batch(name: str, number: int) -> float:
        start, cycles = time.perf_counter(), max(1, number // len(TASKS))
        for k in range(cycles):
            for task in TASKS:
                steps[name](task, batches[task][k].source_ids, batches[task][k].target_ids, 0.001)
        return (time.perf_counter() - start) / (cycles * len(TASKS))

    for name in networks:
        seconds_per_batch(name, WARM_UP)
    rounds = [{name: seconds_per_batch(name, options.batches) for name in networks} for _ in range(options.rounds)]
    rows = []
    for name, network in networks.items():
        reached = f"{100 * accuracy(params, network.architecture, prepared):.1f}" if options.train else ""
        seconds = 1000 * median(one[name] for one in rounds)
        rows.append([name, f"{network.count_params():,}", f"{seconds:.1f}", reached])
    print(markdown_table(HEADER, rows))


def accuracy(params: Params, model: Model, prepared: Prepared) -> float:
    """Dev accuracy of strategy tandem with an architecture."""
    with TemporaryDirectory() as folder:
        seed, models = params.seeds[0], Path(folder)
        for _ in run_training("tandem", replace(params, model=model), prepared, seed, models):
            pass
        return RunMetadata.load(run_folder("tandem", seed, models)).dev_word_accuracy


if __name__ == "__main__":
    main()
