"""`params.yaml` as frozen dataclasses, checked once.

All that is wrong with a file is reported at once, each with its line, the dotted key that the user types, the value
received and what is allowed. How YAML is read is left to `document`, what contradicts what to `contradictions`, and the
sentences to `problems`.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from pipeline.config.contradictions import contradictions
from pipeline.config.document import Document, DocumentError, read_document
from pipeline.config.options import (
    Bridge,
    Cell,
    DataSource,
    Decay,
    DecoderKind,
    MatcherEncoder,
    NoiseKind,
    Objective,
    OnBadRow,
    Order,
    Start,
    Symbols,
    TaskName,
)
from pipeline.config.problems import Allowed, sentences
from pipeline.errors import UserError

PARAMS = Path("params.yaml")

STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

Count = Annotated[int, Field(ge=1, le=10**12)]
Width = Annotated[int, Field(ge=1, le=2**16)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
Fraction = Annotated[float, Field(ge=0.0, lt=1.0)]
StrategyName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")]


class ConfigError(UserError):
    """Something in params.yaml cannot be used."""


Section = TypeVar("Section")


def _consistent(section: Section) -> Section:
    """Check a section, or all of them, wherever it is made; `parse_params` reports contradictions more completely."""
    if found := [sentence for _, sentence in contradictions(_flat(section))]:
        raise ValueError(". ".join(found))
    return section


@dataclass(frozen=True, config=STRICT)
class Data:
    """`data`: where pairs and targets come from, and what their symbols are."""

    source: DataSource
    pairs: Path | None
    targets: Path | None
    dev: Path | None
    test: Path | None
    source_symbols: Symbols
    target_symbols: Symbols

    _check = model_validator(mode="after")(_consistent)


@dataclass(frozen=True, config=STRICT)
class Prepare:
    """`prepare`: how much of the data is used, and how it is split."""

    pairs: Count | None
    dev: Count
    test: Count
    targets: Count | None
    hold_out_targets: bool
    on_bad_row: OnBadRow
    max_symbols: Annotated[int, Field(ge=1, le=10_000)]
    seed: Seed


@dataclass(frozen=True, config=STRICT)
class Model:
    """`model`: the architecture."""

    cell: Cell
    decoder: DecoderKind
    bridge: Bridge
    tie_weights: bool
    bidirectional: bool
    units: Width
    layers: Annotated[int, Field(ge=1, le=8)]
    projection: Width
    embedding: Width
    dropout: Fraction

    _check = model_validator(mode="after")(_consistent)


@dataclass(frozen=True, config=STRICT)
class Noise:
    """`noise`: corruption of the autoencoder's input."""

    kind: NoiseKind
    rate: Annotated[float, Field(ge=0.0, le=1.0)]


@dataclass(frozen=True, config=STRICT)
class Training:
    """`training`: the loop that all strategies share."""

    threads: Annotated[int, Field(ge=1, le=1024)]
    workers: Annotated[int, Field(ge=1, le=1024)]
    batch_size: Annotated[int, Field(ge=1, le=2**20)]
    learning_rate: Annotated[float, Field(gt=0.0, le=1.0)]
    warmup: Annotated[int, Field(ge=0, le=10**12)]
    decay: Decay
    clip_norm: Annotated[float, Field(gt=0.0, le=1e9)]
    l2: Annotated[float, Field(ge=0.0, le=1000.0)]
    evaluate_every: Count
    patience: Count


@dataclass(frozen=True, config=STRICT)
class Checkpoints:
    """`checkpoints`: how much of a training is lost when it is killed."""

    seconds: Annotated[float, Field(ge=0.0, le=60.0)]


@dataclass(frozen=True, config=STRICT)
class Pretrain:
    """`pretrain`: the autoencoder on unpaired targets."""

    steps: Count


@dataclass(frozen=True, config=STRICT)
class Strategy:
    """An entry of `strategies`: how a predictor is trained, phase by phase.

    Phases: `frozen_steps` on pairs that change encoder A alone (towards `objective`); `steps` steps, each one batch of
    every task in `tasks`; `finetune_steps` on pairs alone. A step is one batch of pairs.
    """

    tasks: Annotated[tuple[TaskName, ...], Field(min_length=1, max_length=100)]
    steps: Count
    start: Start = Start.SCRATCH
    frozen_steps: Annotated[int, Field(ge=0, le=10**12)] = 0
    objective: Objective = Objective.FROZEN_DECODER
    finetune_steps: Annotated[int, Field(ge=0, le=10**12)] = 0

    @property
    def is_pretrained(self) -> bool:
        """Whether training starts from the autoencoder of stage `pretrain`."""
        return self.start is Start.PRETRAINED

    @property
    def ingredients(self) -> frozenset[str]:
        """What the strategy learns from besides pairs: a subset of `synthetic`, `autoencode` and `pretrained`."""
        tasks = {task.value for task in self.tasks if task is not TaskName.PAIRED}
        return frozenset(tasks | {self.start.value} - {Start.SCRATCH.value})


@dataclass(frozen=True, config=STRICT)
class Decoding:
    """`decoding`: how a trained model predicts."""

    order: Order
    beam_width: Annotated[int, Field(ge=1, le=100)]
    neighbours: Annotated[int, Field(ge=0, le=1000)]
    ensemble: bool
    seed: Seed


