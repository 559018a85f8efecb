"""sweep.yaml: the trials of a sweep, from lists and ranges of any parameters that a training depends on.

It is checked like params.yaml, all that is wrong at once, and so is every trial before any of them runs.
"""

import difflib
import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from pipeline.config.document import DocumentError, read_document
from pipeline.config.params import STRICT, ConfigError, Params, Seed, flatten
from pipeline.config.problems import Allowed, sentences
from pipeline.errors import UserError
from pipeline.sweeps.trials import Trial, plain
from pipeline.text import shown

MOST = 1000  # trials of a sweep
TRIES = 100  # random draws for each trial wanted, as some come to the same
SHOWN = 5  # problems that trials have
DIGITS = 4  # significant ones of a drawn number
THREADS = "training.threads"
# Parameters that make other development data, on which accuracies cannot be held against each other.
DEV_DATA = ("data.", "prepare.dev", "prepare.test", "prepare.max_symbols", "prepare.on_bad_row", "prepare.seed")


class Strategy(StrEnum):
    """What a trial may train."""

    SUPERVISED = "supervised"
    TWO_STAGE = "two_stage"
    TANDEM = "tandem"


class Search(StrEnum):
    """How trials are chosen."""

    GRID = "grid"  # every combination
    RANDOM = "random"


