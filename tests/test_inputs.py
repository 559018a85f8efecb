"""Nasty inputs to `prepare` and to prediction: each is used as it should be, or named in a sentence."""

import bz2
import gzip
import json
import lzma
import tracemalloc
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config.options import Symbols
from pipeline.data.corpus import read_targets
from pipeline.data.prepared import PREPARED, Prepared
from pipeline.errors import UserError
from pipeline.stages.prepare import SUMMARY, main
from pipeline.text import check_sources
from tests.conftest import shipped_params
from tests.support.nasty import BAD_FILES, BAD_ROWS, BAD_SOURCES, TEXTS

RAW = Path("data/raw")
GOOD = "".join(f"{letter.upper()}\t{letter}\n" for letter in "abcdefgh").encode()


@pytest.fixture(autouse=True)
def _in_a_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    RAW.mkdir(parents=True)


def prepare(files: Mapping[str, bytes | None], **changes: Any) -> dict[str, Any]:
    """Run the stage on raw files (pairs, targets, perhaps dev and test) as `python -m` would; its summary.

    None stands for a file that is not written.
    """
    content = shipped_params()
    content["data"] |= {"source": "files", "source_symbols": "characters"}
    content["prepare"] |= {"pairs": None, "targets": None, "dev": 1, "test": 1, **changes}
    for name, raw in files.items():
        if raw is not None:
            (RAW / name).write_bytes(raw)
        content["data"][name.split(".")[0]] = f"data/raw/{name}"
    Path("params.yaml").write_text(json.dumps(content), encoding="utf-8")
    main()
    summary: dict[str, Any] = json.loads(SUMMARY.read_text(encoding="utf-8"))
    return summary


def refused(capsys: pytest.CaptureFixture[str], files: Mapping[str, bytes | None], **changes: Any) -> str:
    """What the stage says, in one line, when it ends with exit code 2."""
    with pytest.raises(SystemExit) as ended:
        prepare(files, **changes)
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert len(said.splitlines()) == 1
    return said


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
def test_unusual_text_comes_out_as_it_went_in(text: str) -> None:
    rows = GOOD + f"{text}\tx{text}y\r\n".encode()
    prepare({"pairs.tsv": rows, "targets.txt": f"{text}\n{text}z".encode()}, dev=2, test=2)
    prepared = Prepared.open(PREPARED)
    examples = [*prepared.train, *prepared.dev, *prepared.test]
    (found,) = [example for example in examples if example.source not in "ABCDEFGH"]
    assert found.target == f"x{found.source}y"
    stored = [prepared.target_alphabet.decode(row) for row in prepared.targets.padded(np.arange(2))]
    assert stored == [found.source, f"{found.source}z"]


@pytest.mark.parametrize("name", BAD_ROWS)
def test_a_bad_row_is_named_with_its_line_or_skipped_and_counted(capsys: pytest.CaptureFixture[str], name: str) -> None:
    row, reason = BAD_ROWS[name]
    files = {"pairs.tsv": GOOD + row + b"\ny\tz\n", "targets.txt": b"x\n"}
    said = refused(capsys, files)
    assert said.startswith(f"error: data/raw/pairs.tsv, line 9: {reason}")
    assert len(said) < 1500
    summary = prepare(files, on_bad_row="skip")
    assert summary["rows_rejected"] == 1
    assert summary["pairs"] + summary["dev"] + summary["test"] == 9
    _, rejected = (PREPARED / "rejected.tsv").read_text(encoding="utf-8").splitlines()
    assert rejected.startswith(f"data/raw/pairs.tsv\t9\t{reason}")


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_file_that_cannot_be_used_is_named(capsys: pytest.CaptureFixture[str], name: str) -> None:
    file, content, reason = BAD_FILES[name]
    said = refused(capsys, {file: content, "targets.txt": b"x\n"})
    assert said.startswith(f"error: data/raw/{file}")
    assert reason in said


@pytest.mark.parametrize("file", ["pairs.tsv", "targets.txt", "dev.tsv", "test.tsv.gz"])
def test_a_folder_in_the_place_of_a_file_is_named(capsys: pytest.CaptureFixture[str], file: str) -> None:
    (RAW / file).mkdir()
    files = {"pairs.tsv": GOOD, "targets.txt": b"x\n", "dev.tsv": GOOD, file: None}
    assert f"error: data/raw/{file} cannot be read: [Errno 21] Is a directory" in refused(capsys, files)


