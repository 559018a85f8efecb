"""Which fonts the text of a figure gets."""

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, fontManager, get_font
from matplotlib.image import imread
from matplotlib.text import Text

from pipeline.report import fonts
from pipeline.report.figures import save

NOWHERE = "\U00100000"  # for private use: no font has it
IN_STIX = "\ue000"  # of matplotlib's own fonts STIXNonUnicode has it, the default one does not
DEVANAGARI = "क्षत्रिय"


@pytest.fixture(autouse=True)
def _nothing_known(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each test looks for fonts, and warns, as a new process does, and lists fonts for itself alone."""
    monkeypatch.setattr(logging.getLogger("pipeline"), "propagate", True)
    monkeypatch.setattr(fontManager, "ttflist", list(fontManager.ttflist))
    forget()
    yield
    forget()


def forget() -> None:
    fonts._families.cache_clear()
    fonts._warn.cache_clear()


def drawn(path: Path, *texts: str) -> list[Text]:
    figure = Figure(figsize=(3, 1))
    labels = [figure.text(0.1, 0.2 * place, text) for place, text in enumerate(texts)]
    save(figure, path)
    return labels


def test_text_gets_a_font_for_what_its_own_one_lacks(tmp_path: Path) -> None:
    lacking, plain = drawn(tmp_path / "a.png", f"a{IN_STIX}", "aé")
    family, *own = lacking.get_fontfamily()
    assert get_font(findfont(family)).get_char_index(ord(IN_STIX))
    assert own == plain.get_fontfamily() == ["sans-serif"]


def test_text_of_the_same_font_needs_no_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def search() -> list[str]:
        raise AssertionError

    monkeypatch.setattr(fonts, "findSystemFonts", search)
    drawn(tmp_path / "a.png", "Größe → ∅ ␣ привет")


def test_a_script_without_a_font_is_named_once_with_what_to_install(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fonts, "findSystemFonts", list)
    listed = [font for font in fontManager.ttflist if "matplotlib" in font.fname]
    monkeypatch.setattr(fontManager, "ttflist", listed)
    for _ in range(2):
        drawn(tmp_path / "a.png", DEVANAGARI, f"{DEVANAGARI}漢字")
    devanagari, han = caplog.messages
    assert "no installed font has the script Devanagari: PNG files show boxes" in devanagari
    assert "fonts-noto-core" in devanagari
    assert "script Han:" in han
    assert "fonts-noto-cjk" in han


def test_damaged_fonts_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (whole,) = {font.fname for font in fontManager.ttflist if font.fname.endswith("STIXNonUni.ttf")}
    content = Path(whole).read_bytes()
    damaged = {"empty.ttf": b"", "no-font.ttf": b"x" * 999, "cut-off.ttf": content[: len(content) // 4]}
    for name, part in damaged.items():
        (tmp_path / name).write_bytes(part)
    shutil.copy(whole, tmp_path / "whole.ttf")
    paths = [str(tmp_path / name) for name in (*damaged, "missing.ttf", "whole.ttf")]
    monkeypatch.setattr(fonts, "findSystemFonts", lambda: paths)
    drawn(tmp_path / "a.png", IN_STIX)
    assert imread(tmp_path / "a.png").std() > 0
    all_of_it = frozenset(map(chr, range(ord(IN_STIX), ord(IN_STIX) + 256)))
    assert [bool(fonts._drawable(path, all_of_it)) for path in paths] == [*[False] * 4, True]


def test_a_font_that_fails_while_drawing_is_done_without(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Damaged(Text):
        def draw(self, *arguments: Any, **options: Any) -> None:
            if len(self.get_fontfamily()) > 1:
                raise RuntimeError("raster overflow")
            super().draw(*arguments, **options)

    figure = Figure(figsize=(3, 1))
    figure.add_artist(Damaged(0.1, 0.1, IN_STIX))
    save(figure, tmp_path / "a.png")
    assert imread(tmp_path / "a.png").std() > 0
    assert caplog.messages[-1].startswith("an installed font is damaged (raster overflow)")


def test_what_no_font_has_is_drawn_the_same_every_time(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        drawn(tmp_path / name, f"{NOWHERE}a{IN_STIX}\u0301 {DEVANAGARI} \u200d ខ្មែរ")
        forget()
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_an_installed_font_draws_its_script(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    if not any(fonts._drawable(path, frozenset("क")) for path in fonts.findSystemFonts()):
        pytest.skip("no installed font has Devanagari (Debian: apt-get install fonts-noto-core)")
    (label,) = drawn(tmp_path / "a.png", DEVANAGARI)
    font = get_font(findfont(label.get_fontfamily()[0]))
    assert all(font.get_char_index(ord(character)) for character in DEVANAGARI)
    assert not caplog.messages
