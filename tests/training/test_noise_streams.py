"""Which task trains on what."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.config.options import Symbols
from pipeline.data.alphabet import END, PADDING, UNKNOWN
from pipeline.data.corpus import Corpus
from pipeline.data.examples import Example
from pipeline.data.prepared import Prepared, write_prepared
from pipeline.errors import UserError
from pipeline.training.noise import streams
from pipeline.training.strategies import Phase, Task
from tests.conftest import changed_params

OLD_TO_NEW = str.maketrans("ck", "kc")


def prepared(folder: Path, source_kind: Symbols = Symbols.CHARACTERS) -> Prepared:
    """Targets over a to k; a source writes c for k and k for c, or in the other kind something else altogether."""
    rng = np.random.default_rng(0)
    words = ["".join(rng.choice(list("abcdefghijk"), size=rng.integers(2, 8))) for _ in range(300)]
    sources = [word.translate(OLD_TO_NEW) for word in words]
    if source_kind is Symbols.SPACES:
        sources = [" ".join(f"<{symbol}>" for symbol in source) for source in sources]
    pairs = [Example(source, word) for source, word in zip(sources, words, strict=True)]
    corpus = Corpus(pairs[:100], pairs[100:110], pairs[110:120], words[120:], 0, None, "made up")
    write_prepared(folder, corpus, source_kind, Symbols.CHARACTERS)
    return Prepared.open(folder)


def phase(*tasks: Task) -> Phase:
    return Phase(tasks, tasks[0], 10)


def test_pairs_come_in_the_same_order_in_every_strategy(tmp_path: Path) -> None:
    data, params = prepared(tmp_path), changed_params({})
    alone = streams(phase(Task.PAIRED), data, params, seed=3)[Task.PAIRED]
    together = streams(phase(Task.PAIRED, Task.AUTOENCODE, Task.SYNTHETIC), data, params, seed=3)[Task.PAIRED]
    frozen = streams(phase(Task.FROZEN_DECODER), data, params, seed=3)[Task.FROZEN_DECODER]
    for k in range(20):
        np.testing.assert_array_equal(alone.rows(k), together.rows(k))
        np.testing.assert_array_equal(alone.rows(k), frozen.rows(k))


@pytest.mark.parametrize(("kind", "changed"), [("none", False), ("uniform", True), ("learned", True)])
def test_noise_is_on_the_autoencoders_input_alone(tmp_path: Path, kind: str, changed: bool) -> None:
    data = prepared(tmp_path)
    found = streams(phase(Task.PAIRED, Task.AUTOENCODE), data, changed_params({"noise.kind": kind}), seed=0)
    batch = found[Task.AUTOENCODE][0]
    clean = np.where(batch.target_ids == END, PADDING, batch.target_ids)
    same = batch.source_ids.shape[1] == clean.shape[1] - 1 and np.array_equal(batch.source_ids, clean[:, :-1])
    assert same is not changed
    rows = found[Task.PAIRED].rows(0)
    np.testing.assert_array_equal(found[Task.PAIRED][0].source_ids, data.train_sources.padded(rows))


def test_a_corrupted_batch_is_the_same_when_it_is_made_again(tmp_path: Path) -> None:
    data, params = prepared(tmp_path), changed_params({})
    for task in (Task.AUTOENCODE, Task.SYNTHETIC):
        one, two = (streams(phase(Task.PAIRED, task), data, params, seed=1)[task] for _ in range(2))
        np.testing.assert_array_equal(one[7].source_ids, two[7].source_ids)
        assert not np.array_equal(one[7].source_ids, one[8].source_ids)


def test_synthetic_sources_do_what_the_pairs_do(tmp_path: Path) -> None:
    data = prepared(tmp_path)
    batch = streams(phase(Task.SYNTHETIC), data, changed_params({}), seed=0)[Task.SYNTHETIC][0]
    for source_ids, target_ids in zip(batch.source_ids, batch.target_ids, strict=True):
        target = data.target_alphabet.decode(target_ids)
        assert data.source_alphabet.decode(source_ids) == target.translate(OLD_TO_NEW)


def test_learned_noise_for_the_autoencoder_is_written_in_target_symbols(tmp_path: Path) -> None:
    data = prepared(tmp_path)
    found = streams(phase(Task.AUTOENCODE), data, changed_params({"noise.kind": "learned"}), seed=0)
    batch = found[Task.AUTOENCODE][0]
    for source_ids, target_ids in zip(batch.source_ids, batch.target_ids, strict=True):
        target = data.target_alphabet.decode(target_ids)
        assert data.target_alphabet.decode(source_ids) == target.translate(OLD_TO_NEW)
    assert not (batch.source_ids == UNKNOWN).any()


def test_learned_noise_for_the_autoencoder_needs_shared_symbols(tmp_path: Path) -> None:
    data = prepared(tmp_path, Symbols.SPACES)
    with pytest.raises(UserError, match=r"set noise\.kind: uniform"):
        streams(phase(Task.AUTOENCODE), data, changed_params({"noise.kind": "learned"}), seed=0)
