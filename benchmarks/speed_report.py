"""The tables of the speed benchmark, in markdown, from its measurements."""

from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.timing import QUIET, Round, Spread, ratios
from pipeline.report.tables import markdown_table

Cases = Sequence[dict[str, Any]]

GIB = 2**30


def report(measured: dict[str, Any]) -> str:
    """All measurements. A ratio is the median over rounds, with the lowest and the highest."""
    parts = [tables(measured[part]) for part, tables in PARTS.items() if part in measured]
    return "\n".join([*parts, _machine(measured)])


def _training(cases: Cases) -> str:
    """Symbols per second, beside the others, and operations beside the peak of the same rounds."""
    header = ["training", "cores", "symbols per second", "× PyTorch", "× Keras loop"]
    header += ["peak, GFLOP/s", "% of it", "by real symbols", "PyTorch, %"]
    rows = []
    for case in cases:
        rounds = _rounds(case)
        ours, torch, peak = rounds["ours"], rounds["torch"], max(one.rate("operations") for one in rounds["peak"])
        shares = (_rate(ours, "operations"), _rate(ours, "needed"), _rate(torch, "operations"))
        one, several = str(case["threads"]), f"{case['copies']} processes, {case['threads']} each"
        row = [f"{case['units']} units", one if case["copies"] == 1 else several, *_beside(rounds, "symbols")]
        rows.append([*row, f"{peak / 1e9:,.0f}", *(f"{100 * share / peak:.0f}" for share in shares)])
    return markdown_table(header, rows)


def _decoding(cases: Cases) -> str:
    """Strings per second, beside the others."""
    header = ["decoding", "cores", "strings per second", "× PyTorch", "× predict loop"]
    rows = []
    for case in cases:
        search = f"beam {case['beam']}" if case["beam"] else "greedy"
        rows.append([f"{search}, {case['units']} units", str(case["threads"]), *_beside(_rounds(case), "strings")])
    return markdown_table(header, rows)


def _prepare(cases: Cases) -> str:
    """Seconds and memory by the number of targets."""
    from benchmarks.commands import slope

    header = ["prepare, unpaired targets", "seconds", "CPU seconds", "peak memory, GiB"]
    rows = [
        (f"{one['targets']:,}", f"{one['seconds']:.1f}", f"{one['cpu_seconds']:.1f}", f"{one['peak_bytes'] / GIB:.2f}")
        for one in cases
    ]
    exponent = slope([cost["targets"] for cost in cases], [cost["seconds"] for cost in cases])
    grows = "" if exponent is None else f"\nSeconds grow with targets to the power of {exponent:.2f}.\n"
    return markdown_table(header, rows) + grows


def _matcher(cases: Cases) -> str:
    """Seconds of an index and of a search."""
    done = _rounds(cases[0])["ours"][0].done
    return (
        f"Matcher: an index of {done['targets']:,.0f} targets takes {done['index_seconds']:.1f} seconds "
        f"({done['targets'] / done['index_seconds']:,.0f} targets per second); searching it for "
        f"{done['sources']:,.0f} sources takes {done['search_seconds']:.1f} seconds "
        f"({1000 * done['search_seconds'] / done['sources']:.1f} milliseconds each).\n"
    )


def _noise(cases: Cases) -> str:
    rates = [f"{_rate(rounds, 'strings'):,.0f} {size}" for size, rounds in _rounds(cases[0]).items()]
    return f"Learned noise, strings per second on one core: {', '.join(rates)}.\n"


def _repro(cases: Cases) -> str:
    """Where the time of each stage goes, and what a repro with nothing to do takes."""
    header = ["stage", "seconds", "training or evaluating", "share, %", "imports", "MLflow"]
    (repro,) = cases
    stages = repro["stages"]
    total = {name: sum(stage[name] for stage in stages) for name in ("seconds", "work", "imports", "mlflow")}
    rows = []
    for stage in [*stages, {"stage": "all stages", **total}]:
        seconds, work, *others = (stage[name] for name in total)
        numbers = (
            f"{seconds:.1f}",
            f"{work:.1f}",
            f"{100 * work / seconds:.0f}",
            *(f"{other:.1f}" for other in others),
        )
        rows.append([stage["stage"], *numbers])
    nothing, floor = repro["nothing_seconds"], repro["floor_seconds"]
    more = Spread.of([ours - trivial for ours, trivial in zip(nothing, floor, strict=True)])
    return markdown_table(header, rows) + (
        f"\n`dvc repro` took {repro['total_seconds']:.1f} seconds, {repro['dvc_seconds']:.1f} of them in DVC itself. "
        f"With nothing to do it takes {Spread.of(nothing).median:.2f} seconds; {len(stages)} trivial stages take "
        f"{Spread.of(floor).median:.2f}, {more.median:.2f} ({more.low:.2f} to {more.high:.2f}) less.\n"
    )


PARTS: dict[str, Callable[[Cases], str]] = {
    "training": _training,
    "decoding": _decoding,
    "prepare": _prepare,
    "matcher": _matcher,
    "noise": _noise,
    "repro": _repro,
}


def _machine(measured: dict[str, Any]) -> str:
    machine = measured["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    others = []  # cores that other processes used, beyond those that were free
    for case in (*measured.get("training", ()), *measured.get("decoding", ())):
        free = machine["cores"] - case["threads"] * case.get("copies", 1)
        others += [one.others - free for some in _rounds(case).values() for one in some]
    noisy = sum(more > QUIET for more in others)
    shared = f" During {noisy} of {len(others)} rounds other processes needed the same cores." if noisy else ""
    return (
        f"Medians of {measured['rounds']} rounds with the lowest and the highest ratio, competitors in turn; "
        f"{machine['cores']} cores of {machine['processor']}, {versions}.{shared}\n"
    )


def _rounds(case: dict[str, Any]) -> dict[str, list[Round]]:
    return {name: [Round(**one) for one in some] for name, some in case["rounds"].items()}


def _rate(rounds: Sequence[Round], name: str) -> float:
    return Spread.of([one.rate(name) for one in rounds]).median


def _beside(rounds: dict[str, list[Round]], name: str) -> list[str]:
    """Our rate, and how many times those of the others it is."""
    spreads = [ratios(rounds["ours"], rounds[other], name) for other in ("torch", "keras")]
    return [f"{_rate(rounds['ours'], name):,.0f}", *map(_times, spreads)]


def _times(spread: Spread) -> str:
    digits = 0 if spread.median >= 100 else 1 if spread.median >= 10 else 2
    return f"{spread.median:,.{digits}f} ({spread.low:,.{digits}f} to {spread.high:,.{digits}f})"
