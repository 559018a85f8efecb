"""Figures as elements of a page."""

import re
from xml.etree import ElementTree

from matplotlib.figure import Figure

from pipeline.report.figures import INK, PALETTE, styles
from pipeline.report.svg import DARK, LIGHT, inline_svg


def figure(text: str = "a") -> Figure:
    made = Figure(figsize=(2, 2), layout="constrained")
    axes = made.add_subplot()
    axes.plot([0, 1], [0, 1], **styles(["supervised"])["supervised"])
    axes.set_xlabel(text, color=INK)
    return made


def test_what_is_drawn_is_one_element_without_names_of_namespaces() -> None:
    root = ElementTree.fromstring(inline_svg(figure(), "name", "what it shows"))
    assert root.tag == "svg"
    assert (root.attrib["role"], root.attrib["aria-label"]) == ("img", "what it shows")
    assert "xmlns" not in inline_svg(figure(), "name", "")
    assert not list(root.iter("style"))


def test_two_figures_on_a_page_share_no_id_and_every_reference_has_its_own() -> None:
    found = [inline_svg(figure(), name, "") for name in ("one", "two")]
    ids = [set(re.findall(r'id="(.*?)"', text)) for text in found]
    assert ids[0]
    assert not ids[0] & ids[1]
    for text, own in zip(found, ids, strict=True):
        referred = set(re.findall(r'href="#(.*?)"', text)) | set(re.findall(r"url\(#(.*?)\)", text))
        assert referred == own


def test_text_stays_text_in_the_font_and_the_colours_of_the_page() -> None:
    drawn = inline_svg(figure("words right"), "name", "")
    assert ">words right</text>" in drawn
    assert "font-family" not in drawn
    assert "var(--ink)" in drawn
    assert "var(--series-0)" in drawn
    assert not re.findall("#[0-9a-f]{6}", drawn)


def test_hostile_text_is_escaped_in_drawing_and_label() -> None:
    hostile = "</svg><script>alert('\"')</script>\ufffe\x01"
    drawn = inline_svg(figure(hostile), "name", hostile.replace("\x01", ""))
    root = ElementTree.fromstring(drawn.replace("\ufffe", ""))
    assert "<script" not in drawn
    assert any("<script>alert('\"')</script>" in (element.text or "") for element in root.iter("text"))


def test_the_same_figure_gives_the_same_text() -> None:
    assert inline_svg(figure(), "name", "") == inline_svg(figure(), "name", "")


def test_the_dark_page_has_every_colour_of_the_light_one() -> None:
    assert set(DARK) == set(LIGHT)
    assert len(set(LIGHT.values())) == len(LIGHT)  # a colour of a figure says which property it is
    assert {f"series-{place}" for place in range(len(PALETTE))} <= set(LIGHT)
