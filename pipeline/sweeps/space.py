"""sweep.yaml: the trials of a sweep, from lists and ranges of any parameters that a training depends on.

All problems of the file are reported at once, as for params.yaml, and every trial is checked before any of them runs.
"""

import difflib
import itertools
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import (
    AfterValidator,
    Field,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from pydantic.dataclasses import dataclass
from pydantic_core import PydanticCustomError

from pipeline.config.document import ConfigError, read_document
from pipeline.config.params import STRICT, Params, Seed, checked, flatten, unless
from pipeline.config.problems import CONTRADICTION, Problem, listed, renamed
from pipeline.sweeps.trials import Trial

MOST = 1000  # trials of a sweep
TRIES = 100  # random draws for each trial wanted, as some give the same trial
SHOWN = 5  # problems of trials that are listed
DEV_DATA = ("data.", "prepare.dev", "prepare.test", "prepare.max_symbols", "prepare.on_bad_row", "prepare.seed")
ONCE = unless(lambda values, _: len({json.dumps(one) for one in values}) < len(values), "must not have a value twice")


@dataclass(frozen=True, config=STRICT)
class _Range:
    """Numbers from `low` to `high`, drawn evenly or by logarithm; if both are whole, whole ones in steps of `step`."""

    low: int | float
    high: int | float
    log: bool = False
    step: Annotated[int, Field(ge=1)] = 1

    def __post_init__(self) -> None:
        if self.low >= self.high:
            raise _wrong("low must be below high")
        if self.log and self.low <= 0:
            raise _wrong("with log: true, low must be above 0")
        if self.step > 1 and not self.is_whole:
            raise _wrong("step is for whole numbers, and low and high are not")

    @property
    def is_whole(self) -> bool:
        return isinstance(self.low, int) and isinstance(self.high, int)

    def draw(self, rng: np.random.Generator) -> int | float:
        steps = int((self.high - self.low) // self.step)
        if self.is_whole and not self.log:
            return int(self.low) + self.step * int(rng.integers(steps, endpoint=True))
        scale, unscale = (math.log, math.exp) if self.log else (float, float)
        drawn = unscale(rng.uniform(scale(self.low), scale(self.high)))
        if self.is_whole:
            return int(self.low) + self.step * min(round((drawn - self.low) / self.step), steps)
        return min(max(float(f"{drawn:.4g}"), self.low), self.high)  # few digits, to be read


def _choices(value: Any, validate: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
    try:
        choices = validate(value)
    except ValidationError as error:  # of a list and of a range
        reasons = [one["msg"] for one in error.errors() if one["type"] == CONTRADICTION]
        allowed = "must be a list of values, or numbers low and high, with log: true or false, and for whole ones step"
        raise _wrong([*reasons, allowed][0]) from error
    if isinstance(choices, _Range) and info.data.get("search") == "grid":
        raise _wrong("a range has no grid: list values, or search: random")
    return choices


def _strategy(name: str, info: ValidationInfo[dict[str, Params]]) -> str:
    if name not in (strategies := info.context["params"].strategies):
        raise _wrong(f"params.yaml has {', '.join(strategies)}")
    return name


def _parameter(name: str, info: ValidationInfo[dict[str, Params]]) -> str:
    names = flatten(info.context["params"])
    if name == "seeds":
        raise _wrong("write seeds: [...] beside parameters")
    if name in ("training.threads", "training.device"):
        raise _wrong("it says how much of a machine a trial takes, set it in params.yaml")
    if any(known.startswith(f"{name}.") for known in names):
        raise _wrong(f"it is a section, write {name}.KEY: [...]")
    if new := renamed({name: None}).get(name):
        raise _wrong(f"it is {new} now")
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
        raise _wrong(f"params.yaml does not have it{f', did you mean {near[0]}?' if near else ''}")
    return name


def _wrong(reason: str) -> PydanticCustomError:
    return PydanticCustomError(CONTRADICTION, "{reason}", {"reason": reason})


@dataclass(frozen=True, config=STRICT)
class Space:
    """The content of sweep.yaml. parameters: lists of values or ranges, by dotted name; their checks need `params`."""

    strategies: Annotated[list[Annotated[str, AfterValidator(_strategy)]], Field(min_length=1, max_length=12), ONCE]
    seeds: Annotated[list[Seed], Field(min_length=1, max_length=MOST), ONCE]
    search: Literal["grid", "random"] = "grid"  # every combination, or so many `trials`
    trials: Annotated[int, Field(ge=1, le=MOST)] | None = None
    search_seed: Seed = 0
    parameters: dict[
        Annotated[str, AfterValidator(_parameter)],
        Annotated[Annotated[list[Any], Field(min_length=1), ONCE] | _Range, WrapValidator(_choices)],
    ] = Field(default_factory=dict, description="a section of dotted names")
    stop_early: bool = True

    @property
    def incomparable(self) -> list[str]:
        """Parameters that change the development data, so that accuracies cannot be compared."""
        return [name for name in self.parameters if name.startswith(DEV_DATA)]


def read_space(path: Path, params: Params) -> tuple[Space, list[Trial]]:
    """Read a sweep and its trials, all different, in the order of their start; raises `UserError` with all problems."""
    document = read_document(path, "write one, see docs/experiments.md")
    if not isinstance(document.content, dict):
        raise ConfigError(f"{path} must be a mapping with strategies, seeds and parameters")
    space = checked(TypeAdapter(Space), document.content, str(path), document, {"params": params})
    trials, problems = _trials(space, params)
    if problems:
        raise ConfigError(listed(str(path), document, problems))
    return space, trials


def _contradictions(space: Space) -> Iterator[Problem]:
    if space.search == "grid":
        if space.trials:
            yield "trials", "trials is for search: random; a grid has every combination"
        lists = [choice for choice in space.parameters.values() if isinstance(choice, list)]
        if (number := math.prod([len(space.strategies), len(space.seeds), *map(len, lists)])) > MOST:
            yield "search", f"the grid has {number:,} combinations, at most {MOST:,} are possible: try search: random"
    elif not space.trials:
        yield "search", "search: random needs trials, their number"
    for name in space.incomparable if space.stop_early else ():
        problem = "changes the development data, so that trials cannot be compared: set stop_early: false"
        yield f"parameters.{name}", f"parameters.{name} {problem}"


def _trials(space: Space, params: Params) -> tuple[list[Trial], list[Problem]]:
    """The trials, and their problems: each problem once, with the first trial that has it."""
    if problems := list(_contradictions(space)):
        return [], problems
    trials: dict[str, Trial] = {}
    wrong: dict[str, list[str]] = {}
    for strategy, seed, changes in _grid(space) if space.search == "grid" else _draws(space):
        try:
            trial = Trial.of(strategy, seed, changes, params)
        except ConfigError as error:
            for sentence in str(error).split("\n  ")[1:]:
                wrong.setdefault(sentence, []).append(Trial(strategy, seed, changes, params).title)
            continue
        trials.setdefault(trial.identity, trial)
        if len(trials) == space.trials:
            break
    named = [
        f"trial {first}{f' and {len(others)} more' if others else ''}: {sentence}"
        for sentence, (first, *others) in wrong.items()
    ]
    if len(named) > SHOWN:
        named[SHOWN:] = [f"… and {len(named) - SHOWN} more like these"]
    problems = [("parameters", sentence) for sentence in named]
    if not wrong:
        if space.trials and len(trials) < space.trials:
            number = f"trials is {space.trials}, but there are only {len(trials)} different ones"
            problems.append(("trials", f"{number}: lower it, or search: grid"))
        of_these = f"changes nothing in the training of {', '.join(space.strategies)}: leave it out"
        unused = [name for name in space.parameters if not any(name in trial.changes for trial in trials.values())]
        problems += [(f"parameters.{name}", f"parameters.{name} {of_these}") for name in unused]
    return list(trials.values()), problems


def _grid(space: Space) -> Iterator[tuple[str, int, dict[str, Any]]]:
    lists: Iterable[Any] = space.parameters.values()
    for *changes, seed, strategy in itertools.product(*lists, space.seeds, space.strategies):
        yield strategy, seed, dict(zip(space.parameters, changes, strict=True))


def _draws(space: Space) -> Iterator[tuple[str, int, dict[str, Any]]]:
    rng = np.random.default_rng(space.search_seed)

    def drawn(choice: Sequence[Any] | _Range) -> Any:
        return choice.draw(rng) if isinstance(choice, _Range) else choice[int(rng.integers(len(choice)))]

    for _ in range(TRIES * (space.trials or 0)):
        strategy, seed = drawn(space.strategies), drawn(space.seeds)
        yield strategy, seed, {name: drawn(choice) for name, choice in space.parameters.items()}
