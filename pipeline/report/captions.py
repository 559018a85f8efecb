"""Sentences about the figures of a comparison, for a reader who has to decide between strategies."""

import pandas as pd

from pipeline.evaluation.results import BETTER, UNDECIDED, Metrics, ranked, strategies
from pipeline.report.costs import Costs
from pipeline.report.directions import isolated
from pipeline.report.tables import answers, how_often, in_words, visible

MISTAKES = 3  # that are named
EXPLAINED = (0.8, 0.95)  # thresholds of confidence


def headline(metrics: Metrics) -> str:
    """The answer in a line: the strategy in focus against its only rival, or else the most accurate one."""
    verdict, known = metrics["verdict"], answers(metrics)
    if len(verdict["rivals"]) == 1:
        row = verdict["differences"][0]
        if row["answer"] == UNDECIDED:
            return f"{row['name']} and {row['other']} cannot be told apart"
        verb = "beats" if row["answer"] == BETTER else "loses to"
        return f"{row['name']} {verb} {row['other']} by {100 * abs(row['difference']):.1f} points"
    best, *others = ranked(metrics)
    accuracy = _percent(metrics[best]["word_accuracy"]["mean"])
    level = [best, *(name for name in others if known[frozenset((best, name))] == UNDECIDED)]
    level = [name for name in strategies(metrics) if name in level]
    if not others:
        return f"{best} gets {accuracy} right"
    if len(level) == 1:
        return f"{best} is best: it gets {accuracy} right"
    return f"No clear winner {'among' if len(level) > 2 else 'between'} {in_words(level)}"


def costs(costs: Costs) -> str:
    """Which strategy took the least and which the most time."""
    ordered = sorted(costs.curves, key=lambda name: costs.seconds[name])
    spent = [f"{name} {costs.seconds[name]:,.0f}" for name in ordered]
    return f"Seconds of one training, pretraining included: {', '.join(spent)}."


def learning_curves(curves: pd.DataFrame, histories: pd.DataFrame) -> str:
    """The accuracy of each strategy on the development data, and those that were still rising when training ended."""
    ended = histories.groupby("strategy")["step"].max()
    known = {name: mean_curve(curves, name, ended[name]) for name in curves.columns[1:] if name in ended}
    if not known:
        return "There are no learning curves."
    reached = [f"{name} {_percent(curve.max())}" for name, curve in known.items()]
    text = f"Words of the development set right at the best evaluation, mean of the seeds: {', '.join(reached)}."
    if rising := [name for name, curve in known.items() if _is_rising(curve)]:
        verb = "was" if len(rising) == 1 else "were"
        text += f" {in_words(rising)} {verb} still rising at the end, so more steps may help."
    return text


def mean_curve(curves: pd.DataFrame, name: str, end: int) -> pd.Series:
    """The mean curve of a strategy by step, up to the step at which its last seed ended."""
    curve = curves.set_index("step")[name].dropna()
    return curve[curve.index <= end]


def by_pairs(rows: pd.DataFrame) -> str:
    """The accuracy of each strategy with the fewest and with the most pairs."""
    fewest, most = rows["pairs"].min(), rows["pairs"].max()
    known = []
    for name, curve in rows.set_index("pairs").groupby("strategy", sort=False)["word_accuracy"]:
        if fewest in curve.index and most in curve.index:
            known.append(f"{name} {_percent(curve[fewest])} and {_percent(curve[most])}")
    return f"Right with {fewest:,} and with {most:,} pairs: {', '.join(known)}."


def confusions(table: pd.DataFrame, strategy: str, runs: int) -> str:
    """The most frequent mistakes of a strategy, times for each of its `runs`; rows of `mistakes.confusions`."""
    mistakes = []
    for row in table[table["strategy"] == strategy].head(MISTAKES).to_dict("records"):
        target, written = (f"“{isolated(visible(row[side]))}”" for side in ("target", "written"))
        what = f"leaves out {target}" if not row["written"] else f"writes {written} for {target}"
        what = what if row["target"] else f"inserts {written}"
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


def coverage(table: pd.DataFrame, strategy: str) -> str:
    """What a threshold of confidence leaves, and how often that is right; rows of `coverage.coverage_table`."""
    everything, *rows = table[table["at_least"].isin((0.0, *EXPLAINED))].to_dict("records")
    text = f"Of all predictions {strategy} gets {_percent(everything['accuracy'])} right."
    for row in rows:
        interval = f"{100 * row['accuracy_low']:.1f} to {100 * row['accuracy_high']:.1f}"
        text += f" With --at-least {row['at_least']:g} it predicts {_percent(row['coverage'])} of the items"
        text += f", and of these {_percent(row['accuracy'])} ({interval}) are right."
    return text


def _is_rising(curve: pd.Series) -> bool:
    """Whether the last evaluation was the best, by more than a point over all of the first four fifths."""
    before = curve[curve.index <= 0.8 * curve.index[-1]]
    return bool(len(before) and curve.iloc[-1] == curve.max() and curve.iloc[-1] > before.max() + 0.01)


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.1f}%"
