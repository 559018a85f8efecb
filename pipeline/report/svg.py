"""Figures as part of an HTML page: SVG with the page's fonts and colours and without references to other files."""

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
DARK_PALETTE = (
    *("#5aaee0", "#f0b53c", "#2fc495", "#e3a2c5", "#8fd0f4", "#f08a4b"),
    *("#e8e6e3", "#9d93f5", "#d0d065", "#dd6fa5", "#7fe3d2", "#c9945a"),
)
DARK = {"paper": "#17191c", "ink": "#e8e6e3", "muted": "#a3a7ad", "rule": "#363a40"} | {
    f"series-{place}": colour for place, colour in enumerate(DARK_PALETTE)
}

_PROPERTIES = {colour.lower(): f"var(--{name})" for name, colour in LIGHT.items()}
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_REFERENCE = re.compile(r"#([\w.-]+)")


def inline_svg(figure: Figure, name: str, label: str) -> Markup:
    """The figure as an <svg> element; the same figure gives the same text.

    name: unique on the page; it keeps the ids of several figures apart. label: a description for screen readers.
    """
    drawn = BytesIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with any_text(), mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(drawn, format="svg", transparent=True, metadata=nothing)
    text = _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", drawn.getvalue().decode())
    root = ElementTree.fromstring(text)  # noqa: S314 -- what matplotlib has just written
    _drop_global_style(root)
    referred = {name for element in root.iter() for value in element.attrib.values() for name in _references(value)}
    for element in root.iter():
        element.tag = _local(element.tag)
        element.attrib = _cleaned(element.attrib, referred, name)
    width = float(root.attrib["viewBox"].split()[2])
    root.attrib = {"viewBox": root.attrib["viewBox"], "width": f"{SCALE * width:.0f}"}
    root.attrib |= {"role": "img", "aria-label": label}
    return Markup(ElementTree.tostring(root, encoding="unicode"))  # noqa: S704 -- escaped by ElementTree


def _cleaned(attributes: dict[str, str], referred: set[str], name: str) -> dict[str, str]:
    """Attributes without namespaces and unused ids; used ids begin with the name of the figure."""
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
    """Declarations without the font, and with colours as properties of the page."""
    kept = [part for part in declarations.split("; ") if not part.startswith("font-family")]
    return re.sub(r"#[0-9a-f]{6}", lambda match: _PROPERTIES.get(match[0], match[0]), "; ".join(kept))


def _drop_global_style(root: ElementTree.Element) -> None:
    """Remove the style sheet of matplotlib, which would apply to the whole page."""
    for parent in list(root.iter()):
        for child in list(parent):
            if _local(child.tag) in ("style", "metadata"):
                parent.remove(child)


def _references(value: str) -> list[str]:
    return _REFERENCE.findall(value) if value.startswith(("#", "url(#")) else []


def _local(name: str) -> str:
    return name.rpartition("}")[2]
