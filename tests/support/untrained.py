"""Untrained runs on made-up words: sources whose targets a model can be asked for, in no time."""

from pathlib import Path

import numpy as np

from pipeline.config.options import Symbols
from pipeline.data.alphabet import save_alphabets
from pipeline.data.corpus import Corpus
from pipeline.data.examples import Example
from pipeline.data.prepared import Prepared, write_prepared
from pipeline.model.backend import keras
from pipeline.model.network import Network, Sizes, save_network
from tests.conftest import small_model

SOURCES = ["abc", "dd", "abc", "cadb"]


def swapped_words(folder: Path) -> Prepared:
    """Words of a to d; a source writes d for a and a for d."""
    rng = np.random.default_rng(0)
    words = ["".join(rng.choice(list("abcd"), size=rng.integers(1, 5))) for _ in range(200)]
    pairs = [Example(word.translate(str.maketrans("ad", "da")), word) for word in words]
    corpus = Corpus(pairs[:60], pairs[60:130], pairs[130:150], words[100:], 0, None, "made up")
    write_prepared(folder, corpus, Symbols.CHARACTERS, Symbols.CHARACTERS)
    return Prepared.open(folder)


def save_untrained(folder: Path, prepared: Prepared, seed: int = 0) -> None:
    """Write a run, its weights scaled up so that the distributions are far from even."""
    keras.utils.set_random_seed(seed)
    network = Network(small_model(), Sizes(len(prepared.source_alphabet), len(prepared.target_alphabet), 6))
    network.set_weights([3 * weight for weight in network.get_weights()])
    save_network(network, folder)
    save_alphabets(folder, prepared.source_alphabet, prepared.target_alphabet)
