"""Alignment of pairs: the pieces of source that stand for each target symbol."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config.options import Symbols
from pipeline.data import alignment
from pipeline.data.alignment import Alignment, Edits, align, best_alignment, learn_edits, same_symbols
from pipeline.data.alphabet import Alphabet
from pipeline.data.store import StringStore
from pipeline.errors import UserError

Pairs = list[tuple[str, str]]

SOUNDS: Pairs = [
    ("F AA K S", "fox"), ("B AA K S", "box"), ("S IH K S", "six"), ("T AE K S", "tax"),
    ("S K UW L", "school"), ("K UW L", "cool"), ("P UW L", "pool"), ("K AE T", "cat"), ("B AE T", "bat"),
    ("F OW N", "phone"), ("L AY T", "light"), ("N AY T", "night"), ("S AY T", "sight"), ("F AY T", "fight"),
    ("S IH T", "sit"), ("B IH T", "bit"), ("L IH T", "lit"), ("T AA P", "top"), ("S AA B", "sob"), ("B EH T", "bet"),
    ("S EH T", "set"), ("L EH T", "let"), ("N EH T", "net"), ("F IH T", "fit"), ("S AE T", "sat"), ("F AE T", "fat"),
]  # fmt: skip


def stores(pairs: Pairs, kind: Symbols) -> tuple[StringStore, StringStore, Alphabet, Alphabet]:
    source_alphabet = Alphabet.of([source for source, _ in pairs], kind)
    target_alphabet = Alphabet.of([target for _, target in pairs], Symbols.CHARACTERS)
    sources = StringStore.of([source for source, _ in pairs], source_alphabet)
    return sources, StringStore.of([target for _, target in pairs], target_alphabet), source_alphabet, target_alphabet


def aligned(pairs: Pairs, kind: Symbols = Symbols.CHARACTERS) -> list[list[str]]:
    """For each pair the pieces of source, one per target symbol."""
    sources, targets, source_alphabet, target_alphabet = stores(pairs, kind)
    found = align(sources, targets, same_symbols(source_alphabet, target_alphabet), len(source_alphabet))
    pieces = [
        source_alphabet.decode(sources.ids[start:end]) for start, end in zip(found.starts, found.ends, strict=True)
    ]
    return [pieces[start:end] for start, end in zip(targets.offsets[:-1], targets.offsets[1:], strict=True)]


def test_equal_symbols_stand_for_each_other() -> None:
    assert aligned([("abcab", "abcab"), ("ca", "ca")]) == [list("abcab"), list("ca")]


def test_a_spelling_of_two_letters_stands_for_one() -> None:
    pairs = [("hozhe", "hoče"), ("rezhe", "reče"), ("zhas", "čas"), ("rezh", "reč"), ("zhe", "če"), ("hisa", "hisa")]
    assert aligned(pairs)[:3] == [["h", "o", "zh", "e"], ["r", "e", "zh", "e"], ["zh", "a", "s"]]


def test_alphabets_without_a_common_symbol_are_aligned_by_what_comes_together() -> None:
    found = dict(zip([target for _, target in SOUNDS], aligned(SOUNDS, Symbols.SPACES), strict=True))
    assert found["cat"] == ["K", "AE", "T"]
    assert found["fox"] == ["F", "AA", "K S"]  # two sounds for one letter
    assert sorted(found["night"]) == ["", "", "AY", "N", "T"]  # silent letters
    assert (found["night"][0], found["night"][-1]) == ("N", "T")


@settings(max_examples=50)
@given(
    st.lists(
        st.tuples(st.text("abcd", min_size=0, max_size=7), st.text("cdef", min_size=0, max_size=5)),
        min_size=1,
        max_size=8,
    )
)
def test_the_pieces_of_a_target_make_up_its_source(pairs: Pairs) -> None:
    for (source, target), pieces in zip(pairs, aligned(pairs), strict=True):
        assert len(pieces) == len(target)
        assert "".join(pieces) == (source if target else "")


def edits_by_hand() -> Edits:
    """One target symbol, id 4, and one source symbol, id 4: silent 0.2, goes on 0.3."""
    table = np.full((5, 5), 1e-9)
    first, further = table.copy(), table.copy()
    first[4, 4], further[4, 4] = 0.8, 0.3
    return Edits(np.log(first), np.log(further), np.log(np.full(5, 0.2)), np.log(np.full(5, 0.7)))


def one_pair(source: str, target: str) -> tuple[StringStore, StringStore]:
    return tuple(StringStore.of([string], Alphabet(Symbols.CHARACTERS, ("a",))) for string in (source, target))  # type: ignore[return-value]


def test_the_probability_of_a_pair_by_hand() -> None:
    sources, targets = one_pair("aa", "aa")
    lattice = alignment._Lattice(sources, targets, np.array([0]), edits_by_hand())
    once, twice = 0.8 * 0.7, 0.8 * 0.3 * 0.7  # one symbol that stands for one, for two
    done, _ = lattice._after(np.logaddexp)
    assert np.exp(done[0, 0, 0]) == pytest.approx(once * once + 2 * 0.2 * twice)
    done, _ = lattice._before()
    assert np.exp(done[2, 2, 0]) == pytest.approx(once * once + 2 * 0.2 * twice)
    done, _ = lattice._after(np.maximum)
    assert np.exp(done[0, 0, 0]) == pytest.approx(once * once)


def test_expected_counts_by_hand() -> None:
    sources, targets = one_pair("aa", "aa")
    lattice = alignment._Lattice(sources, targets, np.array([0]), edits_by_hand())
    first, further, silent = np.zeros((5, 5)), np.zeros((5, 5)), np.zeros(5)
    lattice.add_expected_counts(first, further, silent)
    one_each, both_in_one = (0.8 * 0.7) ** 2, 2 * 0.2 * 0.8 * 0.3 * 0.7
    share = both_in_one / (one_each + both_in_one)
    assert first[4, 4] == pytest.approx(2 * (1 - share) + share)
    assert further[4, 4] == pytest.approx(share)
    assert silent[4] == pytest.approx(share)


def test_probabilities_sum_to_one() -> None:
    sources, targets, source_alphabet, target_alphabet = stores(SOUNDS, Symbols.SPACES)
    edits = learn_edits(sources, targets, same_symbols(source_alphabet, target_alphabet), len(source_alphabet), 3)
    np.testing.assert_allclose(np.exp(edits.first).sum(axis=0) + np.exp(edits.silent), 1)
    np.testing.assert_allclose(np.exp(edits.further).sum(axis=0) + np.exp(edits.stop), 1)


def test_a_symbol_that_no_pair_has_most_likely_stays_as_it_is() -> None:
    source_alphabet, target_alphabet = (Alphabet(Symbols.CHARACTERS, tuple(symbols)) for symbols in ("abcx", "abcx"))
    sources, targets = (StringStore.of(["abc"] * 9, alphabet) for alphabet in (source_alphabet, target_alphabet))
    same = same_symbols(source_alphabet, target_alphabet)
    edits = learn_edits(sources, targets, same, len(source_alphabet), iterations=5)
    first = edits.first[:, target_alphabet.encode("x")[0]]
    assert np.argmax(first) == source_alphabet.encode("x")[0]
    assert np.exp(first.max()) > 0.9


def test_every_iteration_makes_the_pairs_likelier() -> None:
    sources, targets, source_alphabet, target_alphabet = stores(SOUNDS, Symbols.SPACES)
    same = same_symbols(source_alphabet, target_alphabet)

    def likelihood(iterations: int) -> float:
        edits = learn_edits(sources, targets, same, len(source_alphabet), iterations)
        lattice = alignment._Lattice(sources, targets, np.arange(len(targets)), edits)
        return float(lattice._after(np.logaddexp)[0][0, 0].sum())

    found = [likelihood(iterations) for iterations in range(6)]
    assert found == sorted(found)


def test_batches_of_pairs_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    sources, targets, source_alphabet, target_alphabet = stores(SOUNDS, Symbols.SPACES)
    same = same_symbols(source_alphabet, target_alphabet)
    edits = learn_edits(sources, targets, same, len(source_alphabet), 2)
    whole = best_alignment(sources, targets, edits)
    monkeypatch.setattr(alignment, "CELLS_AT_ONCE", 40)
    in_parts = learn_edits(sources, targets, same, len(source_alphabet), 2)
    np.testing.assert_allclose(in_parts.first, edits.first)
    parts: Alignment = best_alignment(sources, targets, in_parts)
    np.testing.assert_array_equal(parts.starts, whole.starts)
    np.testing.assert_array_equal(parts.ends, whole.ends)


def test_the_same_symbol_of_the_other_alphabet() -> None:
    source_alphabet = Alphabet(Symbols.CHARACTERS, ("b", "c"))
    target_alphabet = Alphabet(Symbols.CHARACTERS, ("a", "b", "c"))
    assert same_symbols(source_alphabet, target_alphabet).tolist() == [0, 0, 0, 0, 0, 4, 5]


def saved(path: Path, pairs: Pairs = SOUNDS) -> tuple[StringStore, StringStore, Alignment, tuple[int, int]]:
    sources, targets, source_alphabet, target_alphabet = stores(pairs, Symbols.SPACES)
    found = align(sources, targets, same_symbols(source_alphabet, target_alphabet), len(source_alphabet))
    found.save(path)
    return sources, targets, found, (len(source_alphabet), len(target_alphabet))


def test_a_saved_alignment_loads_as_it_was_and_is_saved_in_identical_bytes(tmp_path: Path) -> None:
    sources, targets, found, shape = saved(tmp_path / "one.npz")
    loaded = Alignment.load(tmp_path / "one.npz", sources, targets, shape)
    for before, after in zip(vars(found.edits).values(), vars(loaded.edits).values(), strict=True):
        np.testing.assert_array_equal(after, before)
    np.testing.assert_array_equal(loaded.starts, found.starts)
    np.testing.assert_array_equal(loaded.ends, found.ends)
    loaded.save(tmp_path / "two.npz")
    assert (tmp_path / "two.npz").read_bytes() == (tmp_path / "one.npz").read_bytes()


def test_the_alignment_of_other_pairs_is_refused(tmp_path: Path) -> None:
    sources, targets, _, shape = saved(tmp_path / "all.npz")
    saved(tmp_path / "some.npz", SOUNDS[:-1])
    source_symbols, target_symbols = shape
    more_sources, more_targets = (source_symbols + 1, target_symbols), (source_symbols, target_symbols + 1)
    for name, other in (("some.npz", shape), ("all.npz", more_sources), ("all.npz", more_targets)):
        with pytest.raises(UserError, match=rf"{name} is not the alignment of these pairs"):
            Alignment.load(tmp_path / name, sources, targets, other)


@pytest.mark.parametrize(
    ("name", "value"),
    [("starts", -1), ("ends", 10**6), ("first", np.nan), ("stop", 0.5), ("starts", 0.5), ("silent", "x")],
)
def test_values_that_no_alignment_has_are_refused(tmp_path: Path, name: str, value: float | str) -> None:
    path = tmp_path / "alignment.npz"
    sources, targets, found, shape = saved(path)
    arrays = {**vars(found.edits), "starts": found.starts, "ends": found.ends}
    arrays[name] = np.full_like(arrays[name], value, dtype=None if isinstance(value, int) else type(value))
    np.savez(path, **arrays)
    with pytest.raises(UserError, match="is not the alignment of these pairs"):
        Alignment.load(path, sources, targets, shape)


def test_pickled_content_is_never_loaded(tmp_path: Path) -> None:
    path = tmp_path / "alignment.npz"
    sources, targets, found, shape = saved(path)
    arrays = {**vars(found.edits), "starts": found.starts, "ends": np.array([print], dtype=object)}
    np.savez(path, **arrays)
    with pytest.raises(UserError, match="holds no alignment"):
        Alignment.load(path, sources, targets, shape)


@settings(max_examples=200)
@given(st.integers(0, 10**6), st.binary(min_size=1, max_size=6), st.booleans())
def test_a_damaged_file_is_refused_or_loads_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, place: int, part: bytes, is_cut: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "alignment.npz"
    sources, targets, found, shape = saved(path, SOUNDS[:3])
    raw = path.read_bytes()
    place %= len(raw)
    path.write_bytes(raw[:place] + part + (b"" if is_cut else raw[place + len(part) :]))
    try:
        loaded = Alignment.load(path, sources, targets, shape)
    except UserError:
        return
    np.testing.assert_array_equal(loaded.edits.first, found.edits.first)
    np.testing.assert_array_equal(loaded.ends, found.ends)