@dataclass(frozen=True, config=STRICT)
class Range:
    """Numbers from `low` to `high`, both included; whole ones if both are, and then in steps from `low`.

    log: even in their logarithm.
    """

    low: int | float
    high: int | float
    log: bool = False
    step: Annotated[int, Field(ge=1)] = 1

    @property
    def is_whole(self) -> bool:
        """Whether its numbers are."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def draw(self, rng: np.random.Generator) -> int | float:
        """A number of the range."""
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
    """What stands in the file; `parameters` are looked at one by one."""

    strategies: Annotated[list[Strategy], Field(min_length=1, max_length=len(Strategy))]
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
    try:
        document = read_document(path)
    except FileNotFoundError:
        raise ConfigError(f"no {path} in {Path.cwd()}: write one, see the README") from None
    except DocumentError as error:
        raise ConfigError(str(error)) from error
    if not isinstance(document.content, dict):
        raise ConfigError(f"{path} must be a mapping with strategies, seeds and parameters")
    problems = [(key, f"{key or path} {reason}") for key, reason in document.problems]
    listed = document.content.get("parameters")
    choices: dict[str, Choices] = {}
    for name, value in listed.items() if isinstance(listed, dict) else ():
        try:
            choices[name] = _choices(name, value, params)
        except UserError as error:
            problems.append((f"parameters.{name}", str(error)))
    try:
        as_json = json.dumps(document.content, ensure_ascii=False).encode()
        content = TypeAdapter(_Content).validate_json(as_json)
    except ValidationError as error:
        allowed = Allowed(TypeAdapter(_Content).json_schema())
        problems += sentences(error.errors(include_url=False), allowed)
    else:
        problems += _contradictions(content, choices)
        if not problems:
            trials, problems = _trials(content, choices, params)
            if not problems:
                return Space(tuple(choices), content.stop_early, tuple(trials))
    ordered = sorted((document.line(key), sentence) for key, sentence in problems)
    said = [f"line {line}: {sentence}" if line else sentence for line, sentence in ordered]
    raise ConfigError("\n  ".join([f"{path} has {len(said)} problem(s):", *said]))


def _choices(name: str, value: Any, params: Params) -> Choices:
    """What may stand for one parameter; raises `UserError`."""
    names = flatten(params)
    if name == "seeds":
        raise UserError("parameters.seeds: write them as seeds: [...], beside parameters")
    if name == THREADS:
        raise UserError(f"parameters.{THREADS} says how much of a machine a trial takes: set it in params.yaml")
    if name not in names:
        sections = {known.split(".")[0] for known in names}
        if name in sections:
            raise UserError(f"parameters.{name} is a section: write {name}.KEY: [...], with a dotted name")
        last = [known for known in names if known.rpartition(".")[2] == name.rpartition(".")[2]]
        near = difflib.get_close_matches(name, names, n=1) or last[:1]
        meant = f": did you mean {near[0]}?" if near else ""
        raise UserError(f"parameters.{name} is not in params.yaml{meant}")
    if isinstance(value, list):
        if not value:
            raise UserError(f"parameters.{name} is an empty list: give the values to try")
        if len({json.dumps(item) for item in value}) < len(value):
            raise UserError(f"parameters.{name} names a value twice: {shown(value)}")
        return value
    if not isinstance(value, dict):
        raise UserError(f"parameters.{name} is {shown(value)}, but must be a list of values, or low and high")
    try:
        found = TypeAdapter(Range).validate_json(json.dumps(value))
    except ValidationError:
        raise UserError(
            f"parameters.{name} is {shown(value)}, but must be a list of values, or low and high, numbers, "
            "with log: true or false, and for whole numbers step"
        ) from None
    if found.low >= found.high or (found.log and found.low <= 0):
        least = "above 0 and " if found.log else ""
        raise UserError(f"parameters.{name}: low is {found.low}, but must be {least}below high, which is {found.high}")
    if found.step > 1 and not found.is_whole:
        raise UserError(f"parameters.{name}: step is for whole numbers, and low and high are not")
    return found


def _contradictions(content: _Content, choices: Mapping[str, Choices]) -> Iterator[tuple[str, str]]:
    ranges = [name for name, found in choices.items() if isinstance(found, Range)]
    for name, values in (("strategies", content.strategies), ("seeds", content.seeds)):
        if len(set(values)) < len(values):
            yield name, f"{name} names one twice: {[plain(value) for value in values]}"
    if content.search is Search.GRID:
        if content.trials:
            yield "trials", "trials is for search: random; a grid has every combination"
        for name in ranges:
            yield (
                f"parameters.{name}",
                f"parameters.{name} is a range, which has no grid: list values, or search: random",
            )
        lists = [len(found) for found in choices.values() if isinstance(found, list)]
        if (number := math.prod([len(content.strategies), len(content.seeds), *lists])) > MOST:
            yield "search", f"the grid has {number:,} combinations, at most {MOST:,} are possible: try search: random"
    elif not content.trials:
        yield "search", "search: random needs trials, their number"
    if content.stop_early and (names := _dev_data(choices)):
        yield (
            f"parameters.{names[0]}",
            f"parameters.{names[0]} makes other development data, on which trials cannot be held against each other: "
            "set stop_early: false",
        )


def _dev_data(names: Mapping[str, Any] | Sequence[str]) -> list[str]:
    return [name for name in names if name.startswith(DEV_DATA)]


def _trials(
    content: _Content, choices: Mapping[str, Choices], params: Params
) -> tuple[list[Trial], list[tuple[str, str]]]:
    """The trials, and what is wrong with them: each problem once, with the first trial that has it."""
    drawn = _grid(content, choices) if content.search is Search.GRID else _draws(content, choices)
    trials: dict[str, Trial] = {}
    wrong: dict[str, list[str]] = {}
    for strategy, seed, changes in drawn:
        try:
            trial = Trial.of(strategy, seed, changes, params)
        except ConfigError as error:
            values = ", ".join(f"{name} {plain(value)}" for name, value in changes.items())
            for sentence in str(error).split("\n  ")[1:]:
                wrong.setdefault(sentence, []).append(f"{strategy}, seed {seed}, {values}")
            continue
        trials.setdefault(trial.same, trial)
        if len(trials) == content.trials:
            break
    problems = [
        ("parameters", f"trial {of[0]}{f' and {len(of) - 1} more' if len(of) > 1 else ''}: {sentence}")
        for sentence, of in itertools.islice(wrong.items(), SHOWN)
    ]
    if len(wrong) > SHOWN:
        problems.append(("parameters", f"… and {len(wrong) - SHOWN} more like these"))
    if not problems and content.trials and len(trials) < content.trials:
        said = (
            f"trials is {content.trials}, but only {len(trials)} different ones were found: lower it, or search: grid"
        )
        problems.append(("trials", said))
    if not problems:
        for name in choices:
            if not any(name in trial.changes for trial in trials.values()):
                trained = ", ".join(content.strategies)
                unused = f"parameters.{name} changes nothing in the training of {trained}: leave it out"
                problems.append((f"parameters.{name}", unused))
    return list(trials.values()), problems


Drawn = tuple[str, int, dict[str, Any]]


def _grid(content: _Content, choices: Mapping[str, Choices]) -> Iterator[Drawn]:
    values = [found for found in choices.values() if isinstance(found, list)]
    for *changes, seed, strategy in itertools.product(*values, content.seeds, content.strategies):
        yield str(strategy), int(seed), dict(zip(choices, changes, strict=True))


def _draws(content: _Content, choices: Mapping[str, Choices]) -> Iterator[Drawn]:
    rng = np.random.default_rng(content.search_seed)

    def one_of(values: Sequence[Any]) -> Any:
        return values[int(rng.integers(len(values)))]

    for _ in range(TRIES * (content.trials or 0)):
        strategy, seed = one_of(content.strategies), one_of(content.seeds)
        changes = {
            name: found.draw(rng) if isinstance(found, Range) else one_of(found) for name, found in choices.items()
        }
        yield str(strategy), int(seed), changes
