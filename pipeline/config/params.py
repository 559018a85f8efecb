"""`params.yaml` as frozen dataclasses, checked once, with every problem of the file reported at once.

`document` reads YAML; `problems` writes the sentences: line, dotted name, value received and what is allowed.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError, ValidationInfo
from pydantic.dataclasses import dataclass
from pydantic_core import PydanticCustomError

from pipeline.config import problems
from pipeline.config.document import ConfigError, Document, read_document
from pipeline.config.options import (
    Bridge,
    Cell,
    Decay,
    DecoderKind,
    Device,
    MatcherEncoder,
    NoiseKind,
    Order,
    Rows,
    Symbols,
)

PARAMS = Path("params.yaml")

T = TypeVar("T")

# Names of stages, of folders in models/ and of sections in metrics.json that are not strategies.
RESERVED = (
    *("pretrain", "pseudo", "rerank", "features", "matcher", "timings", "prepare", "evaluate", "report", "publish"),
    *("own", "ensembles", "controls", "comparisons", "pairs", "ingredients", "verdict", "lookup", "identity", "step"),
)

STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


def unless(contradicts: Callable[[Any, Mapping[str, Any]], Any], requirement: str) -> AfterValidator:
    """A rule for a field, which fails if `contradicts` is true of its value and the others.

    contradicts: gets the value, and by name the fields before it and the context, None if they are wrong or missing.
    requirement: completes the sentence "NAME is VALUE, but".
    """

    def check(value: Any, info: ValidationInfo) -> Any:
        if contradicts(value, defaultdict(lambda: None, {**(info.context or {}), **info.data})):
            raise PydanticCustomError(problems.CONTRADICTION, "{requirement}", {"requirement": requirement})
        return value

    return AfterValidator(check)


Count = Annotated[int, Field(ge=1, le=10**12)]
CountOrZero = Annotated[int, Field(ge=0, le=10**12)]
Processes = Annotated[int, Field(ge=1, le=1024)]
Width = Annotated[int, Field(ge=1, le=2**16)]
UpTo100 = Annotated[int, Field(ge=0, le=100)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
Fraction = Annotated[float, Field(ge=0.0, lt=1.0)]
LearningRate = Annotated[float, Field(gt=0.0, le=1.0)]
Neighbours = Annotated[int, Field(ge=0, le=1000)]
TaskName = Literal["paired", "autoencode", "synthetic", "pseudo"]

# Rules between the values of fields.
not_reserved = unless(lambda name, _: name in RESERVED, "the project uses this name for something else")
OUTSIDE_RAW = "must lie below data/raw, where DVC notices its changes"
OptionalFile = Annotated[
    Path | None,
    unless(lambda path, given: path and given["source"] == "cmudict", "must be null with data.source: cmudict"),
    unless(lambda path, _: path and (path.parts[:2] != ("data", "raw") or ".." in path.parts), OUTSIDE_RAW),
    unless(lambda path, _: path and not str(path).isprintable(), "a file's name must not have control characters"),
]
needed = unless(lambda path, given: not path and given["source"] == "files", "data.source: files needs a file")
OF_CMUDICT = "data.source: cmudict has data.rows: words"
of_words = unless(lambda rows, given: given["source"] == "cmudict" and rows != "words", OF_CMUDICT)
SYMBOLS_OF_CMUDICT = "data.source: cmudict has data.source_symbols: spaces and data.target_symbols: characters"
spaces = unless(lambda kind, given: given["source"] == "cmudict" and kind != "spaces", SYMBOLS_OF_CMUDICT)
characters = unless(lambda kind, given: given["source"] == "cmudict" and kind != "characters", SYMBOLS_OF_CMUDICT)
VECTOR = "must be 'vector' with model.decoder: repeat, which reads one embedding"
readable = unless(lambda bridge, given: bridge not in ("vector", "auto") and given["decoder"] == "repeat", VECTOR)
EVEN = "must be even: each of the two directions gets half"
even_in_both_directions = unless(lambda units, given: given["bidirectional"] and units % 2, EVEN)
even_in_lstm = unless(lambda units, given: given["encoder"] == "lstm" and units % 2, EVEN)
has_paired = unless(lambda tasks, _: "paired" not in tasks, "must contain 'paired' at least once")
pretrained = unless(lambda steps, given: steps and given["start"] != "pretrained", "needs `start: pretrained`")
several_samples = unless(
    lambda resamples, given: resamples > 1 and given["pairs"] is None,
    "must be 1 with prepare.pairs: null, which takes all pairs",
)
one_of_samples = unless(
    lambda sample, given: sample >= (given["resamples"] or sample + 1), "must be below prepare.resamples"
)
has_vector = unless(
    lambda aim, given: aim == "embedding" and given["bridge"] != "vector",
    "needs model.bridge: vector",
)
NEGATIVES = "must be above 0 with matcher.neighbours: 0: there would be no hard negatives"
has_negatives = unless(lambda candidates, given: candidates == given["neighbours"] == 0, NEGATIVES)
one_on_gpu = unless(
    lambda workers, given: workers > 1 and given["device"] == "gpu", "must be 1 with training.device: gpu"
)
taught = unless(
    lambda teacher, given: ("pseudo" in (given["tasks"] or ())) != (teacher is not None),
    "must name a strategy if `pseudo` is among the tasks, and only then",
)
knows_teachers = unless(
    lambda strategies, _: any(one.teacher not in (None, *strategies) for one in strategies.values()),
    "has a teacher that is none of them",
)
all_different = unless(lambda seeds, _: len(set(seeds)) < len(seeds), "must not list a seed twice")


@dataclass(frozen=True, config=STRICT)
class Data:
    """`data`: where pairs and targets come from, and what their symbols are."""

    source: Literal["cmudict", "files"]
    pairs: Annotated[OptionalFile, needed]
    targets: OptionalFile
    sources: OptionalFile
    dev: OptionalFile
    test: OptionalFile
    rows: Annotated[Rows, of_words]
    source_symbols: Annotated[Symbols, spaces]
    target_symbols: Annotated[Symbols, characters]


@dataclass(frozen=True, config=STRICT)
class Prepare:
    """`prepare`: how much of the data is used, and how it is split."""

    pairs: Count | None
    resamples: Annotated[int, Field(ge=1, le=1000), several_samples]
    sample: Annotated[CountOrZero, one_of_samples]
    dev: Count
    test: Count
    targets: Count | None
    sources: Count | None
    hold_out_targets: bool
    on_bad_row: Literal["error", "skip"]
    strict: bool
    max_symbols: Annotated[int, Field(ge=1, le=10_000)]
    seed: Seed


@dataclass(frozen=True, config=STRICT)
class Model:
    """`model`: the architecture."""

    cell: Cell
    decoder: DecoderKind
    bridge: Annotated[Bridge, readable]
    tie_weights: bool
    bidirectional: bool
    units: Annotated[Width, even_in_both_directions]
    layers: Annotated[int, Field(ge=1, le=8)]
    projection: Width
    embedding: Width
    dropout: Fraction


@dataclass(frozen=True, config=STRICT)
class Noise:
    """`noise`: corruption of the autoencoder's input."""

    kind: NoiseKind
    rate: Annotated[float, Field(ge=0.0, le=1.0)]


