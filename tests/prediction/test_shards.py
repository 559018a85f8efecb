"""Shards: which files a pattern names, and that their slices have every row once, in order."""

import codecs
import gzip
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import UserError
from pipeline.prediction import shards
from pipeline.prediction.shards import SourceRow, find_shards, read, slices

LINES = ["F AO", "K", "", "été", "F AO R K", "K" * 30, "x"]


def rows(path: Path, column: str | None = None) -> list[SourceRow]:
    """All rows of a file, slice by slice."""
    (shard,) = find_shards(str(path))
    return [row for piece in slices(shard, column) for part in read(piece) for row in part]


def sources(path: Path, column: str | None = None) -> list[str | None]:
    return [row.source for row in rows(path, column)]


def write(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def parquet(path: Path, values: Sequence[str | None], name: str = "source", kind: pa.DataType | None = None) -> Path:
    table = pa.table({"number": pa.array(range(len(values))), name: pa.array(values, kind or pa.string())})
    pq.write_table(table, path, row_group_size=3)
    return path


def text() -> bytes:
    return "\n".join(LINES).encode() + b"\n"


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 11, 31, 1000])
def test_the_slices_of_a_text_have_every_line_once_whatever_their_size(
    size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "SLICE_BYTES", size)
    assert sources(write(tmp_path / "a.txt", text())) == LINES
    assert sources(write(tmp_path / "b.txt", text().removesuffix(b"\n"))) == LINES
    assert sources(write(tmp_path / "c.txt", text().replace(b"\n", b"\r\n"))) == LINES
    assert sources(write(tmp_path / "d.txt", codecs.BOM_UTF8 + text())) == LINES


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 1000])
@pytest.mark.parametrize("at_once", [1, 2, 1000])
def test_the_slices_of_a_parquet_file_have_every_row_once_wherever_row_groups_end(
    size: int, at_once: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "SLICE_ROWS", size)
    monkeypatch.setattr(shards, "ROWS_AT_ONCE", at_once)
    assert sources(parquet(tmp_path / "a.parquet", LINES)) == LINES


def test_a_long_text_has_several_slices_and_a_packed_one_a_single_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "SLICE_BYTES", 10)
    plain, packed = (find_shards(str(write(tmp_path / name, text())))[0] for name in ("a.txt", "b.txt.gz"))
    assert [(piece.start, piece.stop) for piece in slices(plain)][:2] == [(0, 10), (10, 20)]
    assert [piece.start for piece in slices(packed)] == [0]
    assert sources(packed.path) == LINES


def test_text_tsv_and_parquet_give_the_same_sources(tmp_path: Path) -> None:
    tabbed = "".join(f"{number}\t{line}\n" for number, line in enumerate(LINES)).encode()
    assert sources(write(tmp_path / "a.tsv", b"number\tsource\n" + tabbed)) == LINES
    assert sources(write(tmp_path / "b.tsv.gz", b"number\tsource\n" + tabbed)) == LINES
    assert sources(write(tmp_path / "c.tsv", "".join(f"{line}\tmore\n" for line in LINES).encode())) == LINES
    assert sources(parquet(tmp_path / "d.parquet", LINES)) == LINES
    for kind in (pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())):
        assert sources(parquet(tmp_path / "e.parquet", LINES, kind=kind)) == LINES


def test_another_column_can_be_named(tmp_path: Path) -> None:
    assert sources(parquet(tmp_path / "a.parquet", LINES, "word"), "word") == LINES
    assert sources(write(tmp_path / "b.tsv", b"source\tword\nF\tK\n"), "word") == ["K"]
    assert sources(write(tmp_path / "b.tsv", b"source\tword\nF\tK\n")) == ["F"]


def test_what_cannot_be_read_is_said_in_its_own_row(tmp_path: Path) -> None:
    assert rows(write(tmp_path / "a.txt", b"F\n\xff\nK\n")) == [
        SourceRow("F"),
        SourceRow("\N{REPLACEMENT CHARACTER}", "is not UTF-8 at its byte 1"),
        SourceRow("K"),
    ]
    assert rows(parquet(tmp_path / "b.parquet", ["F", None, "K"])) == [
        SourceRow("F"),
        SourceRow(None, "is null"),
        SourceRow("K"),
    ]
    assert rows(write(tmp_path / "c.tsv", b"number\tsource\n1\tF\n2\n")) == [
        SourceRow("F"),
        SourceRow(None, "is missing: the line has 1 columns"),
    ]


