"""The speed of the pipeline beside PyTorch and a Keras loop: training, decoding, preparing, matching, and `dvc repro`.

`python -m benchmarks.speed --out speed.json` measures everything (some 20 minutes) and prints the tables;
`--only training --rounds 3` measures a part; `--report speed.json` prints the tables again. Competitors do their rounds
in turn, each in a process of its own: the pipeline, PyTorch with the same network, batches and weights, and the loop of
Keras tutorials. A round during which other processes need the cores is done again.

Data and architecture are those of params.yaml, with 128 and 256 units; the data is prepared anew. All of it is done in
temporary folders, and results are written after every part.
"""

import argparse
import importlib.util
import json
import platform
import re
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil

from benchmarks.speed_report import report
from benchmarks.timing import Make, Round, available_cores, count, in_turn
from pipeline.config.params import Params, changed, load_params
from pipeline.errors import UserError, explain_user_errors

UNITS = (128, 256)
STEPS = {128: 64, 256: 32}  # pairs of batches in a round: whole windows of batches that were sorted together
KERAS_STEPS = {128: 16, 256: 8}
BEAM = 5
TRAINED_STEPS = 200  # of the network that all decode with
PASSES = {None: 4, BEAM: 1}  # over the test set in a round
KERAS_STRINGS = 3  # in a round
PREPARED_TARGETS = (1_000_000, 3_000_000, 10_000_000)
MATCHED_TARGETS, MATCHED_SOURCES = 1_000_000, 1_000
NOISE_BATCH = 64
PACKAGES = ("tensorflow", "keras", "torch", "numpy", "mlflow", "dvc")

Results = list[dict[str, Any]]  # of a part, as in the JSON


@dataclass(frozen=True)
class Setting:
    """The input of every part. prepared: a folder of prepared data. weights: one for networks to decode with."""

    params: Params
    prepared: Path
    weights: Path
    rounds: int

    def with_units(self, units: int) -> Params:
        """Change the number of units."""
        return changed(self.params, {"model.units": units})


def measure_training(setting: Setting) -> Results:
    """Target symbols per second, and operations beside those of large matrix products."""
    from benchmarks import keras_rival, ours, torch_rival, workload  # here, as in all parts: these import tensorflow

    results = []
    for units in UNITS:
        given = (setting.with_units(units), setting.prepared)
        competitors: dict[str, Make] = {
            "ours": partial(ours.training, *given, STEPS[units]),
            "torch": partial(torch_rival.training, *given, STEPS[units]),
            "keras": partial(keras_rival.training, *given, KERAS_STEPS[units]),
            "peak": workload.peak,
        }
        # One core; one process with all cores; as the stages do it with several seeds, a process for each core.
        for threads, copies in dict.fromkeys([(1, 1), (available_cores(), 1), (1, available_cores())]):
            rounds = in_turn(competitors, setting.rounds, threads, copies)
            results.append({"units": units, "threads": threads, "copies": copies, "rounds": _raw(rounds)})
    return results


def measure_decoding(setting: Setting) -> Results:
    """Strings per second, greedily and with a beam."""
    from benchmarks import keras_rival, ours, torch_rival

    results = []
    for units in UNITS:
        params, weights = setting.with_units(units), setting.weights / str(units)
        train = partial(ours.save_trained, params, setting.prepared, TRAINED_STEPS, weights)
        in_turn({"training": train}, 1, available_cores())
        for threads in dict.fromkeys([1, available_cores()]):
            for beam, passes in PASSES.items():
                given = (setting.prepared, weights, beam)
                competitors: dict[str, Make] = {
                    "ours": partial(ours.decoding, *given, passes),
                    "torch": partial(torch_rival.decoding, params, *given, passes),
                    "keras": partial(keras_rival.decoding, params, *given, KERAS_STRINGS),
                }
                rounds = in_turn(competitors, setting.rounds, threads)
                results.append({"units": units, "threads": threads, "beam": beam, "rounds": _raw(rounds)})
    return results


def measure_preparing(setting: Setting) -> Results:
    """Seconds and memory of stage `prepare` on millions of targets, once each."""
    from benchmarks import commands

    return commands.prepare_costs(setting.params, PREPARED_TARGETS)


def measure_matcher(setting: Setting) -> Results:
    """Seconds to embed a list of targets and to search it, once."""
    from benchmarks import throughput

    work = partial(throughput.matching, setting.params, setting.prepared, MATCHED_TARGETS, MATCHED_SOURCES)
    return [{"rounds": _raw(in_turn({"ours": work}, 1, available_cores()))}]


