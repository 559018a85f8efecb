"""Files as people have them: encodings, delimiters, quotes, compression."""

import gzip
from pathlib import Path

import pytest

from pipeline.data.tables import read_table
from pipeline.errors import UserError

ROWS = [("vnd", "und"), ("thür", "tür"), ("ſeyn", "sein"), ("jar", "jahr")]


def table(path: Path, content: bytes, encoding: str | None = None) -> list[tuple[str, ...]]:
    path.write_bytes(content)
    return [row.cells for row in read_table(path, encoding).rows]


def text(delimiter: str, end: str = "\n") -> str:
    return end.join(delimiter.join(row) for row in ROWS) + end


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_unicode_needs_no_name(tmp_path: Path, encoding: str) -> None:
    assert table(tmp_path / "a", text("\t").encode(encoding)) == ROWS


@pytest.mark.parametrize("delimiter", ["\t", ",", ";", "|", "   "])
def test_the_delimiter_shows(tmp_path: Path, delimiter: str) -> None:
    assert table(tmp_path / "a.txt", text(delimiter).encode()) == ROWS


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_may_end_in_any_way(tmp_path: Path, end: str) -> None:
    assert table(tmp_path / "a", text("\t", end).encode()) == ROWS


def test_compressed_files_are_unpacked(tmp_path: Path) -> None:
    assert table(tmp_path / "a", gzip.compress(text(",").encode())) == ROWS


def test_an_encoding_that_is_not_unicode_has_to_be_named(tmp_path: Path) -> None:
    content = "hozhem\thočem\nfhe\tše\n".encode("cp1250")
    with pytest.raises(UserError, match=r"a, line 1: byte 0xE8 is not UTF-8") as error:
        table(tmp_path / "a", content)
    assert "--encoding cp1250 reads the line as 'hozhem\\thočem'" in str(error.value)
    assert "--encoding cp1252 reads the line as 'hozhem\\thoèem'" in str(error.value)
    assert table(tmp_path / "a", content, "cp1250") == [("hozhem", "hočem"), ("fhe", "še")]


def test_an_unknown_encoding_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--encoding klingon is unknown"):
        table(tmp_path / "a", b"a\tb\n", "klingon")


def test_quoted_cells_hold_delimiters_and_quotes(tmp_path: Path) -> None:
    content = b'"Smith, John","smith ""j"""\n"Doe, Jane",doe\n'
    assert table(tmp_path / "a.csv", content) == [("Smith, John", 'smith "j"'), ("Doe, Jane", "doe")]


def test_between_tabs_a_quotation_mark_is_a_symbol(tmp_path: Path) -> None:
    assert table(tmp_path / "a", b'"\t"\n"a\tb\n') == [('"', '"'), ('"a', "b")]


def test_a_quote_that_is_never_closed_is_named(tmp_path: Path) -> None:
    rows = b"a,b\n" * 50
    with pytest.raises(UserError, match="line 51: a quotation mark opens a cell that is never closed"):
        table(tmp_path / "a.csv", rows + b'"c,d\n' + rows)


def test_names_with_commas_are_one_column(tmp_path: Path) -> None:
    assert table(tmp_path / "names.txt", b"Smith, John\nDoe, Jane\nRoe, Jim\n") == [
        ("Smith, John",),
        ("Doe, Jane",),
        ("Roe, Jim",),
    ]


def test_blank_rows_and_empty_columns_are_left_out_and_lines_keep_their_numbers(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a;b;\n;;\n\nc;d;\n")
    assert [(row.line, row.cells) for row in read_table(tmp_path / "a").rows] == [(1, ("a", "b")), (4, ("c", "d"))]


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"PK\x03\x04", "a ZIP archive or a spreadsheet"), (b"\n\n", "has no rows"), (b"", "has no rows")],
)
def test_what_is_no_table_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(UserError, match=message):
        table(tmp_path / "a", content)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist: correct its name"):
        read_table(tmp_path / "none")
