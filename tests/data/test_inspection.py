"""What files hold, found from their content."""

from pathlib import Path

import pytest

from pipeline.config.options import Rows, Symbols
from pipeline.data.inspection import PAIRS, Content, assign, described, read_content, symbols_of
from pipeline.errors import UserError
from tests.test_published import made_up_words, old_spelling

WORDS = list(dict.fromkeys(made_up_words(80, seed=1)))
OLD = [old_spelling(word) for word in WORDS]


def content(path: Path, lines: list[str], columns: list[str] | None = None) -> Content:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return read_content(path, columns=columns)


def pairs(folder: Path, name: str = "a.tsv") -> Content:
    return content(folder / name, [f"{old}\t{new}" for old, new in zip(OLD, WORDS, strict=True)])


@pytest.mark.parametrize(
    ("strings", "kind"),
    [
        (["F AO R K", "K AO", "S K UW L", "F AO"], Symbols.SPACES),
        (["h a l l o", "o", "a l l"], Symbols.SPACES),
        (["fork", "school", "corps"], Symbols.CHARACTERS),
        (["New York", "Los Angeles", "San Diego"], Symbols.CHARACTERS),
        (["vnd", "zu letzt", "daſs"], Symbols.CHARACTERS),
    ],
)
def test_symbols_between_spaces_are_short(strings: list[str], kind: Symbols) -> None:
    assert symbols_of(strings) is kind


def test_a_header_is_left_out_and_told(tmp_path: Path) -> None:
    read = content(tmp_path / "a.csv", ["old,modern", *map(",".join, zip(OLD, WORDS, strict=True))])
    assert (read.columns, read.header) == ((OLD, WORDS), "old\tmodern")
    assert "a header, 'old\\tmodern', which is left out" in next(described(PAIRS, read))


@pytest.mark.parametrize("form", ["{word}\t{count}", "{count}\t{word}", "{count:>7} {word}", "{word} {count}"])
def test_counts_are_told_from_strings(tmp_path: Path, form: str) -> None:
    lines = [form.format(word=word, count=count) for word, count in (("das", 12), ("und", 9), ("ist", 3))]
    read = content(tmp_path / "a", lines)
    assert (read.columns, read.counts) == ((["das", "und", "ist"],), [12, 9, 3])


def test_counts_may_have_a_header(tmp_path: Path) -> None:
    read = content(tmp_path / "a", ["word\tn", "das\t12", "und\t9"])
    assert (read.columns, read.counts) == ((["das", "und"],), [12, 9])


def test_numbers_of_rows_are_no_counts(tmp_path: Path) -> None:
    read = content(tmp_path / "a", [f"{number}\t{word}" for number, word in enumerate(("das", "und", "ist"), start=1)])
    assert (read.columns, read.counts) == ((["das", "und", "ist"],), None)


def test_columns_are_found_by_their_names(tmp_path: Path) -> None:
    read = content(tmp_path / "a", ["modern\tnote\told", "und\tx\tvnd", "jahr\ty\tjar"])
    assert read.columns == (["vnd", "jar"], ["und", "jahr"])


def test_of_more_columns_a_person_chooses(tmp_path: Path) -> None:
    lines = ["und\tx\tvnd", "jahr\ty\tjar"]
    with pytest.raises(UserError, match=r"3 columns of text \(1 'und', 2 'x', 3 'vnd'\).*--columns 1,2"):
        content(tmp_path / "a", lines)
    assert content(tmp_path / "a", lines, ["3", "1"]).columns == (["vnd", "jar"], ["und", "jahr"])
    with pytest.raises(UserError, match=r"--columns 4: .* has 3 columns"):
        content(tmp_path / "a", lines, ["3", "4"])


def test_rows_that_cannot_be_used_are_told_with_their_lines(tmp_path: Path) -> None:
    read = content(tmp_path / "a", ["vnd\tund", "jar\t", "seyn\tsein", "a\tb\tc", "thür\ttür"] + ["x\ty"] * 10)
    assert read.skipped == ((2, "the target is empty"), (4, "3 columns"))


def test_a_text_repeats_its_rows_and_a_list_of_words_does_not(tmp_path: Path) -> None:
    assert pairs(tmp_path).rows is Rows.WORDS
    assert content(tmp_path / "b", ["vnd\tund", "jar\tjahr", "vnd\tund"] * 20).rows is Rows.RUNNING_TEXT


def test_lists_are_told_apart_by_their_likeness_to_the_pairs(tmp_path: Path) -> None:
    more = list(dict.fromkeys(made_up_words(200, seed=2)))
    files = {
        "x": pairs(tmp_path, "x"),
        "y": content(tmp_path / "y", [old_spelling(word) for word in more]),
        "z": content(tmp_path / "z", more),
    }
    for names in ("xyz", "zyx", "yzx"):
        roles = assign([files[name] for name in names], {})
        assert {role: one.table.path.name for role, one in roles.items()} == {
            "pairs": "x",
            "targets": "z",
            "sources": "y",
        }
    assert assign([files["x"], files["y"]], {}).keys() == {"pairs", "sources"}
    assert assign([files["x"], files["y"]], {"targets": tmp_path / "y"}).keys() == {"pairs", "targets"}


def test_names_tell_dev_and_test_from_the_pairs(tmp_path: Path) -> None:
    contents = [pairs(tmp_path, name) for name in ("test.tsv", "train.tsv", "my-dev.tsv")]
    roles = {role: one.table.path.name for role, one in assign(contents, {}).items()}
    assert roles == {"pairs": "train.tsv", "dev": "my-dev.tsv", "test": "test.tsv"}


def test_what_cannot_be_told_is_asked_for(tmp_path: Path) -> None:
    two = [pairs(tmp_path, "one.tsv"), pairs(tmp_path, "two.tsv")]
    with pytest.raises(UserError, match=r"one\.tsv and .*two\.tsv have pairs: say which is for what"):
        assign(two, {})
    sides = [content(tmp_path / "old.txt", OLD), content(tmp_path / "new.txt", WORDS)]
    with pytest.raises(UserError, match=r"no file has pairs, but .* have equally many rows: .*`paste .*old\.txt"):
        assign(sides, {})
    with pytest.raises(UserError, match=r"one\.tsv was given as targets, but has two columns"):
        assign(two, {"targets": tmp_path / "one.tsv"})
