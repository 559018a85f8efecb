"""The choices that params.yaml offers by name, one enum for each."""

from enum import StrEnum


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
    """What encoder A is trained towards in front of a frozen decoder."""

    EMBEDDING = "embedding"  # encoder B's embedding of the target: mean squared error
    FROZEN_DECODER = "frozen_decoder"  # the target, through the decoder as it is: cross-entropy


class TaskName(StrEnum):
    """A task of a strategy: what one batch trains."""

    PAIRED = "paired"
    AUTOENCODE = "autoencode"
    SYNTHETIC = "synthetic"


class NoiseKind(StrEnum):
    """What the autoencoder's input is corrupted by."""

    NONE = "none"
    UNIFORM = "uniform"  # random edits
    LEARNED = "learned"  # what the pairs do to their targets


class Start(StrEnum):
    """The weights that a strategy starts from."""

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


class Symbols(StrEnum):
    """What one symbol of a string is."""

    CHARACTERS = "characters"  # every code point
    SPACES = "spaces"  # what stands between single spaces
