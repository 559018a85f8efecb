"""What a source that someone types or sends must be: a line of text."""

from collections.abc import Sequence

from pipeline.config.problems import shown
from pipeline.data.alphabet import composed, is_unicode
from pipeline.errors import UserError


def check_sources(sources: Sequence[str]) -> None:
    """Raise `UserError` for the first that cannot be a source.

    It is empty, is not Unicode, has a tab, line break or NUL in it, or so many combining marks in a row that no script
    has.
    """
    for number, source in enumerate(sources, start=1):
        if (fault := fault_of(source)) is not None:
            name = f"source {number}, {shown(source)}," if source.strip() else f"source {number}"
            raise UserError(f"{name} {fault}")


def fault_of(source: str) -> str | None:
    """Why a string cannot be a source, in words that follow its name; None if it can be one."""
    if not source.strip():
        return "is empty"
    if any(control in source for control in "\t\n\r\0"):
        return "has a tab, line break or NUL in it"
    if not is_unicode(source):
        return "has bytes in it that are not Unicode text"
    try:
        composed(source)
    except ValueError as error:
        return f"has {error}"
    return None
