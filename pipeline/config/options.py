"""Named choices of params.yaml that other packages ask for; the value of each is its name in lower case."""

from enum import StrEnum

# The recurrent cell.
Cell = StrEnum("Cell", ["LSTM", "GRU"])

# Input of the decoder at each step: the embedding, or the previous symbol.
DecoderKind = StrEnum("DecoderKind", ["REPEAT", "AUTOREGRESSIVE"])

# The part of the encoded source that the decoder reads: one embedding, or all encoder states.
Bridge = StrEnum("Bridge", ["VECTOR", "ATTENTION"])

# The shape of the learning rate after its warm-up.
Decay = StrEnum("Decay", ["COSINE", "CONSTANT"])

# Corruption of the autoencoder's input: random edits, or edits as learned from the pairs.
NoiseKind = StrEnum("NoiseKind", ["NONE", "UNIFORM", "LEARNED"])

# The order of the candidates of a source: only the candidate of greedy decoding; by the score of the model, in a beam
# search; or by all features of a candidate, weighted as learned on dev.
Order = StrEnum("Order", ["GREEDY", "BEAM", "RERANK"])

# The encoder of the siamese matcher.
MatcherEncoder = StrEnum("MatcherEncoder", ["LSTM", "CONV"])

# The unit that strings are split into: every code point, or the parts between single spaces.
Symbols = StrEnum("Symbols", ["CHARACTERS", "SPACES"])
