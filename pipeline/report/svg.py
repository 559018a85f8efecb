"""Figures as part of an HTML page: SVG with the page's fonts and colours that refers to nothing outside of itself."""

import re
from io import BytesIO
from xml.etree import ElementTree

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.figure import Figure

from pipeline.report.figures import GRID, INK, MUTED, PALETTE, any_text

SCALE = 1.7  # pixels of a wide page for each point of a figure

# Custom properties of the page's style sheet, on light paper and in the dark; a strategy has `series-` and its place.
LIGHT = {"paper": "#ffffff", "ink": INK, "muted": MUTED, "rule": GRID} | {
    f"series-{place}": colour for place, colour in enumerate(PALETTE)
}
DARK = {"paper": "#17191c", "ink": "#e8e6e3", "muted": "#a3a7ad", "rule": "#363a40"} | {
    f"series-{place}": colour
    for place, colour in enumerate(("#5aaee0", "#f0b53c", "#2fc495", "#e3a2c5", "#8fd0f4", "#f08a4b", "#e8e6e3"))
}

_PROPERTIES = {colour.lower(): f"var(--{name})" for name, colour in LIGHT.items()}
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_REFERENCE = re.compile(r"#([\w.-]+)")


def inline_svg(figure: Figure, name: str, label: str) -> Markup:
    """The figure as an <svg> element; label: what somebody who does not see it is told.

    name: of its own on the page; it keeps the ids of several figures apart. The same figure gives the same text.
    """
    drawn = BytesIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with any_text(), mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(drawn, format="svg", transparent=True, metadata=nothing)
    text = _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", drawn.getvalue().decode())
    root = ElementTree.fromstring(text)  # noqa: S314 -- what matplotlib has just written
    _drop_global_style(root)
    referred = {found for element in root.iter() for value in element.attrib.values() for found in _references(value)}
    for element in root.iter():
        element.tag = _local(element.tag)
        element.attrib = _cleaned(element.attrib, referred, name)
    width = float(root.attrib["viewBox"].split()[2])
    root.attrib = {"viewBox": root.attrib["viewBox"], "width": f"{SCALE * width:.0f}"}
    root.attrib |= {"role": "img", "aria-label": label}
    return Markup(ElementTree.tostring(root, encoding="unicode"))  # noqa: S704 -- escaped by ElementTree


def _cleaned(attributes: dict[str, str], referred: set[str], name: str) -> dict[str, str]:
    """Without namespaces, without ids that nothing refers to; the other ids behind the name of the figure."""
    cleaned = {}
    for key, value in attributes.items():
        key = _local(key)
        if key == "id":
            if value in referred:
                cleaned[key] = f"{name}-{value}"
        elif key == "style":
            cleaned[key] = _style(value)
        else:
            cleaned[key] = _REFERENCE.sub(rf"#{name}-\1", value) if list(_references(value)) else value
    return cleaned


def _style(declarations: str) -> str:
    """Without the font, which is the page's, and with its colours by name."""
    kept = [part for part in declarations.split("; ") if not part.startswith("font-family")]
    return re.sub(r"#[0-9a-f]{6}", lambda found: _PROPERTIES.get(found[0], found[0]), "; ".join(kept))


def _drop_global_style(root: ElementTree.Element) -> None:
    """Matplotlib's style sheet would be one of the whole page, which has its own."""
    for parent in list(root.iter()):
        for child in list(parent):
            if _local(child.tag) in ("style", "metadata"):
                parent.remove(child)


def _references(value: str) -> list[str]:
    return _REFERENCE.findall(value) if value.startswith(("#", "url(#")) else []


def _local(name: str) -> str:
    return name.rpartition("}")[2]
