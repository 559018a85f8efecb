"""Attention maps of a few examples: where in the source the decoder reads while it writes."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.config.options import Symbols
from pipeline.data.alphabet import END, START, split
from pipeline.data.store import StringStore
from pipeline.evaluation.results import AttentionMap
from pipeline.model.backend import tf
from pipeline.model.inference import TrainedModel
from pipeline.model.search import symbol_log_probabilities

LONGEST = 14  # symbols of a source that still makes a readable map
LONGEST_OUTPUT = 20  # symbols of an output that are mapped
COMMON = 8  # symbols of a source with a good map


def attention_maps(model: TrainedModel, sources: Sequence[str]) -> list[AttentionMap]:
    """A map of each source along the greedy output of the model, or of the first network of an ensemble.

    A monotonic bridge gives the probabilities of the places at which each symbol was written, those before and after
    the source, `^` and `$`, too. Outputs are cut after `LONGEST_OUTPUT` symbols. There are no maps if the bridge is a
    vector, and none of a source that is empty or has an empty output.
    """
    network, decoder = model.networks[0], model.networks[0].decoder
    if (decoder.attention is None and decoder.reader is None) or not sources:
        return []
    source_ids = tf.constant(StringStore.of(sources, model.source_alphabet).padded(np.arange(len(sources))))
    encoded = network.encoder_a(source_ids)
    states = decoder.start(encoded)
    previous = tf.fill([len(sources)], START)
    written: list[NDArray[np.int32]] = []
    weights: list[NDArray[np.float32]] = []
    ended = np.zeros(len(sources), dtype=bool)
    while len(written) < min(network.sizes.longest_output, LONGEST_OUTPUT) and not ended.all():
        logits, states = decoder.step(encoded, previous, states)
        previous = tf.argmax(symbol_log_probabilities(logits), axis=1, output_type=tf.int32)
        if decoder.reader is not None:
            weights.append(decoder.reader.where(states[-1], previous).numpy())
        elif decoder.attention is not None:  # the first state of the last layer is its output, the query
            outputs = states[-1][0][:, None, :]
            weights.append(decoder.attention.weights_of(outputs, encoded["memory"], encoded["present"])[:, 0].numpy())
        written.append(previous.numpy())
        ended |= written[-1] == END
    maps = []
    for source, ids, rows in zip(sources, np.stack(written, axis=1), np.stack(weights, axis=1), strict=True):
        symbols = split(source, model.source_alphabet.kind)
        texts = split(model.target_alphabet.decode(ids), model.target_alphabet.kind)
        if symbols and texts:
            places = symbols if decoder.reader is None else ["^", *symbols, "$"]
            maps.append(AttentionMap(tuple(places), tuple(texts), rows[: len(texts), : len(places)]))
    return maps


def sources_to_map(examples: pd.DataFrame, sources: Sequence[str], symbols: Symbols, limit: int = 4) -> list[str]:
    """Sources of the test set that are worth a map: won and lost examples in turn, then those of a common length.

    examples: as returned by `mistakes.examples`. Sources of more than `LONGEST` symbols are left out, and each source
    occurs once.
    """
    turns = examples.groupby("result").cumcount().argsort(kind="stable")
    lengths = [len(split(source, symbols)) for source in sources]
    rest = sorted(range(len(sources)), key=lambda item: abs(lengths[item] - COMMON))
    fitting = (sources[item] for item in [*examples["item"].iloc[turns], *rest] if 0 < lengths[item] <= LONGEST)
    return list(dict.fromkeys(fitting))[:limit]
