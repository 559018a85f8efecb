"""Directions of writing."""

import pytest

from pipeline.report.directions import is_right_to_left, isolated


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("שלום abc", True),
        ("abc שלום", False),
        ("^كتاب$", True),
        ("\N{DOTTED CIRCLE}\u064e", False),
        ("12 → 3", False),
        ("", False),
    ],
)
def test_the_first_letter_decides_the_direction(text: str, expected: bool) -> None:
    assert is_right_to_left(text) == expected


def test_only_text_from_right_to_left_is_isolated() -> None:
    assert isolated("^[क]") == "^[क]"
    assert isolated("a[ب]") == "\N{FIRST STRONG ISOLATE}a[ب]\N{POP DIRECTIONAL ISOLATE}"
