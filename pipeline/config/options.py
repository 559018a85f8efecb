"""Named choices of params.yaml that other packages ask for; the value of each is its name in lower case."""

from enum import StrEnum

Device = StrEnum("Device", ["CPU", "GPU"])  # what trainings compute on; everything else computes on processors
Cell = StrEnum("Cell", ["LSTM", "GRU"])  # the recurrent cell
DecoderKind = StrEnum("DecoderKind", ["REPEAT", "AUTOREGRESSIVE"])  # reads the embedding, or the previous symbol
# The decoder reads one embedding, attends to all encoder states, or moves on through them; or what fits the data best.
Bridge = StrEnum("Bridge", ["AUTO", "VECTOR", "ATTENTION", "MONOTONIC"])
Decay = StrEnum("Decay", ["COSINE", "CONSTANT"])  # the shape of the learning rate after its warm-up
NoiseKind = StrEnum("NoiseKind", ["NONE", "UNIFORM", "LEARNED"])  # random edits, or edits as learned from the pairs
MatcherEncoder = StrEnum("MatcherEncoder", ["LSTM", "CONV"])  # of the siamese matcher
Symbols = StrEnum("Symbols", ["CHARACTERS", "SPACES"])  # every code point, or the parts between single spaces
Rows = StrEnum("Rows", ["WORDS", "RUNNING_TEXT"])  # of pairs: a list of words, or the words of a text one by one

# The environment variable that names the device of a process, before tensorflow is imported there.
DEVICE = "TANDEM_DEVICE"

# The order of the candidates of a source: only the candidate of greedy decoding; by the score of the model, in a beam
# search; or by all features of a candidate, weighted as learned on dev.
Order = StrEnum("Order", ["GREEDY", "BEAM", "RERANK"])
