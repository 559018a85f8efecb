"""The one exception for mistakes of the user, and how commands show errors, logs and output; no traceback for them."""

import logging
import os
import re
import sys
from collections.abc import Callable
from functools import wraps
from io import BufferedWriter, FileIO, TextIOWrapper
from select import select
from typing import TYPE_CHECKING, ParamSpec

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

P = ParamSpec("P")

_TERMINAL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # what a terminal would act on, but for the end of a line
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


class UserError(Exception):
    """A mistake in data, parameters or command line, in sentences for the person who made it."""


def explain_user_errors(command: Callable[P, None], prints_results: bool = False) -> Callable[P, None]:
    """Show logs on standard error, and turn a `UserError` into its message there and exit code 2.

    No output fails the command (see `open_streams`). What standard output could not take costs a warning, because the
    results are in files; it is an error, with exit code 2, if the command `prints_results`.
    """

    @wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        open_streams()
        show_logs()
        try:
            command(*args, **kwargs)
        except UserError as error:
            _end(str(error))
        finally:
            if fault := _output_fault():
                message = f"standard output cannot be written: {fault.strerror}"
                if prints_results:
                    _end(message)
                logging.getLogger(__name__).warning(message)

    return wrapped


def _end(message: str) -> None:
    print(f"error: {_TERMINAL.sub(REPLACEMENT, message)}", file=sys.stderr)
    raise SystemExit(2) from None


def open_streams() -> None:
    """Make standard output and error of this process UTF-8, and unable to fail; a closed one is the null device.

    Streams that were replaced, as tests and notebooks do, stay as they are.
    """
    # UTF-8 for people, too: a locale that names another encoding, or none, is more often a machine that was never set
    # up, or a file that is read elsewhere, than a terminal that cannot show UTF-8; and there, nothing is lost.
    for name in ("stdin", "stdout", "stderr"):  # in the order of their numbers, the lowest of which is opened
        stream = getattr(sys, name)
        if stream is None:
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 -- as long as the process
        elif name != "stdin" and stream is getattr(sys, f"__{name}__"):
            stream.flush()
            buffer = BufferedWriter(_Unfailing(stream.fileno(), "wb", closefd=False))
            by_line = stream.line_buffering or stream.write_through
            lone_surrogates = "backslashreplace"  # of file names that are not UTF-8
            setattr(sys, name, TextIOWrapper(buffer, "utf-8", lone_surrogates, line_buffering=by_line))


class _Unfailing(FileIO):
    """An open file that takes all that is written, and drops it once writing has failed, with the `fault`."""

    fault: OSError | None = None

    def write(self, data: "ReadableBuffer", /) -> int:
        try:
            while self.fault is None:
                if (written := super().write(data)) is not None:
                    return written
                select([], [self], [])  # it does not block by itself
        except OSError as fault:
            self.fault = fault
        return memoryview(data).nbytes


def _output_fault() -> OSError | None:
    """Why standard output lacks something, unless its reader wanted no more."""
    sys.stdout.flush()
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    fault = raw.fault if isinstance(raw, _Unfailing) else None
    return None if isinstance(fault, BrokenPipeError) else fault


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
