"""The choices that params.yaml offers by name, one enum for each."""

from enum import StrEnum


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


class NoiseKind(StrEnum):
    """What the autoencoder's input is corrupted by."""

    NONE = "none"
    UNIFORM = "uniform"  # random edits
    LEARNED = "learned"  # what the pairs do to their targets


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
