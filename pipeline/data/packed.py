"""Files that may be compressed, opened for what their first bytes say they are, whatever their name."""

import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

from pipeline.errors import UserError

ENDINGS = (".gz", ".bz2", ".xz")  # in any case
READ_ERRORS = (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError)  # of the files that are opened here

_COMPRESSIONS: dict[str, tuple[bytes, Callable[[IO[bytes]], Any]]] = {
    ".gz": (b"\x1f\x8b", gzip.open),
    ".bz2": (b"BZh", bz2.open),
    ".xz": (b"\xfd7zXZ\0", lzma.open),
}

# What people give in the place of text, and what to do with it.
_NOT_TEXT = {
    b"PK\x03\x04": "a ZIP archive or a spreadsheet: unpack it, or export the sheet as text with tabs",
    b"\xd0\xcf\x11\xe0": "an Office document: export its table as text with tabs",
    b"PAR1": "a Parquet file: name it .parquet for `tandem predict --input`, or else export its columns as text",
    b"ARROW1": "an Arrow file: export its columns as text",
    b"SQLite format 3": "a SQLite database: export its columns as text",
    b"%PDF": "a PDF: copy its text into a text file",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive: unpack it",
    b"\x28\xb5\x2f\xfd": "compressed with Zstandard: unpack it, or compress it with gzip, bzip2 or xz",
}


@contextmanager
def open_unpacked(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for reading, and unpack it on the way if it is compressed.

    Raises `UserError` for a file that is no text, saying what it is. Opening and reading may raise `READ_ERRORS`.
    """
    with path.open("rb") as file:
        first = file.peek(max(map(len, _NOT_TEXT)))  # a pipe can be peeked at, but has no way back
        for beginning, kind in _NOT_TEXT.items():
            if first.startswith(beginning):
                raise UserError(f"{path} is {kind}")
        for ending, (beginning, opener) in _COMPRESSIONS.items():
            if first.startswith(beginning) or (first and path.suffix.lower() == ending):
                with cast(IO[bytes], opener(file)) as unpacked:
                    yield unpacked
                return
        yield file


def is_packed(file: IO[bytes]) -> bool:
    """Whether an opened file is unpacked on the way."""
    return isinstance(file, (gzip.GzipFile, bz2.BZ2File, lzma.LZMAFile))
