"""Numbers and any text as markdown."""

import pytest

from pipeline.report.markdown import escape, markdown_table, p_value_text, points


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("two_stage", "two_stage"),
        ("_a_ b", r"\_a\_ b"),
        ("a|b", r"a\|b"),
        ("$x$ *y* `z`", r"\$x\$ \*y\* \`z\`"),
        ("<script>&amp;", "&lt;script&gt;&amp;amp;"),
        ("a\nb\x00\ud800\u202e", "a\ufffdb\ufffd\ufffd\ufffd"),
        ("https://a.b WWW.c.d e@f.g", r"https\://a.b WWW\.c.d e\@f.g"),
        ("", "*(empty)*"),
        ("naïve 漢字 👍🏽", "naïve 漢字 👍🏽"),
    ],
)
def test_any_text_is_literal_in_markdown(text: str, escaped: str) -> None:
    assert escape(text) == escaped


def test_markdown_table_is_aligned() -> None:
    assert markdown_table(["name", "n"], [["a", "1,000"], ["long|er", "2"]]) == (
        "| name     |     n |\n| -------- | ----: |\n| a        | 1,000 |\n| long\\|er |     2 |\n"
    )


def test_small_numbers_read_well() -> None:
    assert [points(value) for value in (0.0194, -0.0194, -0.0001, 0.0)] == ["+1.9", "-1.9", "0.0", "0.0"]
    assert [p_value_text(value) for value in (0.61234, 0.0123, 1 / 10_001)] == ["0.61", "0.012", "≤ 0.0001"]
