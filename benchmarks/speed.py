"""The speed of the pipeline beside PyTorch, a Keras loop and its goals: training, decoding, commands, `dvc repro`.

`python -m benchmarks.speed --out speed.json` measures everything (some 20 minutes, and as long again with AVX2 alone
where the processor has AVX-512) and prints the tables, then each figure that has a goal beside it. `--only training
--rounds 3` measures a part; part `starts` needs a finished project in the current folder. Competitors do their rounds
in turn, each in a process of its own: the pipeline, PyTorch with the same network, batches and weights, and the loop of
Keras tutorials. A round during which other processes need the cores is done again.

The JSON has each figure under a name that does not change, such as `training.128.one_core.vs_keras`, with `avx2.`
before it for AVX2 alone, and every round under `cases`. Those called `vs_import` are processor seconds as multiples of
those that the project's import of tensorflow takes in the same round.

Everything is as in params.yaml but for the architecture, which is the one that competitors are written for, with 128
and 256 units. Data is prepared anew in a temporary folder, and results are written after every part.
"""

import importlib.util
import json
import os
import platform
import re
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

from benchmarks.timing import QUIET, Make, Round, Spread, available_cores, count, in_turn, parser_of, ratios
from pipeline.config.params import Params, changed, load_params
from pipeline.data.prepared import PREPARED
from pipeline.errors import UserError, explain_user_errors
from pipeline.report.tables import markdown_table

ARCHITECTURE = {
    "model.cell": "lstm",
    "model.decoder": "autoregressive",
    "model.bridge": "attention",
    "model.tie_weights": True,
    "model.bidirectional": True,
    "model.layers": 1,
}
UNITS = (128, 256)
RIVALS = ("torch", "keras")
STEPS = {128: 64, 256: 32}  # pairs of batches in a round: whole windows of batches that were sorted together
KERAS_STEPS = {128: 16, 256: 8}
BEAM = 5
TRAINED_STEPS = 200  # of the network that all decode with
PASSES = {None: 4, BEAM: 1}  # over the test set in a round
KERAS_STRINGS = 3  # in a round
BULK_TARGETS = 10_000_000  # a hundred million symbols
PREPARED_TARGETS = (1_000_000, 3_000_000, 10_000_000)
MATCHED_TARGETS, MATCHED_SOURCES = 1_000_000, 1_000
NOISE_BATCH = 64
PACKAGES = ("tensorflow", "keras", "torch", "numpy", "mlflow", "dvc")
GIB = 2**30

AT_LEAST = {"training.128.one_core.vs_keras": 3.3, "training.256.one_core.share_of_peak": 0.6}
AT_MOST = {
    "training.bulk.reading_share": 0.03,  # of the time of a step
    "predict.vs_import": 1.4,
    "predict.cpu_seconds": 2.0,
    "serve.vs_import": 1.6,
    "serve.second_vs_tenth": 1.2,  # requests
    "help.cpu_seconds": 0.5,
    "usage_error.cpu_seconds": 0.5,
    "repro.seconds": 600.0,
    "repro.cpu_seconds": 1200.0,
}
INSTRUCTIONS = {
    "": {},
    # The other variable is what tensorflow chooses by itself on processors without AVX-512.
    "avx2.": {"ONEDNN_MAX_CPU_ISA": "AVX2", "TF_ENABLE_ONEDNN_OPTS": "0"},
}

Cases = Sequence[dict[str, Any]]  # of a part, as in the JSON
Rounds = Mapping[str, Sequence[Round]]  # by competitor


@dataclass(frozen=True)
class Setting:
    """The input of every part: folders of prepared data, of weights to decode with, of another version's project."""

    params: Params
    prepared: Path
    weights: Path
    rounds: int
    against: Path | None = None

    def with_units(self, units: int) -> Params:
        """The parameters with a number of units, and the architecture that competitors are written for."""
        return changed(self.params, {**ARCHITECTURE, "model.units": units})


def _measure_training(setting: Setting) -> Cases:
    from benchmarks import keras_rival, torch_rival, workload  # here, as in all parts: these import tensorflow

    cases = []
    for units in UNITS:
        given = (setting.with_units(units), setting.prepared)
        competitors: dict[str, Make] = {
            "ours": partial(workload.training, *given, STEPS[units]),
            "torch": partial(torch_rival.training, *given, STEPS[units]),
            "keras": partial(keras_rival.training, *given, KERAS_STEPS[units]),
            "peak": workload.peak,
        }
        for copies in dict.fromkeys([1, available_cores()]):  # a process for each core, as the stages train the seeds
            rounds = in_turn(competitors, setting.rounds, 1, copies)
            cases.append({"units": units, "cores": copies, "rounds": rounds})
    return cases


