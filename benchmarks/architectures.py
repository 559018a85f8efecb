"""What each architecture costs: parameters, and seconds per 1,000 batches of training on the prepared data.

`python -m benchmarks.architectures` in a project folder where `dvc repro prepare` has run. Each architecture differs
from params.yaml in what its name says. Batches of pairs and of unpaired targets take turns, as in tandem training; the
architectures take turns as well, and the median over the rounds counts. With --train each is also trained in tandem by
params.yaml, with its first seed, and the accuracy on the development data is shown.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.table import Table

from pipeline.config.params import Bridge, Cell, DecoderKind, Model, Params, load_params
from pipeline.data.prepared import PREPARED, Prepared
from pipeline.errors import explain_user_errors
from pipeline.runs.folders import RunMetadata, run_folder
from pipeline.training.loop import TrainingSteps
from pipeline.training.noise import streams
from pipeline.training.strategies import Phase, Task
from pipeline.training.trainer import new_network, run_training

WARM_UP = 5  # batches that compile and are not timed


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
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, default=100, help="of each architecture in each round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--train", action="store_true", help="train each in tandem and show its dev accuracy")
    arguments = parser.parse_args()
    params, prepared = load_params(), Prepared.open(PREPARED)
    tasks = (Task.PAIRED, Task.AUTOENCODE)
    batches = streams(Phase(tasks, Task.PAIRED, 1), prepared, params, seed=0)
    networks = {name: new_network(model, prepared, 0) for name, model in architectures(params.model).items()}
    steps = {name: TrainingSteps(network, params.training) for name, network in networks.items()}

    def train(name: str, count: int) -> float:
        start = time.perf_counter()
        for k in range(count):
            for task in tasks:
                batch = batches[task][k]
                steps[name](task, batch.source_ids, batch.target_ids, 0.001)
        return time.perf_counter() - start

    seconds: dict[str, list[float]] = {name: [] for name in networks}
    for name in networks:
        train(name, WARM_UP)
    for _ in range(arguments.rounds):
        for name, times in seconds.items():
            times.append(train(name, arguments.batches // 2) / (arguments.batches // 2 * 2))
    table = Table("architecture", "parameters", "seconds per 1,000 batches", "dev words right, %")
    for name, network in networks.items():
        reached = f"{100 * accuracy(params, network.architecture, prepared):.1f}" if arguments.train else ""
        table.add_row(name, f"{network.count_params():,}", f"{1000 * median(seconds[name]):.1f}", reached)
    Console().print(table)


def accuracy(params: Params, model: Model, prepared: Prepared) -> float:
    """Dev accuracy after training in tandem."""
    with TemporaryDirectory() as folder:
        changed, seed, models = replace(params, model=model), params.seeds[0], Path(folder)
        for _ in run_training("tandem", changed, prepared, seed, models):
            pass
        return RunMetadata.load(run_folder("tandem", seed, models)).dev_word_accuracy


if __name__ == "__main__":
    main()