@dataclass(frozen=True, config=STRICT)
class Matcher:
    """`matcher`: the siamese model that says how alike a source and a target are."""

    encoder: MatcherEncoder
    projection: Width
    units: Width
    embedding: Width
    dropout: Fraction
    steps: Count
    batch_size: Annotated[int, Field(ge=2, le=2**20)]
    learning_rate: Annotated[float, Field(gt=0.0, le=1.0)]
    neighbours: Annotated[int, Field(ge=0, le=1000)]
    candidates: Annotated[int, Field(ge=0, le=100)]
    negatives: Annotated[int, Field(ge=0, le=100)]
    evaluate_every: Count
    patience: Count

    _check = model_validator(mode="after")(_consistent)


@dataclass(frozen=True, config=STRICT)
class Evaluate:
    """`evaluate`: the comparison."""

    resamples: Annotated[int, Field(ge=100, le=1_000_000)]
    confidence: Annotated[float, Field(gt=0.0, lt=1.0)]
    seed: Seed


@dataclass(frozen=True, config=STRICT)
class Tracking:
    """`tracking`: where runs and models go in MLflow."""

    experiment: Annotated[
        str,
        Field(
            pattern=r"^[^\x00-\x1f\x7f]+$",
            max_length=200,
            description="text of 1 to 200 characters without control characters",
        ),
    ]
    model: Annotated[
        str,
        Field(
            pattern=r"^[^/:'\"\x00-\x1f\x7f]+$",
            max_length=200,
            description="text of 1 to 200 characters without / : ' \" and control characters",
        ),
    ]


@dataclass(frozen=True, config=STRICT)
class Params:
    """All of params.yaml."""

    seeds: Annotated[tuple[Seed, ...], Field(min_length=1, max_length=1000)]
    data: Data
    prepare: Prepare
    model: Model
    noise: Noise
    training: Training
    checkpoints: Checkpoints
    pretrain: Pretrain
    strategies: Annotated[dict[StrategyName, Strategy], Field(min_length=1, max_length=12)]
    decoding: Decoding
    matcher: Matcher
    evaluate: Evaluate
    tracking: Tracking

    _check = model_validator(mode="after")(_consistent)


def load_params(path: Path = PARAMS) -> Params:
    """Read and check params.yaml; raises `ConfigError` with every problem, one a line."""
    try:
        return _parsed(read_document(path), str(path))
    except FileNotFoundError:
        raise ConfigError(f"no {path} in {Path.cwd()}: run this from the project's folder") from None
    except DocumentError as error:
        raise ConfigError(str(error)) from error


def parse_params(content: Any, name: str = str(PARAMS)) -> Params:
    """Check the content of a params.yaml; `name` stands in the error."""
    return _parsed(Document(content), name)


def changed(params: Params, changes: Mapping[str, Any]) -> Params:
    """The parameters with some changed, by dotted name; raises `ConfigError` as `load_params` does."""
    content = TypeAdapter(Params).dump_python(params, mode="json")
    for name, value in changes.items():
        *sections, key = name.split(".")
        place = content
        for section in sections:
            place = place[section]
        place[key] = value
    return parse_params(content)


def flatten(params: Params) -> dict[str, Any]:
    """Parameters by dotted name, as the user types them: `{"strategies.tandem.steps": 2000, ...}`."""
    return _flat(params)


def _parsed(document: Document, name: str) -> Params:
    content = document.content
    if not isinstance(content, dict):
        raise ConfigError(f"{name} must be a mapping of sections such as `model:`, not {type(content).__name__}")
    try:
        # Through JSON, because pydantic's strict mode then takes strings for enums and lists for tuples.
        as_json = json.dumps(content, ensure_ascii=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigError(f"{name} holds a value that is neither number, text, list nor mapping: {error}") from error
    problems = [(key, f"{key or name} {reason}") for key, reason in document.problems]
    try:
        params = TypeAdapter(Params).validate_json(as_json)
    except ValidationError as error:
        unread = [key for key, _ in problems]
        allowed = Allowed(TypeAdapter(Params).json_schema())
        found = sentences(error.errors(include_url=False), allowed)
        problems += [(key, sentence) for key, sentence in found if not _concerned(key, unread)]
    else:
        if not problems:
            return params
    wrong = [key for key, _ in problems]
    right = {key: value for key, value in _leaves(content) if not _concerned(key, wrong)}
    problems += contradictions(right)
    ordered = sorted((document.line(key), sentence) for key, sentence in problems)
    said = [f"line {line}: {sentence}" if line else sentence for line, sentence in ordered]
    raise ConfigError("\n  ".join([f"{name} has {len(said)} problem(s):", *said]))


def _concerned(key: str, others: list[str]) -> bool:
    """Whether a dotted name is one of the others, in one of them, or has one of them in it."""
    return any(f"{key}.".startswith(f"{other}.") or f"{other}.".startswith(f"{key}.") for other in others if other)


def _flat(section: Any) -> dict[str, Any]:
    """The values of a section, or of all, by dotted name and as they stand in params.yaml."""
    plain = TypeAdapter(type(section)).dump_python(section, mode="json")
    names = {field.type: field.name for field in fields(Params)}
    return dict(_leaves(plain if isinstance(section, Params) else {names[type(section)]: plain}))


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, content in tree.items():
        if isinstance(content, dict):
            yield from _leaves(content, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", content
