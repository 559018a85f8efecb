"""The one exception for mistakes of the user; it leaves modelling errors to Python's own."""

import re
import sys
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

P = ParamSpec("P")

_TERMINAL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # what a terminal would act on, but for the end of a line
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


class UserError(Exception):
    """A mistake in data, parameters or command line, said in sentences for the person who made it."""


def explain_user_errors(command: Callable[P, None]) -> Callable[P, None]:
    """Turn a `UserError` into its message on standard error and exit code 2, without a traceback."""

    @wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except UserError as error:
            print(f"error: {_TERMINAL.sub(REPLACEMENT, str(error))}", file=sys.stderr)
            raise SystemExit(2) from None

    return wrapped
