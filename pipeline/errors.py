"""The one exception for mistakes of the user, and how commands show errors and logs; no traceback for bad input."""

import logging
import re
import sys
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

P = ParamSpec("P")

_TERMINAL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # what a terminal would act on, but for the end of a line
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


class UserError(Exception):
    """A mistake in data, parameters or command line, in sentences for the person who made it."""


def explain_user_errors(command: Callable[P, None]) -> Callable[P, None]:
    """Show logs on standard error, and turn a `UserError` into its message there and exit code 2."""

    @wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        show_logs()
        try:
            command(*args, **kwargs)
        except UserError as error:
            print(f"error: {_TERMINAL.sub(REPLACEMENT, str(error))}", file=sys.stderr)
            raise SystemExit(2) from None

    return wrapped


def show_logs() -> None:
    """Write what this package logs, from INFO on, to standard error; warnings begin with `warning: `."""
    logger = logging.getLogger(__package__)
    if not logger.handlers:
        logger.addHandler(_StandardError())
        logger.setLevel(logging.INFO)
        logger.propagate = False


class _StandardError(logging.Handler):
    """Writes through rich: coloured on a terminal, plain text elsewhere, and never wrapped."""

    def emit(self, record: logging.LogRecord) -> None:
        from rich.console import Console  # here, because most commands log nothing

        label, style = ("warning: ", "yellow") if record.levelno >= logging.WARNING else ("", "")
        text = _TERMINAL.sub(REPLACEMENT, label + record.getMessage())
        console = Console(file=sys.stderr, soft_wrap=True)  # standard error as it is now
        console.print(text, style=style, markup=False, highlight=False, emoji=False)
