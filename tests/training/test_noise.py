"""Noise: uniform edits by the rate, and sources the way the pairs have them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config.options import Symbols
from pipeline.data.alignment import align, same_symbols
from pipeline.data.alphabet import PADDING, SPECIALS, UNKNOWN, Alphabet
from pipeline.data.store import StringStore
from pipeline.training import noise
from pipeline.training.batches import Ids
from pipeline.training.noise import LearnedNoise, UniformNoise

LETTERS = Alphabet(Symbols.CHARACTERS, tuple("abcdefghijklmnopqrstuvwxyz"))
V = len(LETTERS)

# ſ stands for s but at the end, v for u at the beginning; a final e is not written.
HISTORIC = [
    ("ſo", "so"), ("das", "das"), ("roſt", "rost"), ("vns", "uns"), ("dut", "dut"), ("vnd", "und"), ("hus", "hus"),
    ("ſat", "sat"), ("tas", "tas"), ("ſtat", "state"), ("rad", "rade"), ("tat", "tate"), ("vnd", "und"), ("ſo", "so"),
    ("ero", "ero"), ("red", "rede"), ("das", "das"), ("roſ", "rose"), ("tod", "tode"), ("ſtets", "stets"),
] * 3  # fmt: skip


def padded(strings: list[str], alphabet: Alphabet = LETTERS) -> Ids:
    return StringStore.of(strings, alphabet).padded(np.arange(len(strings)))


def random_ids(rows: int, width: int, seed: int = 0) -> Ids:
    rng = np.random.default_rng(seed)
    ids = rng.integers(SPECIALS, V, (rows, width)).astype(np.int32)
    ids[np.arange(width) >= rng.integers(1, width + 1, rows)[:, None]] = PADDING
    return ids


def assert_padded(ids: Ids) -> None:
    """Rows of symbols, none empty, then padding alone; no column without a symbol."""
    assert ids.dtype == np.int32
    inside = ids != PADDING
    lengths = inside.sum(axis=1)
    np.testing.assert_array_equal(inside, np.arange(ids.shape[1]) < lengths[:, None])
    assert lengths.min() >= 1
    assert lengths.max() == ids.shape[1]


@given(st.integers(1, 50), st.integers(1, 12), st.floats(0, 1), st.integers(0, 100))
def test_uniform_noise_gives_rows_of_symbols_none_of_them_empty(rows: int, width: int, rate: float, seed: int) -> None:
    noisy = UniformNoise(rate, V).corrupt(random_ids(rows, width, seed), np.random.default_rng(seed))
    assert len(noisy) == rows
    assert_padded(noisy)
    assert ((noisy >= SPECIALS) | (noisy == PADDING)).all()
    assert (noisy < V).all()


def test_no_rate_no_noise() -> None:
    ids = random_ids(100, 9)
    np.testing.assert_array_equal(UniformNoise(0.0, V).corrupt(ids, np.random.default_rng(0)), ids)


def test_each_kind_of_edit_has_a_quarter_of_the_rate() -> None:
    first, second, filler = SPECIALS, SPECIALS + 1, SPECIALS + 2
    ids = np.tile(np.array([[first, second]], dtype=np.int32), (200_000, 1))
    noisy = UniformNoise(0.4, filler + 10_000).corrupt(ids, np.random.default_rng(0))  # random symbols are others
    noisy = np.pad(noisy, ((0, 0), (0, 4 - noisy.shape[1])))
    other = noisy > second
    lengths = (noisy != PADDING).sum(axis=1)

    def share(*rows: np.ndarray) -> float:
        return float(np.logical_and.reduce(rows).mean())

    # The other symbol is not edited: 0.6; the last one cannot swap: an edit that is void, 0.1 more.
    assert share(lengths == 1, noisy[:, 0] == second) == pytest.approx(0.1 * 0.7, abs=0.004)
    assert share(lengths == 2, other[:, 0], noisy[:, 1] == second) == pytest.approx(0.1 * 0.7, abs=0.004)
    assert share(lengths == 3, other[:, 1], noisy[:, 2] == second) == pytest.approx(0.1 * 0.7, abs=0.004)
    assert share(lengths == 2, noisy[:, 0] == second, noisy[:, 1] == first) == pytest.approx(0.1 * 0.6, abs=0.004)


def test_a_row_that_would_be_empty_keeps_its_symbols() -> None:
    noisy = UniformNoise(1.0, V).corrupt(padded(["a"] * 4000), np.random.default_rng(0))
    assert_padded(noisy)
    kept = (noisy[:, 0] == SPECIALS) & ((noisy != PADDING).sum(axis=1) == 1)
    assert kept.mean() == pytest.approx(0.5 + 0.25 / 26, abs=0.03)  # left out, or a swap with nothing, or replaced by a


def learn(
    sources: StringStore, targets: StringStore, source_alphabet: Alphabet, target_alphabet: Alphabet, strength: float
) -> LearnedNoise:
    same = same_symbols(source_alphabet, target_alphabet)
    return LearnedNoise.learn(sources, targets, align(sources, targets, same, len(source_alphabet)), same, strength)


class Learned:
    """Noise of some pairs with their alphabets."""

    def __init__(self, pairs: list[tuple[str, str]], symbols: Symbols = Symbols.CHARACTERS, strength: float = 0.1):
        sources, targets = [source for source, _ in pairs], [target for _, target in pairs]
        self.source_alphabet = Alphabet.of(sources, symbols)
        self.target_alphabet = Alphabet.of([*targets, "xyz"], Symbols.CHARACTERS)
        stores = StringStore.of(sources, self.source_alphabet), StringStore.of(targets, self.target_alphabet)
        self.noise = learn(*stores, self.source_alphabet, self.target_alphabet, strength)

    def sample(self, targets: list[str], seed: int = 0) -> list[str]:
        ids = self.noise.sample(padded(targets, self.target_alphabet), np.random.default_rng(seed))
        return [self.source_alphabet.decode(row) for row in ids]


def share(samples: list[str], wanted: str) -> float:
    return sum(sample == wanted for sample in samples) / len(samples)


def test_learned_noise_writes_as_the_pairs_do_in_each_context() -> None:
    learned = Learned(HISTORIC)
    assert share(learned.sample(["stas"] * 500), "ſtas") > 0.85
    assert share(learned.sample(["un"] * 500), "vn") > 0.85
    assert share(learned.sample(["host"] * 500), "hoſt") > 0.85
    assert share(learned.sample(["hute"] * 500), "hut") > 0.85


def test_a_context_seen_n_times_is_used_with_probability_n_by_n_plus_strength() -> None:
    # Alone, "a" was seen 4 times as "b": its whole context is that of the pairs. Each of the five levels is used with
    # probability 4 / 5; below them all stands the identity.
    learned = Learned([("b", "a")] * 4 + [("a", "c")], strength=1.0)
    samples = learned.sample(["a"] * 20_000)
    assert share(samples, "a") == pytest.approx(0.2**5, abs=0.002)
    learned = Learned([("b", "a")] * 4 + [("a", "c")], strength=12.0)
    samples = learned.sample(["a"] * 20_000)
    assert share(samples, "a") == pytest.approx(0.75**5, abs=0.02)
    assert set(samples) == {"a", "b"}


def test_unseen_symbols_stand_for_themselves_or_are_unknown() -> None:
    learned = Learned([("ax", "a"), ("a", "a")])  # x is a symbol of the sources, y is none
    unseen = learned.noise.sample(padded(["xy"], learned.target_alphabet), np.random.default_rng(0))
    assert unseen.tolist() == [[learned.source_alphabet.encode("x")[0], UNKNOWN]]


def test_a_symbol_that_sources_lack_falls_back_to_its_most_frequent_piece() -> None:
    learned = Learned([("K AE T", "cat"), ("K AA P", "cop"), ("S IH T", "cit")], Symbols.SPACES, strength=1e9)
    assert learned.sample(["ct"]) == ["K T"]


def test_a_symbol_that_only_the_alphabet_of_the_sources_has_falls_back_so_too() -> None:
    sources, targets = Alphabet(Symbols.CHARACTERS, ("a", "h", "s", "š")), Alphabet(Symbols.CHARACTERS, ("a", "š"))
    pairs = StringStore.of(["sha", "sha"], sources), StringStore.of(["ša", "ša"], targets)
    noise = learn(*pairs, sources, targets, strength=1e9)
    assert sources.decode(noise.sample(padded(["ša"], targets), np.random.default_rng(0))[0]) == "sha"


def test_a_source_that_would_be_empty_is_the_fallback() -> None:
    learned = Learned([("d", "de")] * 20 + [("te", "te")], strength=1e-9)
    assert set(learned.sample(["e"] * 200)) == {"e"}


@settings(max_examples=30)
@given(st.lists(st.text("adehnorstuxyz", min_size=1, max_size=12), min_size=1, max_size=20), st.integers(0, 99))
def test_learned_noise_gives_rows_of_symbols_none_of_them_empty(targets: list[str], seed: int) -> None:
    learned = Learned(HISTORIC[:20])
    ids = learned.noise.sample(padded(targets, learned.target_alphabet), np.random.default_rng(seed))
    assert len(ids) == len(targets)
    assert_padded(ids)
    assert ((ids >= UNKNOWN) | (ids == PADDING)).all()
    assert (ids < len(learned.source_alphabet)).all()


def test_contexts_are_the_same_by_table_and_by_search(monkeypatch: pytest.MonkeyPatch) -> None:
    targets = ["stunde", "rose", "xyz", "hause", "e"] * 20
    by_table = Learned(HISTORIC).sample(targets)
    monkeypatch.setattr(noise, "LARGEST_TABLE", 0)
    assert Learned(HISTORIC).sample(targets) == by_table


def test_padding_never_changes_what_is_sampled() -> None:
    learned = Learned(HISTORIC)
    ids = padded(["rost", "und", "e"], learned.target_alphabet)
    narrow, wide = (
        learned.noise.sample(matrix, np.random.default_rng(3)) for matrix in (ids, np.pad(ids, ((0, 0), (0, 5))))
    )
    np.testing.assert_array_equal(narrow, wide)


def test_the_same_generator_gives_the_same_noise() -> None:
    learned, ids = Learned(HISTORIC, strength=5.0), random_ids(500, 9)
    targets = ["stunde", "rose", "hause"] * 100
    assert learned.sample(targets, seed=1) == learned.sample(targets, seed=1)
    assert learned.sample(targets, seed=1) != learned.sample(targets, seed=2)
    uniform = UniformNoise(0.3, V)
    one, same, other = (uniform.corrupt(ids, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_noise_leaves_its_input_alone() -> None:
    learned, ids = Learned(HISTORIC), random_ids(50, 9)
    kept = ids.copy()
    UniformNoise(0.8, V).corrupt(ids, np.random.default_rng(0))
    np.testing.assert_array_equal(ids, kept)
    ids = padded(["und", "e"], learned.target_alphabet)
    kept = ids.copy()
    learned.noise.sample(ids, np.random.default_rng(0))
    np.testing.assert_array_equal(ids, kept)


def test_rewrites_come_before_what_stays_as_it_is() -> None:
    learned = Learned(HISTORIC)
    table = learned.noise.rewrites(1000, learned.source_alphabet, learned.target_alphabet)
    changed = (table["target"] != table["source"]).to_numpy()
    assert changed[: changed.sum()].all()
    counts = table["count"].to_numpy()
    assert (np.diff(counts[changed]) <= 0).all()
    np.testing.assert_allclose(table["probability"], table["count"] / table["seen"])
    rows = {tuple(row) for row in table[["before", "target", "after", "source", "count", "seen"]].to_numpy().tolist()}
    assert ("", "u", "", "v", 9, 15) in rows  # dut, hus, 2 und and uns, three times
    assert ("", "u", "n", "v", 9, 9) in rows
    assert ("^", "u", "n", "v", 9, 9) not in rows  # no likelier than without the start
    assert ("", "s", "$", "s", 18, 18) in rows
    assert len(learned.noise.rewrites(3, learned.source_alphabet, learned.target_alphabet)) == 3
