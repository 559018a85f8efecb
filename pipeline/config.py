"""`params.yaml` as frozen dataclasses, checked once; the only reader of YAML.

Values are checked by pydantic. All that is wrong with a file is reported at once, each with the dotted key that the
user types, the value received and what is allowed.
"""

import json
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pydantic.dataclasses import dataclass
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pipeline.alphabet import Symbols
from pipeline.errors import UserError

PARAMS = Path("params.yaml")

STRICT = ConfigDict(extra="forbid", strict=True)

Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
Fraction = Annotated[float, Field(ge=0.0, lt=1.0)]


class ConfigError(UserError):
    """Something in params.yaml cannot be used."""


class DataSource(StrEnum):
    """Where pairs and targets come from."""

    CMUDICT = "cmudict"
    FILES = "files"


class OnBadRow(StrEnum):
    """What becomes of a row that cannot be used."""

    ERROR = "error"
    SKIP = "skip"


class Cell(StrEnum):
    """The recurrent cell."""

    LSTM = "lstm"
    GRU = "gru"


class DecoderKind(StrEnum):
    """What the decoder reads at each step."""

    REPEAT = "repeat"  # the embedding, again and again
    AUTOREGRESSIVE = "autoregressive"  # the symbol before


class Bridge(StrEnum):
    """What the decoder sees of the source."""

    VECTOR = "vector"  # one embedding
    ATTENTION = "attention"  # all encoder states


class Decay(StrEnum):
    """How the learning rate falls after its warm-up."""

    COSINE = "cosine"
    CONSTANT = "constant"


class Objective(StrEnum):
    """What stage 2 of the two-stage strategy aims at."""

    EMBEDDING = "embedding"  # encoder B's embedding of the target: mean squared error
    FROZEN_DECODER = "frozen_decoder"  # the target, through the decoder as it is: cross-entropy


class ScheduledTask(StrEnum):
    """A task that a schedule may name."""

    PAIRED = "paired"
    AUTOENCODE = "autoencode"
    SYNTHETIC = "synthetic"


class NoiseKind(StrEnum):
    """What the autoencoder's input is corrupted by."""

    NONE = "none"
    UNIFORM = "uniform"  # random edits
    LEARNED = "learned"  # what the pairs do to their targets


class Start(StrEnum):
    """The weights that tandem training starts from."""

    SCRATCH = "scratch"
    PRETRAINED = "pretrained"


class Order(StrEnum):
    """Which of the candidates of a source comes first."""

    GREEDY = "greedy"  # the one candidate of greedy decoding
    BEAM = "beam"  # the most likely of a beam
    RERANK = "rerank"  # the best by all that speaks for a candidate, as learned from dev


class MatcherEncoder(StrEnum):
    """What the siamese matcher reads strings with."""

    LSTM = "lstm"
    CONV = "conv"


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

    @model_validator(mode="after")
    def _check(self) -> "Data":
        paths = {"pairs": self.pairs, "targets": self.targets, "dev": self.dev, "test": self.test}
        if self.source is DataSource.CMUDICT:
            if named := [f"data.{key}" for key, path in paths.items() if path is not None]:
                raise ValueError(f"{', '.join(named)} must be null with data.source: cmudict; own data: `files`")
            if (self.source_symbols, self.target_symbols) != (Symbols.SPACES, Symbols.CHARACTERS):
                raise ValueError("data.source: cmudict has source_symbols: spaces and target_symbols: characters")
        elif self.pairs is None or self.targets is None:
            raise ValueError("data.source: files needs data.pairs and data.targets")
        for key, path in paths.items():
            if path is not None and (path.is_absolute() or ".." in path.parts or path.parts[:2] != ("data", "raw")):
                raise ValueError(f"data.{key} is '{path}', but must lie below data/raw, where DVC notices its changes")
        return self


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
    units: Count
    layers: Annotated[int, Field(ge=1, le=8)]
    projection: Count
    embedding: Count
    dropout: Fraction

    @model_validator(mode="after")
    def _check(self) -> "Model":
        if self.decoder is DecoderKind.REPEAT and self.bridge is Bridge.ATTENTION:
            raise ValueError(
                "model.bridge: attention needs model.decoder: autoregressive; a repeating decoder reads one embedding"
            )
        if self.bidirectional and self.units % 2:
            raise ValueError(f"model.units is {self.units}, but model.bidirectional gives half to each direction")
        return self


@dataclass(frozen=True, config=STRICT)
class Noise:
    """`noise`: corruption of the autoencoder's input."""

    kind: NoiseKind
    rate: Annotated[float, Field(ge=0.0, le=1.0)]


@dataclass(frozen=True, config=STRICT)
class Training:
    """`training`: the loop that all strategies share."""

    threads: Count
    batch_size: Count
    learning_rate: Annotated[float, Field(gt=0.0, le=1.0)]
    warmup: Annotated[int, Field(ge=0)]
    decay: Decay
    clip_norm: Annotated[float, Field(gt=0.0)]
    l2: Annotated[float, Field(ge=0.0)]
    evaluate_every: Count
    patience: Count


@dataclass(frozen=True, config=STRICT)
class Checkpoints:
    """`checkpoints`: how much of a training is lost when it is killed."""

    seconds: Annotated[float, Field(ge=0.0, le=60.0)]


@dataclass(frozen=True, config=STRICT)
class Pretrain:
    """`pretrain`: the autoencoder on unpaired targets."""

    updates: Count


@dataclass(frozen=True, config=STRICT)
class Supervised:
    """`supervised`: pairs only, the control."""

    updates: Count


@dataclass(frozen=True, config=STRICT)
class TwoStage:
    """`two_stage`: encoder A trained towards the frozen autoencoder, the baseline."""

    objective: Objective
    updates: Count
    finetune: Annotated[int, Field(ge=0)]