@dataclass(frozen=True, config=STRICT)
class Training:
    """`training`: the loop that all strategies share."""

    device: Device
    threads: Processes
    workers: Annotated[Processes, one_on_gpu]
    batch_size: Annotated[int, Field(ge=1, le=2**20)]
    learning_rate: LearningRate
    warmup: CountOrZero
    decay: Decay
    clip_norm: Annotated[float, Field(gt=0.0, le=1e9)]
    l2: Annotated[float, Field(ge=0.0, le=1000.0)]
    evaluate_every: Count
    patience: Count
    dev_steps: CountOrZero


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
    """An entry of `strategies`: how to train a predictor, phase by phase.

    Phases: `frozen_steps` on pairs that change encoder A alone (towards `objective`); `steps` steps, each one batch of
    every task in `tasks`; `finetune_steps` on pairs alone. A step is one batch of pairs. Pairs of task `pseudo` are
    predictions of which `teacher`, another strategy, is as sure as `confidence`.
    """

    tasks: Annotated[tuple[TaskName, ...], Field(min_length=1, max_length=100), has_paired]
    steps: Count
    start: Literal["scratch", "pretrained"] = "scratch"
    frozen_steps: Annotated[CountOrZero, pretrained] = 0
    objective: Annotated[Literal["embedding", "frozen_decoder"], has_vector] = "frozen_decoder"
    teacher: Annotated[str | None, Field(validate_default=True), taught] = None
    confidence: Annotated[float, Field(ge=0.0, le=1.0)] = 0.5
    finetune_steps: CountOrZero = 0

    @property
    def is_pretrained(self) -> bool:
        """Whether training starts from the autoencoder of stage `pretrain`."""
        return self.start == "pretrained"

    @property
    def total_steps(self) -> int:
        """Steps of all phases together: the budget that a fair comparison keeps equal."""
        return self.frozen_steps + self.steps + self.finetune_steps

    @property
    def ingredients(self) -> frozenset[str]:
        """What the strategy learns from besides pairs: a subset of `evaluation.comparison.INGREDIENTS`."""
        return frozenset({*self.tasks, self.start}) - {"paired", "scratch"}


@dataclass(frozen=True, config=STRICT)
class Decoding:
    """`decoding`: how a trained model predicts."""

    order: Order
    beam_width: Annotated[int, Field(ge=1, le=100)]
    neighbours: Neighbours
    ensemble: bool
    seed: Seed


