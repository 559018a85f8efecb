"""What the figures of a comparison show, in sentences for somebody who has to decide between strategies."""

from collections.abc import Sequence

import pandas as pd

from pipeline.evaluation.comparison import RunResult, by_strategy
from pipeline.evaluation.confusions import how_often, visible
from pipeline.evaluation.curves import mean_curve
from pipeline.evaluation.results import COMPARISONS, Metrics, length_range, strategies

MISTAKES = 3  # that are put into words
_ISOLATE, _END = "\N{FIRST STRONG ISOLATE}", "\N{POP DIRECTIONAL ISOLATE}"  # around text of any direction


def headline(metrics: Metrics) -> str:
    """The answer in a line: the best strategy, or those between which the test set does not decide."""
    names = sorted(strategies(metrics), key=lambda name: -metrics[name]["word_accuracy"]["mean"])
    best = names[0]
    accuracy = f"{100 * metrics[best]['word_accuracy']['mean']:.1f}%"
    if len(names) == 1:
        return f"{best} gets {accuracy} right"
    level = round(1 - metrics[best]["confidence"], 9)
    rivals = [name for name in names[1:] if _p_value(metrics, best, name) >= level]
    if not rivals:
        return f"{best} is best: it gets {accuracy} right"
    return f"No clear winner {'among' if len(rivals) > 1 else 'between'} {in_words([best, *rivals])}"


def cost(metrics: Metrics) -> str:
    """What the strategies spent, the cheapest first."""
    names = sorted(strategies(metrics), key=lambda name: metrics[name]["seconds"])
    spent = [f"{name} {metrics[name]['seconds']:,.0f}" for name in names]
    return f"Seconds of training for one run: {', '.join(spent)}."


def learning_curves(results: Sequence[RunResult]) -> str:
    """What each strategy reached on the development data, and which were still rising when training ended."""
    curves = {name: mean_curve(runs).dropna() for name, runs in by_strategy(results).items()}
    curves = {name: curve for name, curve in curves.items() if len(curve)}
    if not curves:
        return "No learning curve was kept."
    reached = [f"{name} {_percent(curve.max())}" for name, curve in curves.items()]
    text = f"Words of the development set right at the best look, mean of the seeds: {', '.join(reached)}."
    rising = [name for name, curve in curves.items() if _is_rising(curve)]
    if rising:
        verb = "was" if len(rising) == 1 else "were"
        text += f" {in_words(rising)} {verb} still rising at the end, so more steps may help."
    return text


def by_length(metrics: Metrics) -> str:
    """How each strategy does on the shortest and on the longest sources."""
    buckets = {name: metrics[name]["by_source_length"] for name in strategies(metrics)}
    shortest, *_, longest = [length_range(bucket) for bucket in next(iter(buckets.values()))] * 2
    if shortest == longest:
        return f"All sources are {longest} symbols long."
    reached = [
        f"{name} {_percent(parts[0]['word_accuracy']['mean'])} and {_percent(parts[-1]['word_accuracy']['mean'])}"
        for name, parts in buckets.items()
    ]
    return f"Right on sources of {shortest} symbols and of {longest}: {', '.join(reached)}."


def by_pairs(rows: pd.DataFrame) -> str:
    """What each strategy reaches with the fewest and with the most pairs."""
    fewest, most = rows["pairs"].min(), rows["pairs"].max()
    reached = []
    for name in dict.fromkeys(rows["strategy"]):
        own = rows[rows["strategy"] == name].set_index("pairs")["word_accuracy"]
        if fewest in own.index and most in own.index:
            reached.append(f"{name} {_percent(own[fewest])} and {_percent(own[most])}")
    return f"Right with {fewest:,} and with {most:,} pairs: {', '.join(reached)}."


def confusions(table: pd.DataFrame, strategy: str, runs: int) -> str:
    """What a strategy does wrong most often, times for each of its `runs`; rows of `confusions.confusions`."""
    mistakes = []
    for row in table[table["strategy"] == strategy].head(MISTAKES).to_dict("records"):
        target, written = (f"“{_ISOLATE}{visible(row[side])}{_END}”" for side in ("target", "written"))
        what = f"leaves out {target}" if not row["written"] else f"writes {written} for {target}"
        what = what if row["target"] else f"puts in {written}"
        often = how_often(row["count"] / runs)
        mistakes.append(f"{what} {often} {'time' if often == '1' else 'times'}")
    return f"In one run over the test set {strategy} {in_words(mistakes)}."


def calibration(metrics: Metrics) -> str:
    """How far the confidences of each strategy are off, and which strategies have none."""
    errors = {name: metrics[name]["calibration_error"] for name in strategies(metrics)}
    known = [f"{name} {100 * error:.1f}" for name, error in errors.items() if error is not None]
    text = f"Off on average, in points (expected calibration error): {', '.join(known)}."
    if unknown := [name for name, error in errors.items() if error is None]:
        text += f" Without confidences: {in_words(unknown)}."
    return text


def in_words(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _is_rising(curve: pd.Series) -> bool:
    """Whether the last look was the best, by more than a point over all looks of the first four fifths."""
    before = curve[curve.index <= 0.8 * curve.index[-1]]
    return bool(len(before) and curve.iloc[-1] == curve.max() and curve.iloc[-1] > before.max() + 0.01)


def _p_value(metrics: Metrics, name: str, other: str) -> float:
    comparisons = metrics[COMPARISONS]
    found = comparisons.get(f"{name}_vs_{other}") or comparisons[f"{other}_vs_{name}"]
    return float(found["p_value"])


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.1f}%"
