"""What looks wrong in the files of a corpus."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.config.options import Rows, Symbols
from pipeline.config.params import Data, Prepare
from pipeline.data.checks import look_at_list
from pipeline.data.corpus import read_corpus
from pipeline.data.prepared import Prepared, write_prepared

WORDS = [a + b + c for a in "dfgkl" for b in "aeiou" for c in "mnprs"]
PAIRS = [(word.upper(), word) for word in WORDS]
GREEK = str.maketrans("dfgklaeioumnprs", "δφγκλαεηιουμνπρ")
Rows_ = list[tuple[str, str]]


@pytest.fixture(autouse=True)
def _in_a_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("data/raw").mkdir(parents=True)


def notes(
    pairs: Rows_ = PAIRS, targets: list[str] = WORDS, rows: Rows = Rows.WORDS, kind: str = "characters", **files: Any
) -> list[str]:
    """The notes about such files."""
    paths: dict[str, Any] = dict.fromkeys(("sources", "dev", "test")) | {
        name: Path(f"data/raw/{name}.tsv") for name in ("pairs", *files)
    }
    for name, content in {"pairs": pairs, **files}.items():
        text = "".join(f"{source}\t{target}\n" for source, target in content)
        Path(f"data/raw/{name}.tsv").write_text(text, encoding="utf-8")
    Path("data/raw/targets.txt").write_text("".join(f"{target}\n" for target in targets), encoding="utf-8")
    symbols = Symbols(kind)
    kinds: dict[str, Any] = {"source_symbols": symbols, "target_symbols": symbols}
    data = Data("files", **paths, targets=Path("data/raw/targets.txt"), rows=rows, **kinds)
    prepare = Prepare(
        pairs=None, resamples=1, sample=0, dev=10, test=10, targets=None, sources=None, hold_out_targets=False,
        on_bad_row="skip", strict=False, max_symbols=60, seed=0,
    )  # fmt: skip
    corpus = read_corpus(data, prepare)
    write_prepared(Path("prepared"), corpus, symbols, symbols)
    return [*corpus.notes, *look_at_list(Prepared.open(Path("prepared")), data)]


def only(found: list[str], start: str) -> str:
    (note,) = found
    assert note.startswith(start)
    return note


def test_files_in_order_get_no_note() -> None:
    assert notes() == []


def test_sources_in_the_script_of_targets_get_no_note() -> None:
    assert notes([(f"{word}e", word) for word in WORDS]) == []


@pytest.mark.parametrize("source", [str.upper, lambda word: word.translate(GREEK), lambda word: f"{word}e"])
def test_swapped_columns_are_noticed(source: Callable[[str], str]) -> None:
    swapped = [(word, source(word)) for word in WORDS]
    only(notes(swapped), "data/raw/targets.txt: it ").index("are the columns of data/raw/pairs.tsv swapped")


def test_a_list_in_another_script_is_noticed() -> None:
    greek = [word.translate(GREEK) for word in WORDS]
    only(notes(targets=greek), "data/raw/targets.txt: it lacks 100% of the symbols").index("in another script")


def test_a_list_of_other_symbols_is_noticed() -> None:
    spaced = [(" ".join(source), " ".join(target)) for source, target in PAIRS]
    only(notes(spaced, kind="spaces"), "data/raw/targets.txt: it lacks").index("data.target_symbols")


def test_a_list_with_a_text_in_each_line_is_noticed() -> None:
    texts = [" ".join(WORDS[start : start + 10]) for start in range(0, 120, 10)]
    only(notes(targets=texts), "data/raw/targets.txt: its rows have 39 symbols on average").index("one target a line")


@pytest.mark.parametrize(("around", "symbol"), [('"{}"', '"'), ("{},1", ","), ("  12 {}", " ")])
def test_what_is_around_targets_of_one_file_alone_is_noticed(around: str, symbol: str) -> None:
    listed, paired = [around.format(word) for word in WORDS], [(word.upper(), around.format(word)) for word in WORDS]
    only(
        notes(targets=listed),
        f"data/raw/targets.txt: most targets have {symbol!r}, but none has it in data/raw/pairs.tsv",
    )
    only(notes(paired), f"data/raw/pairs.tsv: most targets have {symbol!r}, but none has it in data/raw/targets.txt")
    assert notes(paired, listed) == []


@pytest.mark.parametrize("name", ["dev", "test"])
def test_a_file_that_repeats_the_pairs_is_noticed(name: str) -> None:
    same: Any = {name: PAIRS}
    half: Any = {name: [*PAIRS[:50], *[(f"{word}a".upper(), f"{word}a") for word in WORDS[:60]]]}
    only(notes(**same), f"data/raw/{name}.tsv: 100% of its rows are in data/raw/pairs.tsv as well")
    assert notes(**half) == []


def test_running_text_may_repeat_most_rows_but_not_all() -> None:
    mostly = [*PAIRS, ("NEU", "neu")]
    assert notes(dev=mostly, rows=Rows.RUNNING_TEXT) == []
    assert notes(dev=PAIRS, rows=Rows.RUNNING_TEXT) != []


@pytest.mark.parametrize("name", ["dev", "test"])
@pytest.mark.parametrize("source", [str.upper, lambda word: f"{word}e"])
def test_swapped_columns_of_dev_or_test_are_noticed(name: str, source: Callable[[str], str]) -> None:
    pairs = [(source(word), word) for word in WORDS]
    swapped: Any = {name: [(f"{word}a", source) for source, word in pairs[:40]] + [(t, s) for s, t in pairs[40:]]}
    straight: Any = {name: [(source(f"{word}{word}"), f"{word}{word}") for word in WORDS]}
    only(notes(pairs, **swapped), f"data/raw/{name}.tsv: ").index("are its columns swapped")
    assert notes(pairs, **straight) == []


def test_a_dev_file_that_is_the_test_file_is_noticed() -> None:
    other = [(f"{word}a".upper(), f"{word}a") for word in WORDS]
    only(notes(dev=other, test=other), "data/raw/dev.tsv: 100% of its rows are in data/raw/test.tsv as well")


@pytest.mark.parametrize("header", [("source", "target"), ("Old spelling", "tgt_word"), ("#word", "xyz")])
def test_a_header_is_noticed(header: tuple[str, str]) -> None:
    only(notes([header, *PAIRS]), f"data/raw/pairs.tsv: its first row looks like a header, '{header[0]}\\t{header[1]}'")


def test_a_header_needs_titles_or_symbols_of_its_own_in_both_columns() -> None:
    assert notes([("DAFK", "xyz"), *PAIRS]) == []


def test_a_word_above_symbols_with_spaces_is_a_header() -> None:
    spaced = [(" ".join(source), " ".join(target)) for source, target in PAIRS]
    listed = [target for _, target in spaced]
    only(notes([("Wort", "L a u t"), *spaced], listed, kind="spaces"), "data/raw/pairs.tsv: its first row looks like a")
    assert notes([("D A FK", "d a x"), *spaced], listed, kind="spaces") == []


def test_a_header_in_another_script_is_noticed() -> None:
    greek = [(word.translate(GREEK).upper(), word.translate(GREEK)) for word in WORDS]
    found = notes([("alt", "neu"), *greek], [target for _, target in greek])
    only(found, "data/raw/pairs.tsv: its first row looks like a header")


def test_a_first_row_of_symbols_of_its_own_is_no_header_where_others_are_so_too() -> None:
    chinese = ["".join(chr(start + place) for place in range(3)) for start in range(0x4E00, 0x4E60, 3)]
    assert notes(list(zip(chinese, chinese[1:] + chinese[:1], strict=True)), chinese) == []


def test_a_header_of_the_list_is_noticed() -> None:
    only(notes(targets=["Word", *WORDS]), "data/raw/targets.txt: its first row looks like a header")


@pytest.mark.parametrize("character", ["\u200b", "\ufeff", "\u00ad", "\u202e", "\u3164", "\u200c", "\x85x"])
def test_characters_that_nobody_sees_are_noticed_with_their_line(character: str) -> None:
    pairs = [*PAIRS[:7], (f"A{character}B", "ab"), (f"{character}C", "cd"), *PAIRS[7:]]
    shown = f"U+{ord(character[0]):04X}"
    if character[0].isspace():
        assert notes(pairs) == []
    else:
        only(notes(pairs), "data/raw/pairs.tsv: line 8 and 1 more with characters that nobody sees").index(shown)
        only(notes(targets=[*WORDS, f"x{character}"]), "data/raw/targets.txt: line 126 with characters").index(shown)


def test_joiners_belong_to_scripts() -> None:
    assert notes([*PAIRS, ("क्\u200dष", "می\u200cروم"), ("👩\u200d🚀", "ნ\u200d")]) == []


def test_sources_that_are_their_targets_are_noticed() -> None:
    only(notes([(word, word) for word in WORDS]), "data/raw/pairs.tsv: every source is its own target")


def test_words_that_repeat_as_in_a_text_are_noticed() -> None:
    only(notes(PAIRS * 3), "data/raw/pairs.tsv: most rows repeat others").index("data.rows: running_text")
    assert notes(PAIRS * 3, rows=Rows.RUNNING_TEXT) == []
