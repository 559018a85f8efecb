"""What a source that someone types or sends must be: a line of text."""

from collections.abc import Sequence

from pipeline.errors import UserError


def check_sources(sources: Sequence[str]) -> None:
    """Raise `UserError` for the first that is empty, is not Unicode, or has a tab, line break or NUL in it."""
    for number, source in enumerate(sources, start=1):
        if not source.strip():
            raise UserError(f"source {number} is empty")
        if any(control in source for control in "\t\n\r\0"):
            raise UserError(f"source {number}, {source!r}, has a tab, line break or NUL in it")
        if any("\ud800" <= character <= "\udfff" for character in source):
            raise UserError(f"source {number}, {source!r}, has bytes in it that are not Unicode text")
