"""sweep.yaml: the trials of a sweep, from lists and ranges of any parameters that a training depends on.

All problems of the file are reported at once, as for params.yaml, and every trial is checked before any of them runs.
"""

import difflib
import itertools
import json
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from pipeline.config.document import ConfigError, read_document
from pipeline.config.params import STRICT, Params, Seed, flatten
from pipeline.config.problems import Allowed, Problem, listed, renamed, sentences
from pipeline.sweeps.trials import Trial, plain
from pipeline.text import shown

MOST = 1000  # trials of a sweep
TRIES = 100  # random draws for each trial wanted, as some give the same trial
SHOWN = 5  # problems of trials that are listed
DIGITS = 4  # significant ones of a drawn number
THREADS = "training.threads"
# Parameters that change the development data, so that accuracies cannot be compared.
DEV_DATA = ("data.", "prepare.dev", "prepare.test", "prepare.max_symbols", "prepare.on_bad_row", "prepare.seed")


class Search(StrEnum):
    """How trials are chosen."""

    GRID = "grid"  # every combination
    RANDOM = "random"


@dataclass(frozen=True, config=STRICT)
class Range:
    """Numbers from `low` to `high`, both included; if both are whole, whole ones in steps of `step` from `low`.

    log: the logarithm is drawn evenly, not the number.
    """

    low: int | float
    high: int | float
    log: bool = False
    step: Annotated[int, Field(ge=1)] = 1

    @property
    def is_whole(self) -> bool:
        """Whether low and high are whole numbers."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def draw(self, rng: np.random.Generator) -> int | float:
        """Draw a number of the range."""
        steps = int((self.high - self.low) // self.step)
        if self.is_whole and not self.log:
            return int(self.low) + self.step * int(rng.integers(steps, endpoint=True))
        low, high = (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)
        drawn = float(rng.uniform(low, high))
        drawn = math.exp(drawn) if self.log else drawn
        if self.is_whole:
            return int(self.low) + self.step * min(round((drawn - self.low) / self.step), steps)
        return min(max(float(f"{drawn:.{DIGITS}g}"), self.low), self.high)


Choices = list[Any] | Range


@dataclass(frozen=True, config=STRICT)
class _Content:
    """The content of sweep.yaml; `strategies` and `parameters` are checked one by one."""

    strategies: Annotated[list[str], Field(min_length=1, max_length=12)]
    seeds: Annotated[list[Seed], Field(min_length=1, max_length=MOST)]
    parameters: Annotated[dict[str, Any], Field(description="a section of dotted names")] = Field(default_factory=dict)
    search: Search = Search.GRID
    trials: Annotated[int, Field(ge=1, le=MOST)] | None = None
    search_seed: Seed = 0
    stop_early: bool = True


@dataclass(frozen=True)
class Space:
    """A checked sweep.yaml. trials: all different, in the order in which they start."""

    parameters: tuple[str, ...]
    stop_early: bool
    trials: tuple[Trial, ...]

    @property
    def is_comparable(self) -> bool:
        """Whether all trials are measured on the same development data."""
        return not _dev_data(self.parameters)


def read_space(path: Path, params: Params) -> Space:
    """Read and check a sweep; raises `ConfigError` with every problem, one a line."""
    document = read_document(path, "write one, see the README")
    if not isinstance(document.content, dict):
        raise ConfigError(f"{path} must be a mapping with strategies, seeds and parameters")
    problems = [(key, f"{key or path} {reason}") for key, reason in document.problems]
    parameters = document.content.get("parameters")
    choices: dict[str, Choices] = {}
    for name, value in parameters.items() if isinstance(parameters, dict) else ():
        if isinstance(choice := _choices(name, value, params), str):
            problems.append((f"parameters.{name}", f"parameters.{name} {choice}"))
        else:
            choices[name] = choice
    strategies = document.content.get("strategies")
    for number, name in enumerate(strategies if isinstance(strategies, list) else ()):
        if isinstance(name, str) and name not in params.strategies:
            existing = ", ".join(params.strategies)
            problem = f"strategies.{number} is {shown(name)}, but params.yaml has {existing}"
            problems.append((f"strategies.{number}", problem + _meant(name, params.strategies)))
    try:
        content = TypeAdapter(_Content).validate_json(json.dumps(document.content, ensure_ascii=False).encode())
    except ValidationError as error:
        problems += sentences(error.errors(include_url=False), Allowed(TypeAdapter(_Content).json_schema()))
    else:
        problems += _contradictions(content, choices)
        if not problems:
            trials, problems = _trials(content, choices, params)
            if not problems:
                return Space(tuple(choices), content.stop_early, tuple(trials))
    raise ConfigError(listed(str(path), document, problems))


def _choices(name: str, value: Any, params: Params) -> Choices | str:
    """The values to try of one parameter, or what is wrong with it, in words that follow its name."""
    names = flatten(params)
    if name == "seeds":
        return "is not possible: write seeds: [...] beside parameters"
    if name == THREADS:
        return "says how much of a machine a trial takes: set it in params.yaml"
    if name not in names:
        if any(known.startswith(f"{name}.") for known in names):
            return f"is a section: write {name}.KEY: [...], with a dotted name"
        if new := renamed({name: value}).get(name):
            return f"has a new name: {new}"
        last = [known for known in names if known.rpartition(".")[2] == name.rpartition(".")[2]]
        return f"is not in params.yaml{_meant(name, names, last)}"
    if isinstance(value, list):
        if len({json.dumps(item) for item in value}) < len(value):
            return f"has a value twice: {shown(value)}"
        return value or "is an empty list: give the values to try"
    if not isinstance(value, dict):
        return f"is {shown(value)}, but must be a list of values, or low and high"
    try:
        numbers = TypeAdapter(Range).validate_json(json.dumps(value))
    except ValidationError:
        return (
            f"is {shown(value)}, but must be a list of values, or low and high, numbers, with log: true or false, and "
            "for whole numbers step"
        )
    if numbers.low >= numbers.high or (numbers.log and numbers.low <= 0):
        least = "above 0 and " if numbers.log else ""
        return f"has low {numbers.low}, which must be {least}below high, {numbers.high}"
    if numbers.step > 1 and not numbers.is_whole:
        return "has a step, which is for whole numbers, but low and high are not whole"
    return numbers


def _meant(name: str, known: Collection[str], otherwise: Sequence[str] = ()) -> str:
    near = difflib.get_close_matches(name, known, n=1) or otherwise[:1]
    return f": did you mean {near[0]}?" if near else ""


def _contradictions(content: _Content, choices: Mapping[str, Choices]) -> Iterator[Problem]:
    for name, values in (("strategies", content.strategies), ("seeds", content.seeds)):
        if len(set(values)) < len(values):
            yield name, f"{name} has a value twice: {shown(values)}"
    if content.search is Search.GRID:
        if content.trials:
            yield "trials", "trials is for search: random; a grid has every combination"
        for name, choice in choices.items():
            if isinstance(choice, Range):
                problem = f"parameters.{name} is a range, which has no grid: list values, or search: random"
                yield f"parameters.{name}", problem
        lists = [len(choice) for choice in choices.values() if isinstance(choice, list)]
        if (number := math.prod([len(content.strategies), len(content.seeds), *lists])) > MOST:
            yield "search", f"the grid has {number:,} combinations, at most {MOST:,} are possible: try search: random"
    elif not content.trials:
        yield "search", "search: random needs trials, their number"
    if content.stop_early and (names := _dev_data(choices)):
        problem = "changes the development data, so that trials cannot be compared: set stop_early: false"
        yield f"parameters.{names[0]}", f"parameters.{names[0]} {problem}"


def _dev_data(names: Collection[str]) -> list[str]:
    return [name for name in names if name.startswith(DEV_DATA)]


def _trials(content: _Content, choices: Mapping[str, Choices], params: Params) -> tuple[list[Trial], list[Problem]]:
    """The trials, and their problems: each problem once, with the first trial that has it."""
    trials: dict[str, Trial] = {}
    wrong: dict[str, list[str]] = {}
    combinations = _grid(content, choices) if content.search is Search.GRID else _draws(content, choices)
    for strategy, seed, changes in combinations:
        try:
            trial = Trial.of(strategy, seed, changes, params)
        except ConfigError as error:
            values = ", ".join(f"{name} {plain(value)}" for name, value in changes.items())
            for sentence in str(error).split("\n  ")[1:]:
                wrong.setdefault(sentence, []).append(f"{strategy}, seed {seed}, {values}")
            continue
        trials.setdefault(trial.identity, trial)
        if len(trials) == content.trials:
            break
    if wrong:
        problems = [
            ("parameters", f"trial {of[0]}{f' and {len(of) - 1} more' if len(of) > 1 else ''}: {sentence}")
            for sentence, of in itertools.islice(wrong.items(), SHOWN)
        ]
        more = len(wrong) - SHOWN
        return [], problems + ([("parameters", f"… and {more} more like these")] if more > 0 else [])
    if content.trials and len(trials) < content.trials:
        problem = (
            f"trials is {content.trials}, but there are only {len(trials)} different ones: lower it, or search: grid"
        )
        return [], [("trials", problem)]
    unused = [name for name in choices if not any(name in trial.changes for trial in trials.values())]
    of_these = f"changes nothing in the training of {', '.join(content.strategies)}: leave it out"
    return list(trials.values()), [(f"parameters.{name}", f"parameters.{name} {of_these}") for name in unused]


Combination = tuple[str, int, dict[str, Any]]  # strategy, seed, changes


def _grid(content: _Content, choices: Mapping[str, Choices]) -> Iterator[Combination]:
    values = [choice for choice in choices.values() if isinstance(choice, list)]
    for *changes, seed, strategy in itertools.product(*values, content.seeds, content.strategies):
        yield strategy, int(seed), dict(zip(choices, changes, strict=True))


def _draws(content: _Content, choices: Mapping[str, Choices]) -> Iterator[Combination]:
    rng = np.random.default_rng(content.search_seed)

    def drawn(choice: Choices) -> Any:
        return choice.draw(rng) if isinstance(choice, Range) else choice[int(rng.integers(len(choice)))]

    for _ in range(TRIES * (content.trials or 0)):
        strategy, seed = drawn(list(content.strategies)), drawn(list(content.seeds))
        yield str(strategy), int(seed), {name: drawn(choice) for name, choice in choices.items()}
