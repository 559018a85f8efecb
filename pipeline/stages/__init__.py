"""The DVC stages: each reads files, calls the package and writes files."""

import argparse
import signal
import sys
from collections.abc import Iterator, Sequence
from typing import TypeVar

from rich.console import Console
from rich.progress import track

T = TypeVar("T")


def seed_argument(description: str | None) -> int:
    """The seed that a stage was called with."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--seed", type=int, required=True)
    return int(parser.parse_args().seed)


def end_on_sigterm() -> None:
    """From now on SIGTERM ends this process as Ctrl-C does, cleaning up."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


def watched(steps: Sequence[T], title: str) -> Iterator[T]:
    """The steps one by one, on a terminal with a progress bar."""
    yield from track(steps, title, console=Console(stderr=True), disable=not sys.stderr.isatty())