@dataclass(frozen=True, config=STRICT)
class Tandem:
    """`tandem`: alternating batches through one shared decoder."""

    schedule: Annotated[tuple[ScheduledTask, ...], Field(min_length=1, max_length=100)]
    start: Start
    updates: Count
    finetune: Annotated[int, Field(ge=0)]

    @model_validator(mode="after")
    def _check(self) -> "Tandem":
        if ScheduledTask.PAIRED not in self.schedule:
            raise ValueError("tandem.schedule must contain 'paired' at least once")
        return self


@dataclass(frozen=True, config=STRICT)
class Decoding:
    """`decoding`: how a trained model predicts."""

    order: Order
    beam: Annotated[int, Field(ge=1, le=100)]
    neighbours: Annotated[int, Field(ge=0, le=1000)]
    ensemble: bool
    seed: Seed


@dataclass(frozen=True, config=STRICT)
class Matcher:
    """`matcher`: the siamese model that says how alike a source and a target are."""

    encoder: MatcherEncoder
    projection: Count
    units: Count
    embedding: Count
    dropout: Fraction
    updates: Count
    batch_size: Annotated[int, Field(ge=2)]
    learning_rate: Annotated[float, Field(gt=0.0, le=1.0)]
    neighbours: Annotated[int, Field(ge=0, le=1000)]
    candidates: Annotated[int, Field(ge=0, le=100)]
    negatives: Annotated[int, Field(ge=0, le=100)]
    evaluate_every: Count
    patience: Count

    @model_validator(mode="after")
    def _check(self) -> "Matcher":
        if self.encoder is MatcherEncoder.LSTM and self.units % 2:
            raise ValueError(f"matcher.units is {self.units}, but each direction of the LSTM gets half of them")
        if self.neighbours + self.candidates == 0:
            raise ValueError("matcher.neighbours and matcher.candidates are both 0: there would be no hard negatives")
        return self


@dataclass(frozen=True, config=STRICT)
class Evaluate:
    """`evaluate`: the comparison."""

    resamples: Annotated[int, Field(ge=100, le=1_000_000)]
    confidence: Annotated[float, Field(gt=0.0, lt=1.0)]
    seed: Seed


@dataclass(frozen=True, config=STRICT)
class Tracking:
    """`tracking`: where runs and models go in MLflow."""

    experiment: Annotated[str, Field(min_length=1, max_length=200)]
    model: Annotated[str, Field(pattern=r"^[^/:'\"]+$", max_length=200)]


@dataclass(frozen=True, config=STRICT)
class Params:
    """All of params.yaml."""

    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)]
    data: Data
    prepare: Prepare
    model: Model
    noise: Noise
    training: Training
    checkpoints: Checkpoints
    pretrain: Pretrain
    supervised: Supervised
    two_stage: TwoStage
    tandem: Tandem
    decoding: Decoding
    matcher: Matcher
    evaluate: Evaluate
    tracking: Tracking

    @model_validator(mode="after")
    def _check(self) -> "Params":
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds names a seed twice: {list(self.seeds)}")
        if self.two_stage.objective is Objective.EMBEDDING and self.model.bridge is Bridge.ATTENTION:
            raise ValueError(
                "two_stage.objective: embedding needs model.bridge: vector; with attention there is no single "
                "embedding to aim at: set two_stage.objective: frozen_decoder"
            )
        return self


def load_params(path: Path = PARAMS) -> Params:
    """Read and check params.yaml; raises `ConfigError` with every problem, one a line."""
    try:
        # YAML 1.2, as DVC reads it: 1e-3 is a number, `no` is text.
        content = YAML(typ="safe", pure=True).load(path.read_bytes())
    except FileNotFoundError:
        raise ConfigError(f"no {path} in {Path.cwd()}: run this from the project's folder") from None
    except (OSError, ValueError, RecursionError, YAMLError) as error:
        raise ConfigError(f"{path} cannot be read as YAML: {error}") from error
    return parse_params(content, str(path))


def parse_params(content: Any, name: str = str(PARAMS)) -> Params:
    """Check the content of a params.yaml; `name` stands in the error."""
    if not isinstance(content, dict):
        raise ConfigError(f"{name} must be a mapping of sections such as `model:`, not {type(content).__name__}")
    try:
        # Through JSON, because pydantic's strict mode then takes strings for enums and lists for tuples.
        as_json = json.dumps(content)
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigError(f"{name} holds a value that is neither number, text, list nor mapping: {error}") from error
    try:
        return TypeAdapter(Params).validate_json(as_json)
    except ValidationError as error:
        problems = [_sentence(problem) for problem in error.errors(include_url=False)]
        raise ConfigError("\n  ".join([f"{name} has {len(problems)} problem(s):", *problems])) from None


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
    """Parameters by dotted name, as the user types them: `{"tandem.updates": 2000, ...}`."""
    tree = TypeAdapter(Params).dump_python(params, mode="json")
    flat: dict[str, Any] = {}
    for section, content in tree.items():
        if isinstance(content, dict):
            flat.update({f"{section}.{key}": value for key, value in content.items()})
        else:
            flat[section] = content
    return flat


def _sentence(problem: Any) -> str:
    key = ".".join(str(part) for part in problem["loc"])
    match problem["type"]:
        case "missing":
            return f"{key} is missing"
        case "unexpected_keyword_argument":
            return f"{key} is unknown: check its spelling and its section"
        case "value_error":
            return str(problem["ctx"]["error"])
    message = problem["msg"][0].lower() + problem["msg"][1:]
    return f"{key}: {message}, not {problem['input']!r}"
