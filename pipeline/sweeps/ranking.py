"""What a sweep found: its configurations from the best to the worst, as tables; and the best one put into params.yaml.

A configuration is a strategy with its parameters; it counts by the mean over its seeds.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any

from ruamel.yaml import YAML

from pipeline.config.params import changed, flatten, load_params
from pipeline.errors import UserError
from pipeline.report.tables import markdown_table
from pipeline.runs.checkpoints import write_whole
from pipeline.sweeps.trials import Result, Trial, plain
from pipeline.text import cell

SHOWN = 20  # rows of a table on the terminal
WIDE = 4096  # characters: no line of params.yaml is broken
UNSET = "–"  # for a parameter that the strategy does not depend on


@dataclass(frozen=True)
class Configuration:
    """Trials that differ in their seed alone, with their results."""

    trials: Sequence[tuple[Trial, Result]]

    @property
    def strategy(self) -> str:
        """Of all its trials."""
        return self.trials[0][0].strategy

    @property
    def changes(self) -> Mapping[str, Any]:
        """The parameters that the sweep set, by dotted name."""
        return self.trials[0][0].changes

    @cached_property
    def accuracy(self) -> float:
        """Mean dev word accuracy."""
        return fmean(result.dev_word_accuracy for _, result in self.trials)

    @property
    def stopped(self) -> int:
        """How many of its trials were stopped early."""
        return sum(not result.is_finished for _, result in self.trials)


def ranked(found: Sequence[tuple[Trial, Result]]) -> list[Configuration]:
    """The configurations, the best first; of equal ones, that which comes first in the sweep."""
    groups: dict[tuple[str, str], list[tuple[Trial, Result]]] = {}
    for trial, result in found:
        groups.setdefault(trial.configuration, []).append((trial, result))
    return sorted(map(Configuration, groups.values()), key=lambda group: -group.accuracy)


def table(ranking: Sequence[Configuration], parameters: Sequence[str]) -> str:
    """A markdown table of the first `SHOWN` configurations."""
    header = ["strategy", *parameters, "seeds", "stopped", "dev word accuracy, %", "lowest", "highest"]
    rows = []
    for group in ranking[:SHOWN]:
        reached = [result.dev_word_accuracy for _, result in group.trials]
        numbers = (f"{100 * value:.1f}" for value in (group.accuracy, min(reached), max(reached)))
        counts = str(len(group.trials)), str(group.stopped)
        rows.append([group.strategy, *_values(group.changes, parameters), *counts, *numbers])
    text = markdown_table(header, rows)
    return f"{text}… and {len(ranking) - SHOWN:,} more\n" if len(ranking) > SHOWN else text


def tsv(found: Sequence[tuple[Trial, Result]], parameters: Sequence[str]) -> str:
    """All trials, one a line, the best first; tab-separated."""
    header = ["strategy", "seed", *parameters, "ending", "steps", "best_step", "seconds"]
    lines = [[*header, "dev_word_accuracy", "dev_character_error_rate"]]
    for trial, result in sorted(found, key=lambda pair: -pair[1].dev_word_accuracy):
        spent = (result.steps, result.best_step, result.seconds)
        reached = (result.dev_word_accuracy, result.dev_character_error_rate)
        values = _values(trial.changes, parameters)
        lines.append([trial.strategy, str(trial.seed), *values, result.ending, *map(str, (*spent, *reached))])
    return "".join("\t".join(map(cell, line)) + "\n" for line in lines)


def verdict(best: Configuration) -> str:
    """The best configuration in a sentence."""
    setting = ", ".join(f"{name}: {plain(value)}" for name, value in best.changes.items())
    name = f"{best.strategy} with {setting}" if setting else best.strategy
    seeds = f"mean of {len(best.trials)} seeds" if len(best.trials) > 1 else "one seed"
    return f"best: {name}, {best.accuracy:.1%} of dev words right ({seeds})"


def apply(best: Configuration, path: Path) -> dict[str, tuple[Any, Any]]:
    """Write the parameters of a configuration into params.yaml, comments and order kept; what changed, from and to.

    Raises `ConfigError` if they contradict what stands there, which then stays.
    """
    before = load_params(path)
    after = flatten(changed(before, best.changes))
    changes = {name: (value, after[name]) for name, value in flatten(before).items() if value != after[name]}
    if not changes:
        return {}
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = WIDE
    yaml.representer.add_representer(
        type(None), lambda dumper, _: dumper.represent_scalar("tag:yaml.org,2002:null", "null")
    )
    content = yaml.load(path.read_text(encoding="utf-8-sig"))
    for name, (_, value) in changes.items():
        *sections, key = name.split(".")
        place = content
        for section in sections:
            place = place[section]
        if isinstance(place.get(key), list):
            place[key][:] = value  # stays on one line if it was
        else:
            place[key] = value
    text = io.StringIO()
    yaml.dump(content, text)
    try:
        write_whole(path, text.getvalue().encode())
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error}") from error
    return changes


def _values(changes: Mapping[str, Any], parameters: Sequence[str]) -> list[str]:
    return [plain(changes[name]) if name in changes else UNSET for name in parameters]
