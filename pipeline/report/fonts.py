"""Fonts for the text of a figure: installed ones, for characters that matplotlib's own font lacks."""

import logging
import unicodedata
from functools import cache

import matplotlib as mpl
from fontTools.unicodedata import script, script_name
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, findSystemFonts, fontManager, get_font, ttfFontProperty
from matplotlib.ft2font import FT2Font
from matplotlib.text import Text

logger = logging.getLogger(__name__)

# Debian's packages with fonts for East Asian scripts, for characters that belong to no script, and for all others.
EAST_ASIAN, SYMBOLS, NOTO = "fonts-noto-cjk", "fonts-symbola", "fonts-noto-core"
PACKAGES = dict.fromkeys(("Han", "Hangul", "Hiragana", "Katakana", "Bopomofo"), EAST_ASIAN)
PACKAGES |= dict.fromkeys(("Common", "Inherited", "Unknown"), SYMBOLS)
LAST_RESORT = "LastResort"  # has a box with a number for every character


def choose_fonts(figure: Figure) -> None:
    """Give each text of a figure with characters that its font lacks families of installed fonts that have them.

    A script that no installed font has is named in a warning, once in a process; its characters are drawn as boxes.
    """
    texts = [text for text in figure.findobj(Text) if isinstance(text, Text) and not text.get_text().isascii()]
    missing = {text: _missing(text) for text in texts}
    family_of = _families(frozenset().union(*missing.values()))
    for text, characters in missing.items():
        families = dict.fromkeys(family_of[character] for character in characters if character in family_of)
        # Before its own font: marks and joiners that both have are to be of the font of their letters.
        text.set_fontfamily([*families, *text.get_fontfamily()])


def forget_fonts(figure: Figure, reason: Exception) -> None:
    """Undo `choose_fonts`, because a font that it chose could not be drawn, with a warning."""
    logger.warning("an installed font is damaged (%s): PNG files show boxes for the characters it has", reason)
    for text in figure.findobj(Text):
        if isinstance(text, Text):
            text.set_fontfamily(mpl.rcParams["font.family"])


def _missing(text: Text) -> list[str]:
    """The visible characters that the font of a text lacks, in their order."""
    font = get_font(findfont(text.get_fontproperties()))
    visible = (one for one in text.get_text() if not one.isspace() and unicodedata.category(one) not in ("Cc", "Cf"))
    return [one for one in visible if not font.get_char_index(ord(one))]


@cache
def _families(characters: frozenset[str]) -> dict[str, str]:
    """Families of as few installed fonts as have these characters, by character.

    Nothing but the fonts that are installed decides which they are.
    """
    families: dict[str, str] = {}
    if not characters:
        return families
    paths = {*findSystemFonts(), *(font.fname for font in fontManager.ttflist)}
    drawable = {path: _drawable(path, characters) for path in sorted(paths) if LAST_RESORT not in path}
    while missing := characters - families.keys():
        path = max(drawable, key=lambda path: (len(drawable[path] & missing), "Sans" in path and "Regular" in path))
        if not drawable[path] & missing:
            break
        if path not in (font.fname for font in fontManager.ttflist):  # installed since matplotlib listed all
            fontManager.addfont(path)
        families |= dict.fromkeys(drawable[path] & missing, FT2Font(path).family_name)
    for name in sorted({script_name(script(character)) for character in missing}):
        _warn(name)
    return families


def _drawable(path: str, characters: frozenset[str]) -> frozenset[str]:
    """Those of the characters that a font can draw: none if it is damaged or has bitmaps alone."""
    try:
        font = FT2Font(path)
        glyphs = {one: glyph for one in characters if (glyph := font.get_char_index(ord(one)))}
        if glyphs:
            ttfFontProperty(font)  # which raises if matplotlib cannot list it
            font.set_size(10, 72)
        for glyph in glyphs.values():
            font.load_glyph(glyph)
        return frozenset(glyphs)
    except (OSError, RuntimeError, ValueError, NotImplementedError):
        return frozenset()


@cache
def _warn(name: str) -> None:
    package = PACKAGES.get(name, NOTO)
    what = "some symbols" if package == SYMBOLS else f"the script {name}"
    remedy = f"Install one, such as Debian's {package}"
    logger.warning("no installed font has %s: PNG files show boxes instead, index.html does not. %s", what, remedy)