def test_an_endless_line_costs_a_row_and_no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "LONGEST_LINE", 8)
    for size in (3, 1000):
        monkeypatch.setattr(shards, "SLICE_BYTES", size)
        found = rows(write(tmp_path / "a.txt", b"F\n" + b"K" * 100 + b"\nshort\n12345678\n1234567\n"))
        assert found == [
            SourceRow("F"),
            SourceRow("KKKKKKKK…", "is in a line of more than 8 bytes"),
            SourceRow("short"),
            SourceRow("12345678…", "is in a line of more than 8 bytes"),  # with its end it has 9
            SourceRow("1234567"),
        ]


def test_an_empty_file_has_a_slice_without_rows(tmp_path: Path) -> None:
    for path in (write(tmp_path / "a.txt", b""), parquet(tmp_path / "b.parquet", []), write(tmp_path / "c.tsv", b"")):
        (shard,) = find_shards(str(path))
        assert [list(read(piece)) for piece in slices(shard)] == [[]]


def test_a_pattern_names_files_and_their_folders_below_it(tmp_path: Path) -> None:
    for name in ("2025/b.txt", "2024/a.txt", "2024/a.parquet.txt.gz", "2024/note.md"):
        write(tmp_path / "in" / name, b"F\n")
    found = find_shards(f"{tmp_path}/in/*/*.txt*")
    assert [shard.name for shard in found] == ["2024/a.parquet", "2024/a", "2025/b"]
    assert [shard.name for shard in find_shards(f"{tmp_path}/in/2024/a.txt")] == ["a"]


def test_a_name_with_brackets_is_a_file_and_no_pattern(tmp_path: Path) -> None:
    assert [shard.name for shard in find_shards(str(write(tmp_path / "a[1].txt", b"F\n")))] == ["a[1]"]


@pytest.mark.parametrize(
    ("names", "pattern", "message"),
    [
        (["a.txt"], "b*", "matches no file: correct it, and put patterns in quotes"),
        (["a.csv"], "*", "a.csv: unknown format, its name must end in .parquet, .tsv"),
        (["a.txt", "a.tsv"], "a.*", "a.txt would both be written to a.parquet: rename one"),
        (["in/a.txt"], "in", "is a folder: name its files"),
        (["in/sub/a.txt", "b.txt"], "in/*/../../b.txt", "goes up again after a wildcard"),
    ],
)
def test_files_that_cannot_be_shards_are_refused(names: list[str], pattern: str, message: str, tmp_path: Path) -> None:
    for name in names:
        write(tmp_path / name, b"F\n")
    with pytest.raises(UserError, match=message.replace("*", r"\*")):
        find_shards(f"{tmp_path}/{pattern}")


def test_columns_that_are_not_there_are_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a.parquet has no column 'source' \(it has number, word\): use --column"):
        sources(parquet(tmp_path / "a.parquet", LINES, "word"))
    with pytest.raises(UserError, match="column 'number' is of type int64, sources are strings"):
        sources(tmp_path / "a.parquet", "number")
    with pytest.raises(UserError, match=r"a.tsv has no column 'word' in its first line"):
        sources(write(tmp_path / "a.tsv", b"F\tK\n"), "word")
    with pytest.raises(UserError, match=r"a.txt is text and has no column 'word'"):
        sources(write(tmp_path / "a.txt", b"F\n"), "word")


def test_damaged_files_are_told(tmp_path: Path) -> None:
    whole = gzip.compress(text() * 1000)
    (tmp_path / "a.txt.gz").write_bytes(whole[:-20])
    with pytest.raises(UserError, match=r"a.txt.gz cannot be read"):
        sources(tmp_path / "a.txt.gz")
    with pytest.raises(UserError, match=r"b.parquet cannot be read"):
        sources(write(tmp_path / "b.parquet", b"PAR1 no"))


def test_wildcards_in_the_names_of_existing_folders_are_part_of_the_names(tmp_path: Path) -> None:
    for folder in ("q?x [1]", "qax 1"):
        write(tmp_path / folder / "in" / "a.txt", b"F AO\n")
    (shard,) = find_shards(f"{tmp_path}/q?x [1]/in/*.txt")
    assert (shard.path, shard.name) == (tmp_path / "q?x [1]" / "in" / "a.txt", "a")
