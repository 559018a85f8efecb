"""A comparison in words: the verdict in a sentence, and the tables under it, as markdown."""

from pipeline.evaluation.results import COMPARISONS, GREEDY, ORDER, Metrics, focus_of, rows, strategies
from pipeline.report.markdown import markdown_table, p_value_text, percent, points

ABSENT = "–"


def verdict(metrics: Metrics) -> str:
    """What the comparison shows, in one sentence: gains, losses, what may be luck, and unequal budgets."""
    names = strategies(metrics)
    focus = focus_of(names)
    items = f"{metrics[focus]['items']:,}"
    fewest, most = (choose(metrics[name]["seeds"] for name in names) for choose in (min, max))
    seeds = str(most) if fewest == most else f"{fewest} to {most}"
    opening = f"On {_counted(items, 'test item')} and {_counted(seeds, 'seed')}"
    if len(names) == 1:
        accuracy = percent(metrics[focus]["word_accuracy"])
        return f"{opening}, {focus} gets {accuracy} % right, and there is nothing to compare it with."
    known = [name for name in reversed(ORDER) if name in names and name != focus]
    rest = [name for name in names if name != focus and name not in known]
    best_of_rest = [max(rest, key=lambda name: metrics[name]["word_accuracy"]["mean"])] if rest else []
    clauses = [_clause(metrics, focus, rival) for rival in known + best_of_rest]
    spent = {name: metrics[name]["paired_steps"] for name in names}
    if len(set(spent.values())) > 1:
        amounts = ", ".join(f"{name} {steps:,.0f}" for name, steps in spent.items())
        clauses.append(f"the paired steps spent differ ({amounts})")
    return f"{opening}, {'; '.join(clauses)}."


def _counted(count: str, noun: str) -> str:
    return f"{count} {noun}" if count == "1" else f"{count} {noun}s"


def _clause(metrics: Metrics, focus: str, rival: str) -> str:
    found = metrics[COMPARISONS].get(f"{focus}_vs_{rival}")
    if found is None:
        found = _reversed(metrics[COMPARISONS][f"{rival}_vs_{focus}"])
    confidence = metrics[focus]["confidence"]
    p_value = p_value_text(found["p_value"])
    evidence = (
        f"{_level(confidence)} {points(found['low'])} to {points(found['high'])}, "
        f"p {p_value if p_value.startswith('≤') else '= ' + p_value}"
    )
    if found["p_value"] >= round(1 - confidence, 9):
        return f"{focus} and {rival} cannot be told apart ({points(found['difference'])} points, {evidence})"
    verb = "beats" if found["difference"] > 0 else "loses to"
    return f"{focus} {verb} {rival} by {100 * abs(found['difference']):.1f} points of word accuracy ({evidence})"


def _reversed(found: dict[str, float]) -> dict[str, float]:
    return found | {"difference": -found["difference"], "low": -found["high"], "high": -found["low"]}


def table(metrics: Metrics) -> str:
    """All rows and, below, the comparisons of the strategies as two markdown tables."""
    level = _level(metrics[strategies(metrics)[0]]["confidence"])
    header = ["strategy", f"word accuracy, % ({level})", "greedy, %", f"character error rate, % ({level})"]
    lines = [
        [
            name,
            percent(row["word_accuracy"]),
            f"{100 * row['by_order'][GREEDY]['mean']:.1f}" if GREEDY in row["by_order"] else ABSENT,
            percent(row["character_error_rate"]),
            *(f"{row[key]:,.0f}" for key in ("paired_steps", "steps", "seconds")),
        ]
        for name, row in rows(metrics).items()
    ]
    text = markdown_table([*header, "paired steps", "all steps", "seconds"], lines)
    if not metrics[COMPARISONS]:
        return text
    lines = [
        [
            name.replace("_vs_", " vs "),
            f"{points(found['difference'])} ({points(found['low'])} to {points(found['high'])})",
            p_value_text(found["p_value"]),
        ]
        for name, found in metrics[COMPARISONS].items()
    ]
    return text + "\n" + markdown_table(["comparison", f"word accuracy, points ({level})", "p"], lines)


def calibration_errors(metrics: Metrics) -> str:
    """The expected calibration error of every row that has confidences, as a markdown table."""
    lines = [
        [name, f"{100 * row['calibration_error']:.1f}"]
        for name, row in rows(metrics).items()
        if row["calibration_error"] is not None
    ]
    return markdown_table(["strategy", "expected calibration error, points"], lines)


def _level(confidence: float) -> str:
    return f"{100 * confidence:.4g}% interval"