def _training_table(cases: Cases) -> str:
    rows = []
    for case in cases:
        cores = "1" if case["cores"] == 1 else f"{case['cores']}, a training on each"
        share = f"{100 * _share_of_peak(case['rounds']):.0f}"
        rows.append([f"{case['units']} units", cores, *_beside(case["rounds"], "symbols"), share])
    header = ["training", "cores", "target symbols per second", "× PyTorch", "× Keras loop", "% of peak"]
    return markdown_table(header, rows)


def _measure_kernels(setting: Setting) -> Cases:
    from benchmarks import workload

    cases = []
    for units in UNITS:
        work = partial(workload.kernels, setting.with_units(units), setting.prepared, STEPS[units])
        rounds = in_turn({"ours": work, "peak": workload.peak}, setting.rounds, 1)
        cases.append({"units": units, "rounds": rounds})
    return cases


def _kernels_table(cases: Cases) -> str:
    from benchmarks import workload

    kinds = (*workload.KERNELS, workload.OTHER_KERNELS)
    rows = []
    for case in cases:
        ours, peak = case["rounds"]["ours"], _rate(case["rounds"]["peak"], "operations")
        spent = {kind: median(1000 * one.done[kind] / one.done["batches"] for one in ours) for kind in kinds}
        whole = median(1000 * one.seconds / one.done["batches"] for one in ours)
        at_peak = median(1000 * one.done["operations"] / peak / one.done["batches"] for one in ours)
        started = median(one.done["kernels"] / one.done["batches"] for one in ours)
        numbers = [whole, *spent.values(), whole - sum(spent.values()), at_peak]
        rows.append([f"{case['units']} units", *(f"{number:.2f}" for number in numbers), f"{started:,.0f}"])
    header = ["milliseconds per batch, profiled", "all", *kinds, "between kernels", "the products at peak", "kernels"]
    return markdown_table(header, rows)


def _measure_decoding(setting: Setting) -> Cases:
    from benchmarks import keras_rival, torch_rival, workload

    cases = []
    for units in UNITS:
        params, weights = setting.with_units(units), setting.weights / str(units)
        train = partial(workload.save_trained, params, setting.prepared, TRAINED_STEPS, weights)
        in_turn({"training": train}, 1, available_cores())
        for threads in dict.fromkeys([1, available_cores()]):
            for beam, passes in PASSES.items():
                given = (setting.prepared, weights, beam)
                competitors: dict[str, Make] = {
                    "ours": partial(workload.decoding, *given, passes),
                    "torch": partial(torch_rival.decoding, params, *given, passes),
                    "keras": partial(keras_rival.decoding, params, *given, KERAS_STRINGS),
                }
                rounds = in_turn(competitors, setting.rounds, threads)
                cases.append({"units": units, "cores": threads, "beam": beam, "rounds": rounds})
    return cases


def _decoding_table(cases: Cases) -> str:
    rows = []
    for case in cases:
        search = f"beam {case['beam']}" if case["beam"] else "greedy"
        cores = "1" if case["cores"] == 1 else f"{case['cores']}, a batch on each"
        rows.append([f"{search}, {case['units']} units", cores, *_beside(case["rounds"], "strings")])
    return markdown_table(["decoding", "cores", "strings per second", "× PyTorch", "× predict loop"], rows)


def _measure_preparing(setting: Setting) -> Cases:
    from benchmarks.commands import prepare_costs

    return prepare_costs(setting.params, PREPARED_TARGETS)


def _preparing_table(cases: Cases) -> str:
    rows = [
        (f"{one['targets']:,}", f"{one['seconds']:.1f}", f"{one['cpu_seconds']:.1f}", f"{one['peak_bytes'] / GIB:.2f}")
        for one in cases
    ]
    return markdown_table(["unpaired targets", "seconds", "CPU seconds", "peak memory, GiB"], rows)


def _measure_matcher(setting: Setting) -> Cases:
    from benchmarks import throughput

    work = partial(throughput.matching, setting.params, setting.prepared, MATCHED_TARGETS, MATCHED_SOURCES)
    return [{"rounds": in_turn({"ours": work}, 1, available_cores())}]


def _matcher_line(cases: Cases) -> str:
    done = cases[0]["rounds"]["ours"][0].done
    milliseconds = 1000 * done["search_seconds"] / done["sources"]
    return (
        f"The matcher takes {done['index_seconds']:.1f} seconds to embed {done['targets']:,.0f} targets and "
        f"{milliseconds:.1f} milliseconds to search them for a source.\n"
    )


def _measure_noise(setting: Setting) -> Cases:
    from benchmarks import throughput

    work = partial(throughput.noise, setting.prepared, NOISE_BATCH)
    return [{"rounds": in_turn({"ours": work}, setting.rounds, 1)}]


