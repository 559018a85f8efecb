"""The tables of the speed benchmark, in markdown, from what it has measured."""

from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.preparing import slope
from benchmarks.timing import QUIET, Round, Spread, ratios
from pipeline.report.tables import markdown_table

Found = Sequence[dict[str, Any]]
Rounds = dict[str, list[Round]]

GIB = 2**30


def report(found: dict[str, Any]) -> str:
    """All that was measured. A ratio is the median over rounds, with the lowest and the highest."""
    parts = [tables(found[part]) for part, tables in PARTS.items() if part in found]
    return "\n".join([*parts, _machine(found)])


def training_table(found: Found) -> str:
    """Symbols per second, beside the others, and operations beside the peak of the same rounds."""
    header = ["training", "cores", "symbols per second", "× PyTorch", "× Keras loop"]
    header += ["peak, GFLOP/s", "% of it", "by real symbols", "PyTorch, %"]
    rows = []
    for case in found:
        rounds = _rounds(case)
        ours, torch, peak = rounds["ours"], rounds["torch"], best_rate(rounds["peak"])
        shares = [(ours, "operations"), (ours, "needed"), (torch, "operations")]
        rows.append(
            [
                f"{case['units']} units",
                str(case["threads"]) if case["copies"] == 1 else f"{case['copies']} processes, {case['threads']} each",
                f"{_median(ours, 'symbols'):,.0f}",
                _times(ratios(ours, torch, "symbols")),
                _times(ratios(ours, rounds["keras"], "symbols")),
                f"{peak / 1e9:,.0f}",
                *(f"{100 * _median(some, counted) / peak:.0f}" for some, counted in shares),
            ]
        )
    return markdown_table(header, rows)


def decoding_table(found: Found) -> str:
    """Strings per second, beside the others."""
    header = ["decoding", "cores", "strings per second", "× PyTorch", "× predict loop"]
    rows = []
    for case in found:
        rounds = _rounds(case)
        search = f"beam {case['beam']}" if case["beam"] else "greedy"
        rows.append(
            [
                f"{search}, {case['units']} units",
                str(case["threads"]),
                f"{_median(rounds['ours'], 'strings'):,.0f}",
                _times(ratios(rounds["ours"], rounds["torch"], "strings")),
                _times(ratios(rounds["ours"], rounds["keras"], "strings")),
            ]
        )
    return markdown_table(header, rows)


def prepare_table(found: Found) -> str:
    """Seconds and memory by the number of targets."""
    header = ["prepare, unpaired targets", "seconds", "CPU seconds", "peak memory, GiB"]
    rows = [
        [
            f"{cost['targets']:,}",
            f"{cost['seconds']:.1f}",
            f"{cost['cpu_seconds']:.1f}",
            f"{cost['peak_bytes'] / GIB:.2f}",
        ]
        for cost in found
    ]
    exponent = slope([cost["targets"] for cost in found], [cost["seconds"] for cost in found])
    grows = "" if exponent is None else f"\nSeconds grow with targets to the power of {exponent:.2f}.\n"
    return markdown_table(header, rows) + grows


def matcher_lines(found: Found) -> str:
    """What an index and a search take."""
    done = _rounds(found[0])["ours"][0].done
    return (
        f"Matcher: an index of {done['targets']:,.0f} targets takes {done['index_seconds']:.1f} seconds "
        f"({done['targets'] / done['index_seconds']:,.0f} targets per second); searching it for "
        f"{done['sources']:,.0f} sources takes {done['search_seconds']:.1f} seconds "
        f"({1000 * done['search_seconds'] / done['sources']:.1f} milliseconds each).\n"
    )


def noise_lines(found: Found) -> str:
    """Strings per second."""
    rates = [f"{_median(rounds, 'strings'):,.0f} {size}" for size, rounds in _rounds(found[0]).items()]
    return f"Learned noise, strings per second on one core: {', '.join(rates)}.\n"


def repro_table(found: Found) -> str:
    """Where the time of each stage goes, and what a repro with nothing to do takes."""
    header = ["stage", "seconds", "training or evaluating", "share, %", "imports", "MLflow"]
    (repro,) = found
    stages = repro["stages"]
    everything = {name: sum(stage[name] for stage in stages) for name in ("seconds", "work", "imports", "mlflow")}
    rows = [
        [
            stage["stage"],
            *(f"{stage[name]:.1f}" for name in ("seconds", "work")),
            f"{100 * stage['work'] / stage['seconds']:.0f}",
            *(f"{stage[name]:.1f}" for name in ("imports", "mlflow")),
        ]
        for stage in [*stages, {"stage": "all stages", **everything}]
    ]
    nothing, floor = repro["nothing_seconds"], repro["floor_seconds"]
    more = Spread.of([ours - trivial for ours, trivial in zip(nothing, floor, strict=True)])
    return markdown_table(header, rows) + (
        f"\n`dvc repro` took {repro['total_seconds']:.1f} seconds, {repro['dvc_seconds']:.1f} of them in DVC itself. "
        f"With nothing to do it takes {Spread.of(nothing).median:.2f} seconds; {len(stages)} trivial stages take "
        f"{Spread.of(floor).median:.2f}, {more.median:.2f} ({more.low:.2f} to {more.high:.2f}) less.\n"
    )


PARTS: dict[str, Callable[[Found], str]] = {
    "training": training_table,
    "decoding": decoding_table,
    "prepare": prepare_table,
    "matcher": matcher_lines,
    "noise": noise_lines,
    "repro": repro_table,
}


def best_rate(peak: Sequence[Round]) -> float:
    """Operations per second of large matrix products."""
    return max(one.rate("operations") for one in peak)


def disturbed(found: dict[str, Any]) -> tuple[int, int]:
    """Rounds during which other processes needed cores of the competitors, and all rounds."""
    cases = [*found.get("training", ()), *found.get("decoding", ())]
    left = [found["machine"]["cores"] - case["threads"] * case.get("copies", 1) for case in cases]
    others = [
        one.others - free
        for case, free in zip(cases, left, strict=True)
        for some in _rounds(case).values()
        for one in some
    ]
    return sum(more > QUIET for more in others), len(others)


def _machine(found: dict[str, Any]) -> str:
    described = found["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in described["versions"].items())
    noisy, rounds = disturbed(found)
    shared = f" During {noisy} of {rounds} rounds other processes needed the same cores." if noisy else ""
    return (
        f"Medians of {found['rounds']} rounds with the lowest and the highest ratio, competitors in turn; "
        f"{described['cores']} cores of {described['processor']}, {versions}.{shared}\n"
    )


def _rounds(case: dict[str, Any]) -> Rounds:
    return {name: [Round(**one) for one in some] for name, some in case["rounds"].items()}


def _median(rounds: Sequence[Round], name: str) -> float:
    return Spread.of([one.rate(name) for one in rounds]).median


def _times(spread: Spread) -> str:
    digits = 0 if spread.median >= 100 else 1 if spread.median >= 10 else 2
    return f"{spread.median:,.{digits}f} ({spread.low:,.{digits}f} to {spread.high:,.{digits}f})"
