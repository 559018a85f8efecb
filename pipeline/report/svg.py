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
_REFERENCE = re.compile(r"^(#|url\(#)([\w.-]+)")
_COLOUR = re.compile("#[0-9a-f]{6}")


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
    for parent in list(root.iter()):
        for child in list(parent):
            if _local(child.tag) in ("style", "metadata"):  # a style sheet would apply to the whole page
                parent.remove(child)
    values = [value for element in root.iter() for value in element.attrib.values()]
    referred = {match[2] for value in values if (match := _REFERENCE.match(value))}
    for element in root.iter():
        element.tag = _local(element.tag)
        attributes = {_local(key): _REFERENCE.sub(rf"\1{name}-\2", value) for key, value in element.attrib.items()}
        if attributes.get("id") in referred:
            attributes["id"] = f"{name}-{attributes['id']}"
        else:
            attributes.pop("id", None)
        if "style" in attributes:
            kept = [part for part in attributes["style"].split("; ") if not part.startswith("font-family")]
            attributes["style"] = _COLOUR.sub(lambda match: _PROPERTIES.get(match[0], match[0]), "; ".join(kept))
        element.attrib = attributes
    width = float(root.attrib["viewBox"].split()[2])
    root.attrib = {"viewBox": root.attrib["viewBox"], "width": f"{SCALE * width:.0f}"}
    root.attrib |= {"role": "img", "aria-label": label}
    return Markup(ElementTree.tostring(root, encoding="unicode"))  # noqa: S704 -- escaped by ElementTree


def _local(name: str) -> str:
    return name.rpartition("}")[2]