def _noise_line(cases: Cases) -> str:
    rate = _rate(cases[0]["rounds"]["ours"], "strings")
    return f"Learned noise rewrites {rate:,.0f} strings per second and core in batches of {NOISE_BATCH}.\n"


def _measure_bulk(setting: Setting) -> Cases:
    from benchmarks import workload
    from benchmarks.commands import prepare
    from benchmarks.throughput import words

    with TemporaryDirectory() as folder:
        prepare(Path(folder), setting.params, words(BULK_TARGETS, seed=0))
        work = partial(workload.training, setting.with_units(UNITS[0]), Path(folder) / PREPARED, STEPS[UNITS[0]])
        return [{"rounds": in_turn({"ours": work}, setting.rounds, 1)}]


def _bulk_line(cases: Cases) -> str:
    return f"Batches from {BULK_TARGETS:,} targets take {100 * _reading_share(cases):.1f}% of the time of a step.\n"


def _reading_share(cases: Cases) -> float:
    return median(one.done["reading_seconds"] / one.seconds for one in cases[0]["rounds"]["ours"])


def _measure_starts(setting: Setting) -> Cases:
    from benchmarks.commands import start_costs

    return [start_costs(Path(), setting.rounds, setting.against)]


def _starts_table(cases: Cases) -> str:
    costs = {name: seconds for name, seconds in cases[0].items() if "request" not in name}
    rows = [[name, f"{median(costs[name]):.2f}", f"{_relative(costs, name):.2f}"] for name in costs]
    return markdown_table(["start of", "CPU seconds", "× import of tensorflow"], rows)


def _relative(costs: Mapping[str, Sequence[float]], name: str, to: str = "import") -> float:
    return median(one / other for one, other in zip(costs[name], costs[to], strict=True))


def _measure_repro(setting: Setting) -> Cases:
    from benchmarks.commands import repro_costs

    return [repro_costs(Path(), setting.params)]


def _repro_line(cases: Cases) -> str:
    (repro,) = cases
    total, nothing = repro["total_seconds"], repro["nothing_seconds"]
    return f"`dvc repro` took {total:.1f} seconds, and {nothing:.1f} with nothing to do.\n"


PARTS: dict[str, tuple[Callable[[Setting], Cases], Callable[[Cases], str]]] = {
    "training": (_measure_training, _training_table),
    "kernels": (_measure_kernels, _kernels_table),
    "decoding": (_measure_decoding, _decoding_table),
    "prepare": (_measure_preparing, _preparing_table),
    "matcher": (_measure_matcher, _matcher_line),
    "noise": (_measure_noise, _noise_line),
    "bulk": (_measure_bulk, _bulk_line),
    "starts": (_measure_starts, _starts_table),
    "repro": (_measure_repro, _repro_line),
}