@dataclass(frozen=True, config=STRICT)
class Matcher:
    """`matcher`: the siamese model that measures how well a source and a target match."""

    encoder: MatcherEncoder
    projection: Width
    units: Annotated[Width, even_in_lstm]
    embedding: Width
    dropout: Fraction
    steps: Count
    batch_size: Annotated[int, Field(ge=2, le=2**20)]
    learning_rate: LearningRate
    neighbours: Neighbours
    candidates: Annotated[UpTo100, has_negatives]
    negatives: UpTo100
    evaluate_every: Count
    patience: Count


@dataclass(frozen=True, config=STRICT)
class Evaluate:
    """`evaluate`: the comparison."""

    resamples: Annotated[int, Field(ge=100, le=1_000_000)]
    confidence: Annotated[float, Field(gt=0.0, lt=1.0)]
    seed: Seed


def _text(without: str, description: str) -> Any:
    description = f"text of 1 to 200 characters without {description}"
    return Field(pattern=rf"^[^{without}\x00-\x1f\x7f]+$", max_length=200, description=description)


@dataclass(frozen=True, config=STRICT)
class Tracking:
    """`tracking`: where runs and models go in MLflow."""

    experiment: Annotated[str, _text("", "control characters")]
    model: Annotated[str, _text("/:'\"", "/ : ' \" and control characters")]


@dataclass(frozen=True, config=STRICT)
class Params:
    """All of params.yaml."""

    seeds: Annotated[tuple[Seed, ...], Field(min_length=1, max_length=1000), all_different]
    data: Data
    prepare: Prepare
    model: Model
    noise: Noise
    training: Training
    checkpoints: Checkpoints
    pretrain: Pretrain
    strategies: Annotated[
        dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$"), not_reserved], Strategy],
        Field(min_length=1, max_length=12, description="a section of 1 to 12 strategies, each with tasks and steps"),
        knows_teachers,
    ]
    decoding: Decoding
    matcher: Matcher
    evaluate: Evaluate
    tracking: Tracking


_ADAPTER = TypeAdapter(Params)


def load_params(path: Path = PARAMS) -> Params:
    """Read and check params.yaml; raises `ConfigError` with every problem, one per line."""
    document = read_document(path, "run this from the project's folder")
    return parse_params(document.content, str(path), document)


def parse_params(content: Any, name: str = str(PARAMS), document: Document | None = None) -> Params:
    """Check the content of a params.yaml, called `name` in errors. document: its lines and problems, if it was read."""
    if not isinstance(content, dict):
        raise ConfigError(f"{name} must be a mapping of sections such as `model:`, not {type(content).__name__}")
    model = content.get("model")
    context = {"bridge": model.get("bridge")} if isinstance(model, dict) else {}
    return checked(_ADAPTER, content, name, document or Document(), context, problems.renamed(content))


def checked(
    adapter: TypeAdapter[T],
    content: Any,
    name: str,
    document: Document,
    context: dict[str, Any],
    old_names: Mapping[str, str] = MappingProxyType({}),
) -> T:
    """Convert content to the type of the adapter; raises `ConfigError` with all problems, those of `document` too.

    name: of the file. context: for validators. old_names: those in the content, with their new ones.
    """
    found = [(key, f"{key or name} {reason}") for key, reason in document.problems]
    found += [(key, f"{key} has a new name: {new}") for key, new in old_names.items()]
    try:
        # Through JSON, because pydantic's strict mode then takes strings for enums and lists for tuples.
        result = adapter.validate_json(json.dumps(content, ensure_ascii=False).encode(), context=context)
    except ValidationError as invalid:
        reported, expected = [key for key, _ in found], [new.split()[0] for new in old_names.values()]
        errors = [
            error
            for error in invalid.errors(include_url=False)
            if not _concerns(problems.dotted(error["loc"]), reported + expected * (error["type"] == "missing"))
        ]
        found += problems.sentences(errors, problems.Allowed(adapter.json_schema()))
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigError(f"{name} has a value that is neither number, text, list nor mapping: {error}") from error
    if found:
        raise ConfigError(problems.listed(name, document, found))
    return result


def changed(params: Params, changes: Mapping[str, Any]) -> Params:
    """Change parameters by dotted name, or add a strategy as a whole; raises `ConfigError` as `load_params` does."""
    content = _ADAPTER.dump_python(params, mode="json")
    for name, value in changes.items():
        *sections, key = name.split(".")
        place = content
        for section in sections:
            place = place.setdefault(section, {})
            if not isinstance(place, dict):
                raise ConfigError(f"{name} is unknown: {section} is not a section")
        place[key] = value
    return parse_params(content)


def flatten(params: Params) -> dict[str, Any]:
    """The parameters by dotted name, as the user types them: `{"strategies.tandem.steps": 2000, ...}`."""
    return dict(problems.leaves(_ADAPTER.dump_python(params, mode="json")))


def _concerns(key: str, others: list[str]) -> bool:
    """Whether a dotted name is one of the others, lies in one of them, or contains one of them."""
    return any(f"{key}.".startswith(f"{other}.") or f"{other}.".startswith(f"{key}.") for other in others if other)