def measure_noise(setting: Setting) -> Results:
    """Strings per second of learned noise, in batches of training and all at once."""
    from benchmarks import throughput

    sizes: dict[str, Make] = {
        f"in batches of {NOISE_BATCH}": partial(throughput.noise, setting.prepared, NOISE_BATCH),
        "for all at once": partial(throughput.noise, setting.prepared, None),
    }
    return [{"rounds": _raw(in_turn(sizes, setting.rounds, 1))}]


def measure_repro(setting: Setting) -> Results:
    """Where the time of `dvc repro` goes, once, and what it takes when there is nothing to do."""
    from benchmarks import commands

    return [commands.repro_costs(Path(), setting.params, setting.rounds)]


PARTS: dict[str, Callable[[Setting], Results]] = {
    "training": measure_training,
    "decoding": measure_decoding,
    "prepare": measure_preparing,
    "matcher": measure_matcher,
    "noise": measure_noise,
    "repro": measure_repro,
}


@explain_user_errors
def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, or print measurements again."""
    options = _parser().parse_args(arguments)
    if options.report:
        print(report(_read(options.report)))
        return
    params = load_params(options.params)
    check_competitors(params, options.only)
    results: dict[str, Any] = {"machine": machine(), "rounds": options.rounds}
    with _setting(params, options.prepared, options.rounds) as setting:
        for part in options.only:
            print(f"measuring {part}", file=sys.stderr, flush=True)
            results[part] = PARTS[part](setting)
            if options.out:
                options.out.parent.mkdir(parents=True, exist_ok=True)
                options.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(report(results))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--only", nargs="+", choices=list(PARTS), default=list(PARTS), metavar="PART", help=", ".join(PARTS)
    )
    parser.add_argument("--rounds", type=count, default=7, help="of each competitor; medians count")
    parser.add_argument("--prepared", type=Path, help="a folder of prepared data instead of the one of params.yaml")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--out", type=Path, help="JSON with every round")
    parser.add_argument("--report", type=Path, help="print the tables of such a JSON and measure nothing")
    return parser


def _read(path: Path) -> dict[str, Any]:
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}): name a file that --out has written") from error
    if not isinstance(results, dict) or "machine" not in results:
        raise UserError(f"{path} holds no measurements: name a file that --out has written")
    return results


def check_competitors(params: Params, parts: Sequence[str]) -> None:
    """Raise `UserError` if the competitors of some parts are not installed, or not written for the architecture."""
    if not {"training", "decoding"}.intersection(parts):
        return
    from benchmarks.workload import check_architecture

    check_architecture(params.model)
    if importlib.util.find_spec("torch") is None:
        raise UserError(
            "training and decoding are measured against PyTorch, which is not installed: python -m pip install "
            "--extra-index-url https://download.pytorch.org/whl/cpu torch, or leave them out with --only"
        )


@contextmanager
def _setting(params: Params, prepared: Path | None, rounds: int) -> Iterator[Setting]:
    from pipeline.data.corpus import read_corpus
    from pipeline.data.prepared import Prepared, write_prepared

    with TemporaryDirectory() as folder:
        if prepared is None:
            prepared = Path(folder) / "prepared"
            corpus = read_corpus(params.data, params.prepare)
            write_prepared(prepared, corpus, params.data.source_symbols, params.data.target_symbols)
        yield Setting(params, Prepared.open(prepared).folder, Path(folder) / "weights", rounds)


def _raw(rounds: Mapping[str, Sequence[Round]]) -> dict[str, list[dict[str, Any]]]:
    return {name: [asdict(one) for one in some] for name, some in rounds.items()}


def machine() -> dict[str, Any]:
    """The machine and the versions that figures depend on."""
    path = Path("/proc/cpuinfo")
    cpuinfo = path.read_text(encoding="utf-8") if path.exists() else ""
    versions = {name: metadata.version(name) for name in PACKAGES if importlib.util.find_spec(name)}
    return {
        "cores": available_cores(),
        "processor": next(iter(re.findall(r"model name\s*: (.*)", cpuinfo)), platform.processor()),
        "memory_bytes": psutil.virtual_memory().total,
        "system": platform.platform(),
        "versions": {"python": platform.python_version(), **versions},
    }


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # ends the competitors' processes too
    main()