@pytest.mark.parametrize("file", ["pairs.tsv", "targets.txt", "dev.tsv", "test.tsv.gz"])
def test_a_missing_file_is_named(capsys: pytest.CaptureFixture[str], file: str) -> None:
    files = {"pairs.tsv": GOOD, "targets.txt": b"x\n", "dev.tsv": GOOD, file: None}
    assert f"error: data/raw/{file} does not exist: put it there" in refused(capsys, files)


@pytest.mark.parametrize(
    ("files", "changes", "said"),
    [
        ({"pairs.tsv": b"a\tb\n"}, {}, "pairs.tsv has too few different sources: 1, of which prepare.test + prepare."),
        ({"pairs.tsv": b"a\tb\na\tc\na\td\n"}, {}, "pairs.tsv has too few different sources: 1, of which"),
        (
            {"dev.tsv": GOOD, "test.tsv": GOOD, "targets.txt": b"a\nb\n"},
            {"hold_out_targets": True},
            "all 2 unpaired targets are dev or test",
        ),
        ({"targets.txt": b""}, {}, "targets.txt has no usable row"),
        ({"targets.txt": b"\n\n"}, {"on_bad_row": "skip"}, "targets.txt has no usable row"),
        ({"targets.txt": b"a\tb\n"}, {}, "targets.txt, line 1: the count is 'b', but must be"),
    ],
)
def test_data_of_a_shape_that_cannot_be_used_is_explained(
    capsys: pytest.CaptureFixture[str], files: dict[str, bytes], changes: dict[str, Any], said: str
) -> None:
    assert said in refused(capsys, {"pairs.tsv": GOOD, "targets.txt": b"x\n"} | files, **changes)


def test_one_pair_one_symbol_and_sources_that_are_their_targets_can_be_prepared() -> None:
    one = b"a\ta\n"
    summary = prepare({"pairs.tsv": one, "targets.txt": b"aa\n", "dev.tsv": one, "test.tsv": one})
    assert (summary["pairs"], summary["source_symbols"], summary["target_symbols"]) == (1, 1, 1)
    assert summary["rows_with_unseen_symbol"]["test"] == {"sources": 0.0, "targets": 0.0}


def test_symbols_that_only_dev_has_are_counted_as_unseen() -> None:
    summary = prepare({"pairs.tsv": GOOD, "targets.txt": b"x\n", "dev.tsv": "\U0001f600\tž\n".encode()})
    assert summary["rows_with_unseen_symbol"]["dev"] == {"sources": 1.0, "targets": 1.0}


