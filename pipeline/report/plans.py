"""Several comparisons, and comparisons still to come, as text: replication, and how large a test has to be."""

from pipeline.errors import UserError
from pipeline.evaluation.replication import Replication, at_least, found, two_level
from pipeline.evaluation.results import VERDICT, Metrics, strategies
from pipeline.evaluation.verdict import MOST_ITEMS, MOST_SEEDS, from_json, plan
from pipeline.report.tables import ABSENT, markdown_table, p_value_text, points, probability_text, share


def replication_text(replication: Replication) -> str:
    """A row for each data set, and in how many of them which strategy is better."""
    better, than, error = replication.better, replication.than, replication.error
    is_found = found(replication.p_values(), error)
    rows = [
        [
            row["data"],
            f"{row['items']:,}",
            str(row["seeds"]),
            f"{points(row['difference'])} ({points(row['low'])} to {points(row['high'])})",
            p_value_text(row["p_value"]),
            probability_text(row["probability"]),
            "yes" if yes else "no",
        ]
        for row, yes in zip(replication.rows, is_found, strict=True)
    ]
    interval = f"{share(replication.rows[0]['level'])} interval"
    header = [
        "data",
        "items",
        "seeds",
        f"{better} - {than}, points ({interval})",
        "p",
        "P(better)",
        "corrected: better",
    ]
    counts = [
        f"{one} is better than {other} in at least {at_least(values, error)} of {len(rows)} data sets (Bonferroni, for "
        f"any data sets), and in {at_least(values, error, independent=True)} if they are independent (Fisher)."
        for one, other, values in (
            (better, than, replication.p_values()),
            (than, better, replication.p_values(of_better=False)),
        )
    ]
    return "\n".join([markdown_table(header, rows), *counts])


def plan_text(metrics: Metrics, wanted: float, name: str | None = None, other: str | None = None) -> str:
    """How many test items or seeds it takes to find a difference of `wanted`, a fraction, as a table and in words."""
    if not 0 < wanted < 1:
        raise UserError(f"--difference is {100 * wanted:.4g}, but must be above 0 and below 100 points")
    if len(strategies(metrics)) < 2:
        raise UserError("a single strategy was trained: there is no difference to plan for")
    row = metrics[VERDICT]["differences"][0]
    name, other = name or row["name"], other or row["other"]
    if name == other or not {name, other} <= set(strategies(metrics)):
        raise UserError(f"{name} and {other} are not compared (compared: {', '.join(strategies(metrics))})")
    now, shown = metrics[name], two_level(metrics, name, other)
    items, seeds = now["items"], min(metrics[name]["seeds"], metrics[other]["seeds"])
    planned = plan(from_json(shown), shown["level"], wanted, items, seeds)
    sought = f"a true difference of {100 * wanted:.4g} points between {name} and {other}"
    known = "is not known for a single item"
    if shown["detectable"] is not None:
        known = (
            f"is {100 * shown['detectable']:.1f} points with {items:,} test items and {seeds} seed{'s' * (seeds > 1)}"
        )
    text = [f"The smallest difference that is found with a probability of 80% {known}.", f"To find {sought}:\n"]
    rows = [[str(count), _count(needed, MOST_ITEMS)] for count, needed in planned["items"].items()]
    text.append(markdown_table(["seeds", "test items"], rows, left=0))
    if seeds == 1:
        return "\n".join([*text, "Nothing is known of other seeds: train with at least two to plan with seeds."])
    enough = planned["seeds"]
    with_seeds = f"it takes {enough} seeds" if enough else f"no number of seeds up to {MOST_SEEDS:,} suffices"
    text.append(f"With {items:,} test items as now {with_seeds}.")
    if None in planned["items"].values():
        text.append(f"{ABSENT}: with so few seeds no number of test items suffices, because seeds vary by too much.")
    text.append("Estimated from the variances of this comparison, which are rough with few seeds.")
    return "\n".join(text)


def _count(needed: int | None, most: int) -> str:
    return ABSENT if needed is None else f"{needed:,}" if needed < most else f"over {most:,}"
