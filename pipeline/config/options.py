"""Named choices of params.yaml that other packages ask for."""

from enum import StrEnum


class Cell(StrEnum):
    """The recurrent cell."""

    LSTM = "lstm"
    GRU = "gru"


class DecoderKind(StrEnum):
    """Input of the decoder at each step."""

    REPEAT = "repeat"  # the embedding
    AUTOREGRESSIVE = "autoregressive"  # the previous symbol


class Bridge(StrEnum):
    """The part of the encoded source that the decoder reads."""

    VECTOR = "vector"  # one embedding
    ATTENTION = "attention"  # all encoder states


class Decay(StrEnum):
    """The shape of the learning rate after its warm-up."""

    COSINE = "cosine"
    CONSTANT = "constant"


class NoiseKind(StrEnum):
    """Corruption of the autoencoder's input."""

    NONE = "none"
    UNIFORM = "uniform"  # random edits
    LEARNED = "learned"  # as learned from the pairs


class Order(StrEnum):
    """The order of the candidates of a source."""

    GREEDY = "greedy"  # only the candidate of greedy decoding
    BEAM = "beam"  # by the score of the model, in a beam search
    RERANK = "rerank"  # by all features of a candidate, weighted as learned on dev


class MatcherEncoder(StrEnum):
    """The encoder of the siamese matcher."""

    LSTM = "lstm"
    CONV = "conv"


class Symbols(StrEnum):
    """The unit that strings are split into."""

    CHARACTERS = "characters"  # every code point
    SPACES = "spaces"  # the parts between single spaces