def test_a_million_rows_with_one_bad_one_name_it_or_count_it(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [b"word%d" % number for number in range(1_000_000)]
    rows[765_432] = b"wo\xffrd"
    files = {"pairs.tsv": GOOD, "targets.txt": b"\n".join(rows)}
    said = refused(capsys, files)
    assert said.startswith("error: data/raw/targets.txt, line 765433: byte 3 is not UTF-8. The row is 'wo\\xffrd'.")
    summary = prepare(files, on_bad_row="skip")
    assert (summary["targets"], summary["rows_rejected"]) == (999_999, 1)


def test_a_file_that_unpacks_to_a_gigabyte_without_a_line_end_takes_little_memory(
    capsys: pytest.CaptureFixture[str],
) -> None:
    file, bomb, reason = BAD_FILES["a bomb of zeros"]
    tracemalloc.start()
    try:
        assert reason in refused(capsys, {file: bomb, "targets.txt": b"x\n"}, on_bad_row="skip")
        assert tracemalloc.get_traced_memory()[1] < 50e6
    finally:
        tracemalloc.stop()


@settings(max_examples=50)
@given(
    st.lists(
        st.sampled_from([row for row, _ in BAD_ROWS.values() if len(row) < 2000] + [b"a\tb", b"c\td", b"e\tf"])
        | st.binary(max_size=12),
        max_size=12,
    ),
    st.lists(st.sampled_from([b"x", b"yz", "č".encode(), b""]) | st.binary(max_size=6), max_size=6),
    st.sampled_from(["error", "skip"]),
    st.booleans(),
)
def test_whatever_the_files_hold_they_are_prepared_or_explained(
    pairs: list[bytes], targets: list[bytes], on_bad_row: str, hold_out: bool
) -> None:
    files = {"pairs.tsv": b"\n".join(pairs), "targets.txt": b"\n".join(targets)}
    try:
        summary = prepare(files, on_bad_row=on_bad_row, hold_out_targets=hold_out)
    except SystemExit as ended:
        assert ended.code == 2  # noqa: PT017
        return
    prepared = Prepared.open(PREPARED)
    assert len(prepared.train) == len(prepared.train_sources) == summary["pairs"] > 0
    assert len(prepared.targets) == summary["targets"] > 0
    assert len(prepared.dev) == summary["dev"] > 0


# Prediction


@pytest.mark.parametrize("source", BAD_SOURCES)
def test_what_cannot_be_a_source_is_told_in_a_short_line(source: str) -> None:
    with pytest.raises(UserError) as error:
        check_sources([source])
    assert BAD_SOURCES[source] in str(error.value)
    assert len(str(error.value)) < 200


@given(st.lists(st.text(st.characters() | st.sampled_from("\t\n\r\0\ud800\u0301\u0323 ")), min_size=1))
def test_sources_that_pass_are_lines_of_unicode_text(sources: list[str]) -> None:
    try:
        check_sources(sources)
    except UserError:
        return
    for source in sources:
        assert source.encode().decode().strip()
        assert not set("\t\n\r\0") & set(source.strip())


@pytest.mark.parametrize("ending", ["", ".txt", ".gz", ".GZ"])
@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_a_packed_file_is_unpacked_whatever_its_name(
    tmp_path: Path, pack: Callable[[bytes], bytes], ending: str
) -> None:
    if ending.lower() == ".gz" and pack is not gzip.compress:
        pytest.skip("such a file is damaged")
    content = "".join(f"{text}\n" for text in TEXTS.values()).encode()
    (tmp_path / "plain").write_bytes(b"\xef\xbb\xbf" + content)
    (tmp_path / f"packed{ending}").write_bytes(pack(content))
    plain, packed = (read_targets(tmp_path / name, Symbols.CHARACTERS, 60)[0] for name in ("plain", f"packed{ending}"))
    assert plain == packed
    assert len(plain) == len(TEXTS)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"PK\x03\x04\x14\0", "a ZIP archive or a spreadsheet"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1", "an Office document"),
        (b"PAR1\x15\x04", "a Parquet file"),
        (b"%PDF-1.7", "a PDF"),
        (b"a" * 257 + b"ustar", "a tar archive"),
        (gzip.compress(b"a" * 257 + b"ustar", mtime=0), "a tar archive"),
    ],
)
def test_a_file_of_another_kind_is_named(capsys: pytest.CaptureFixture[str], content: bytes, kind: str) -> None:
    assert f"data/raw/pairs.tsv is {kind}" in refused(capsys, {"pairs.tsv": content, "targets.txt": b"x\n"})


def test_lines_that_end_in_carriage_returns_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(capsys, {"pairs.tsv": GOOD.replace(b"\n", b"\r"), "targets.txt": b"x\n"})
    assert "do the lines end in carriage returns alone? Save the file with line feeds" in said


@pytest.mark.parametrize("name", ["pairs.tsv", "targets.txt"])
def test_a_file_of_bad_rows_alone_says_why_they_are_skipped(capsys: pytest.CaptureFixture[str], name: str) -> None:
    files = {"pairs.tsv": GOOD, "targets.txt": b"x\n"}
    said = refused(capsys, files | {name: files[name].decode().encode("utf-16")}, on_bad_row="skip")
    assert f"data/raw/{name} has no usable row (line 1: byte 1 is not UTF-8, but a file in UTF-16" in said


def test_a_separator_in_the_place_of_tabs_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(capsys, {"pairs.tsv": b"old,new\n", "targets.txt": b"x\n"})
    assert "line 1: 1 tab-separated columns instead of 2 (source, target): are they separated by ','?" in said
