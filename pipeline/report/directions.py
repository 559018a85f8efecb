"""Directions of writing: from right to left in scripts such as Arabic and Hebrew."""

from unicodedata import bidirectional

FROM_RIGHT = ("R", "AL")


def is_right_to_left(text: str) -> bool:
    """Whether a text as a whole is written from right to left: its first letter decides.

    Source: Unicode Standard Annex 9, "Unicode Bidirectional Algorithm", rule P2.
    """
    strong = (direction for direction in map(bidirectional, text) if direction in ("L", *FROM_RIGHT))
    return next(strong, "L") in FROM_RIGHT


def isolated(text: str) -> str:
    """Text from right to left for a line from left to right: it changes nothing around it. Other text as it is."""
    if any(bidirectional(character) in (*FROM_RIGHT, "AN") for character in text):
        return f"\N{FIRST STRONG ISOLATE}{text}\N{POP DIRECTIONAL ISOLATE}"
    return text
