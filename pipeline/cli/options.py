"""What the options of several commands share."""

from typing import Any

import typer

LAST_REPRO, THIS_MACHINE = "as in the last `dvc repro`.", "this machine alone."
NO_KNOWN = "Ask the model even for sources whose targets are in data/known.tsv."


def option(text: str, default: str, *names: str, **limits: Any) -> Any:
    """An option of typer whose help says its default in words."""
    return typer.Option(*names, help=f"{text} Default: {default}", **limits)