@explain_user_errors
def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print tables."""
    parser = parser_of(__doc__)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--rounds", type=count, default=7, help="of each competitor; medians count")
    parser.add_argument("--out", type=Path, help="JSON with every figure and round")
    parser.add_argument("--against", type=Path, help="finished project with code of another version, for `starts`")
    options = parser.parse_args(arguments)
    params = load_params()
    if {"training", "decoding"}.intersection(options.only) and importlib.util.find_spec("torch") is None:
        raise UserError(
            "training and decoding are measured against PyTorch, which is not installed: python -m pip install "
            "--extra-index-url https://download.pytorch.org/whl/cpu torch, or leave them out with --only"
        )
    measured: dict[str, Any] = {"machine": machine(), "rounds": options.rounds, "cases": {}}
    with TemporaryDirectory() as folder:
        prepared = _prepare(params, Path(folder))
        setting = Setting(params, prepared, Path(folder) / "weights", options.rounds, options.against)
        for name, environment in INSTRUCTIONS.items():
            if name and not measured["machine"]["avx512"]:
                continue
            cases = measured["cases"][name] = {}
            for part in options.only:
                print(f"measuring {name}{part}", file=sys.stderr, flush=True)
                with patch.dict(os.environ, environment):
                    cases[part] = PARTS[part][0](setting)
                measured |= {f"{name}{key}": value for key, value in figures(cases).items()}
                if options.out:
                    options.out.parent.mkdir(parents=True, exist_ok=True)
                    options.out.write_text(json.dumps(measured, indent=1, default=asdict) + "\n", encoding="utf-8")
    print(report(measured))


def _prepare(params: Params, folder: Path) -> Path:
    from pipeline.data.corpus import read_corpus
    from pipeline.data.prepared import write_prepared

    corpus = read_corpus(params.data, params.prepare)
    write_prepared(folder / "prepared", corpus, params.data.source_symbols, params.data.target_symbols)
    return folder / "prepared"


def machine() -> dict[str, Any]:
    """The machine and the versions that figures depend on."""
    path = Path("/proc/cpuinfo")
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    models = re.findall(r"model name\s*: (.*)", text)
    versions = {name: metadata.version(name) for name in PACKAGES if importlib.util.find_spec(name)}
    return {
        "cores": available_cores(),
        "processor": next(iter(models), platform.processor()),
        "avx512": "avx512f" in text,
        "versions": {"python": platform.python_version(), **versions},
    }


def report(measured: Mapping[str, Any]) -> str:
    """All measurements. A ratio is the median over rounds, with the lowest and the highest."""
    parts = []
    for name, cases in measured["cases"].items():
        parts += ["With AVX2 alone:\n"] * bool(name)
        parts += [text(cases[part]) for part, (_, text) in PARTS.items() if part in cases]
    parts += [table] if (table := goals_table(measured)) else []
    machine = measured["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    others = [  # cores that other processes used, beyond those that were free
        one.others - machine["cores"] + case["cores"]
        for cases in measured["cases"].values()
        for case in (*cases.get("training", ()), *cases.get("decoding", ()))
        for rounds in case["rounds"].values()
        for one in rounds
    ]
    noisy = sum(more > QUIET for more in others)
    shared = f" During {noisy} of {len(others)} rounds other processes needed the same cores." if noisy else ""
    closing = (
        f"Medians of {measured['rounds']} rounds with the lowest and the highest ratio, competitors in turn; "
        f"{machine['cores']} cores of {machine['processor']}, {versions}.{shared}\n"
    )
    return "\n".join([*parts, closing])


def figures(cases: Mapping[str, Cases]) -> dict[str, float]:
    """Each figure of the measured parts by its name."""
    named: dict[str, float] = {}
    for part in ("training", "decoding"):
        for case in cases.get(part, ()):
            search = "" if part == "training" else ".beam" if case["beam"] else ".greedy"
            name = f"{part}.{case['units']}{search}.{'one_core' if case['cores'] == 1 else 'all_cores'}"
            rounds, counted = case["rounds"], "symbols" if part == "training" else "strings"
            named[f"{name}.{counted}_per_second"] = _rate(rounds["ours"], counted)
            named |= {f"{name}.vs_{other}": ratios(rounds["ours"], rounds[other], counted).median for other in RIVALS}
            if part == "training":
                named[f"{name}.share_of_peak"] = _share_of_peak(rounds)
    if bulk := cases.get("bulk"):
        named["training.bulk.reading_share"] = _reading_share(bulk)
    for costs in cases.get("starts", ()):
        named |= {f"{name}.cpu_seconds": median(costs[name]) for name in costs if "request" not in name}
        named |= {f"{name}.vs_import": _relative(costs, name) for name in ("predict", "serve")}
        named["serve.second_vs_tenth"] = _relative(costs, "request_2", "request_10")
    for repro in cases.get("repro", ()):
        named |= {"repro.seconds": repro["total_seconds"], "repro.cpu_seconds": repro["cpu_seconds"]}
    return named


def goals_table(measured: Mapping[str, Any]) -> str:
    """Each measured figure that has a goal, beside it; nothing if none has."""
    rows = []
    for name in (f"{before}{name}" for name in (*AT_LEAST, *AT_MOST) for before in INSTRUCTIONS):
        if name in measured:
            plain, value = name.removeprefix("avx2."), measured[name]
            least, most = AT_LEAST.get(plain, value), AT_MOST.get(plain, value)
            goal = f"at least {least:g}" if plain in AT_LEAST else f"at most {most:g}"
            rows.append([name, f"{value:.2f}", goal, "met" if least <= value <= most else "falls short"])
    return markdown_table(["figure", "measured", "goal", "result"], rows) if rows else ""


def _share_of_peak(rounds: Rounds) -> float:
    return _rate(rounds["ours"], "operations") / max(one.rate("operations") for one in rounds["peak"])


def _rate(rounds: Sequence[Round], name: str) -> float:
    return median(one.rate(name) for one in rounds)


def _beside(rounds: Rounds, name: str) -> list[str]:
    """Our rate, and how many times those of the others it is."""
    spreads = [ratios(rounds["ours"], rounds[other], name) for other in RIVALS]
    return [f"{_rate(rounds['ours'], name):,.0f}", *map(_times, spreads)]


def _times(spread: Spread) -> str:
    digits = 0 if spread.median >= 100 else 1 if spread.median >= 10 else 2
    return f"{spread.median:,.{digits}f} ({spread.low:,.{digits}f} to {spread.high:,.{digits}f})"


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # ends the competitors' processes too
    main()
