"""`params.yaml` as frozen dataclasses, checked once.

Every problem of a file is reported at once, each with its line, the dotted name that the user types, the value received
and what is allowed. `document` reads YAML, `problems` writes the sentences.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationInfo
from pydantic.dataclasses import dataclass
from pydantic_core import PydanticCustomError

from pipeline.config.document import Document, DocumentError, read_document
from pipeline.config.options import Bridge, Cell, Decay, DecoderKind, MatcherEncoder, NoiseKind, Order, Symbols
from pipeline.config.problems import CONTRADICTION, ConfigError, checked, leaves, renamed

PARAMS = Path("params.yaml")

# Names of stages, of folders in models/, of sections in metrics.json and of a column in curves.csv: not of strategies.
RESERVED = (
    *("pretrain", "rerank", "features", "matcher", "timings", "prepare", "evaluate", "report", "publish", "own"),
    *("ensembles", "controls", "comparisons", "ingredients", "verdict", "lookup", "identity", "step"),
)

STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


def unless(contradicts: Callable[[Any, Mapping[str, Any]], Any], requirement: str) -> AfterValidator:
    """A rule for a field, which fails if `contradicts` is true of its value and the others.

    contradicts: gets the value, and the values of the fields before it and of the validation's context by name: None if
    they are wrong or missing. requirement: completes the sentence "NAME is VALUE, but".
    """

    def check(value: Any, info: ValidationInfo) -> Any:
        if contradicts(value, defaultdict(lambda: None, {**(info.context or {}), **info.data})):
            raise PydanticCustomError(CONTRADICTION, "{requirement}", {"requirement": requirement})
        return value

    return AfterValidator(check)


def _is_outside_raw(path: Path) -> bool:
    return path.parts[:2] != ("data", "raw") or ".." in path.parts


Count = Annotated[int, Field(ge=1, le=10**12)]
CountOrZero = Annotated[int, Field(ge=0, le=10**12)]
Processes = Annotated[int, Field(ge=1, le=1024)]
Width = Annotated[int, Field(ge=1, le=2**16)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
Fraction = Annotated[float, Field(ge=0.0, lt=1.0)]
LearningRate = Annotated[float, Field(gt=0.0, le=1.0)]
Neighbours = Annotated[int, Field(ge=0, le=1000)]
TaskName = Literal["paired", "autoencode", "synthetic"]
StrategyName = Annotated[
    str,
    Field(pattern=r"^[a-z][a-z0-9_]{0,39}$"),
    unless(lambda name, _: name in RESERVED, "the project uses this name for something else"),
]
OptionalFile = Annotated[
    Path | None,
    unless(lambda path, given: path and given["source"] == "cmudict", "must be null with data.source: cmudict"),
    unless(lambda path, _: path and _is_outside_raw(path), "must lie below data/raw, where DVC notices its changes"),
    unless(lambda path, _: path and not str(path).isprintable(), "a file's name must not have control characters"),
]
File = Annotated[
    OptionalFile, unless(lambda path, given: not path and given["source"] == "files", "data.source: files needs a file")
]
EVEN = "must be even: each of the two directions gets half"
OF_CMUDICT = "data.source: cmudict has data.source_symbols: spaces and data.target_symbols: characters"


@dataclass(frozen=True, config=STRICT)
class Data:
    """`data`: where pairs and targets come from, and what their symbols are."""

    source: Literal["cmudict", "files"]
    pairs: File
    targets: File
    dev: OptionalFile
    test: OptionalFile
    source_symbols: Annotated[
        Symbols, unless(lambda kind, given: given["source"] == "cmudict" and kind != "spaces", OF_CMUDICT)
    ]
    target_symbols: Annotated[
        Symbols, unless(lambda kind, given: given["source"] == "cmudict" and kind != "characters", OF_CMUDICT)
    ]


@dataclass(frozen=True, config=STRICT)
class Prepare:
    """`prepare`: how much of the data is used, and how it is split."""

    pairs: Count | None
    dev: Count
    test: Count
    targets: Count | None
    hold_out_targets: bool
    on_bad_row: Literal["error", "skip"]
    max_symbols: Annotated[int, Field(ge=1, le=10_000)]
    seed: Seed


@dataclass(frozen=True, config=STRICT)
class Model:
    """`model`: the architecture."""

    cell: Cell
    decoder: DecoderKind
    bridge: Annotated[
        Bridge,
        unless(
            lambda bridge, given: bridge == "attention" and given["decoder"] == "repeat",
            "must be 'vector' with model.decoder: repeat, which reads one embedding",
        ),
    ]
    tie_weights: bool
    bidirectional: bool
    units: Annotated[Width, unless(lambda units, given: given["bidirectional"] and units % 2, EVEN)]
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

    threads: Processes
    workers: Processes
    batch_size: Annotated[int, Field(ge=1, le=2**20)]
    learning_rate: LearningRate
    warmup: CountOrZero
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
    """An entry of `strategies`: how to train a predictor, phase by phase.

    Phases: `frozen_steps` on pairs that change encoder A alone (towards `objective`); `steps` steps, each one batch of
    every task in `tasks`; `finetune_steps` on pairs alone. A step is one batch of pairs.
    """

    tasks: Annotated[
        tuple[TaskName, ...],
        Field(min_length=1, max_length=100),
        unless(lambda tasks, _: "paired" not in tasks, "must contain 'paired' at least once"),
    ]
    steps: Count
    start: Literal["scratch", "pretrained"] = "scratch"
    frozen_steps: Annotated[
        CountOrZero, unless(lambda steps, given: steps and given["start"] == "scratch", "needs `start: pretrained`")
    ] = 0
    objective: Annotated[
        Literal["embedding", "frozen_decoder"],
        unless(
            lambda objective, given: objective == "embedding" and given["bridge"] not in (None, "vector"),
            "needs model.bridge: vector",
        ),
    ] = "frozen_decoder"
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
        """What the strategy learns from besides pairs: a subset of `synthetic`, `autoencode` and `pretrained`."""
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
    units: Annotated[Width, unless(lambda units, given: given["encoder"] == "lstm" and units % 2, EVEN)]
    embedding: Width
    dropout: Fraction
    steps: Count
    batch_size: Annotated[int, Field(ge=2, le=2**20)]
    learning_rate: LearningRate
    neighbours: Neighbours
    candidates: Annotated[
        int,
        Field(ge=0, le=100),
        unless(
            lambda candidates, given: candidates == given["neighbours"] == 0,
            "must be above 0 with matcher.neighbours: 0: there would be no hard negatives",
        ),
    ]
    negatives: Annotated[int, Field(ge=0, le=100)]
    evaluate_every: Count
    patience: Count


@dataclass(frozen=True, config=STRICT)
class Evaluate:
    """`evaluate`: the comparison."""

    resamples: Annotated[int, Field(ge=100, le=1_000_000)]
    confidence: Annotated[float, Field(gt=0.0, lt=1.0)]
    seed: Seed


def _text(without: str, description: str) -> Any:
    text = f"text of 1 to 200 characters without {description}"
    return Field(pattern=rf"^[^{without}\x00-\x1f\x7f]+$", max_length=200, description=text)


@dataclass(frozen=True, config=STRICT)
class Tracking:
    """`tracking`: where runs and models go in MLflow."""

    experiment: Annotated[str, _text("", "control characters")]
    model: Annotated[str, _text("/:'\"", "/ : ' \" and control characters")]


@dataclass(frozen=True, config=STRICT)
class Params:
    """All of params.yaml."""

    seeds: Annotated[
        tuple[Seed, ...],
        Field(min_length=1, max_length=1000),
        unless(lambda seeds, _: len(set(seeds)) < len(seeds), "must not list a seed twice"),
    ]
    data: Data
    prepare: Prepare
    model: Model
    noise: Noise
    training: Training
    checkpoints: Checkpoints
    pretrain: Pretrain
    strategies: Annotated[
        dict[StrategyName, Strategy],
        Field(min_length=1, max_length=12, description="a section of 1 to 12 strategies, each with tasks and steps"),
    ]
    decoding: Decoding
    matcher: Matcher
    evaluate: Evaluate
    tracking: Tracking


_ADAPTER = TypeAdapter(Params)


def load_params(path: Path = PARAMS) -> Params:
    """Read and check params.yaml; raises `ConfigError` with every problem, one per line."""
    try:
        return _parsed(read_document(path), str(path))
    except FileNotFoundError:
        raise ConfigError(f"no {path} in {Path.cwd()}: run this from the project's folder") from None
    except DocumentError as error:
        raise ConfigError(str(error)) from error


def parse_params(content: Any, name: str = str(PARAMS)) -> Params:
    """Check the content of a params.yaml, called `name` in errors."""
    return _parsed(Document(content), name)


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
    return dict(leaves(_ADAPTER.dump_python(params, mode="json")))


def _parsed(document: Document, name: str) -> Params:
    content = document.content
    if not isinstance(content, dict):
        raise ConfigError(f"{name} must be a mapping of sections such as `model:`, not {type(content).__name__}")
    model = content.get("model")
    context = {"bridge": model.get("bridge")} if isinstance(model, dict) else {}
    return checked(document, _ADAPTER, name, renamed(content), context)
