"""Files that may be compressed, opened for what their first bytes say they are, whatever their name."""

import bz2
import gzip
import lzma
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

from pipeline.errors import UserError

ENDINGS = (".gz", ".bz2", ".xz")  # in any case
READ_ERRORS = (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError)  # of the files that are opened here

_COMPRESSIONS: dict[str, tuple[bytes, Callable[[IO[bytes]], Any]]] = {
    ".gz": (rb"\x1f\x8b\x08", gzip.open),
    ".bz2": (rb"BZh[1-9](1AY&SY|\x17rE8P\x90)", bz2.open),
    ".xz": (rb"\xfd7zXZ\0", lzma.open),
}

# The first bytes of what people give in the place of text, and what to do with it.
_NOT_TEXT = {
    rb"PK(\x03\x04|\x05\x06)": "a ZIP archive or a spreadsheet: unpack it, or export the sheet as text with tabs",
    rb"\xd0\xcf\x11\xe0": "an Office document: export its table as text with tabs",
    rb"PAR1\x15": "a Parquet file: name it .parquet for `tandem predict --input`, or else export its columns as text",
    rb"ARROW1\0\0": "an Arrow file: export its columns as text",
    rb"SQLite format 3\0": "a SQLite database: export its columns as text",
    rb"%PDF-\d": "a PDF: copy its text into a text file",
    rb"7z\xbc\xaf\x27\x1c": "a 7z archive: unpack it",
    rb"\x28\xb5\x2f\xfd": "compressed with Zstandard: unpack it, or compress it with gzip, bzip2 or xz",
    rb"(?s).{257}ustar": "a tar archive: unpack it",
}
_LONGEST = 512  # bytes of a file that tell what it is


@contextmanager
def open_unpacked(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for reading, and unpack it on the way if it is compressed.

    Raises `UserError` for a file that is no text, saying what it is. Opening and reading may raise `READ_ERRORS`.
    """
    with path.open("rb") as file:
        first = _first_bytes(file, path)
        for ending, (magic, opener) in _COMPRESSIONS.items():
            if re.match(magic, first) or (first and path.suffix.lower() == ending):
                with cast(IO[bytes], opener(file)) as unpacked:
                    _first_bytes(unpacked, path)
                    yield unpacked
                return
        yield file


def _first_bytes(file: Any, path: Path) -> bytes:
    """The first bytes of a file, which may be a pipe, as long as there are any; raises `UserError` if it is no text."""
    first: bytes = file.peek(_LONGEST)
    for magic, kind in _NOT_TEXT.items():
        if re.match(magic, first):
            raise UserError(f"{path} is {kind}")
    return first


def is_packed(file: IO[bytes]) -> bool:
    """Whether an opened file is unpacked on the way."""
    return isinstance(file, (gzip.GzipFile, bz2.BZ2File, lzma.LZMAFile))


def pack(content: bytes, path: Path) -> bytes:
    """Compress the content of a file as its name says; equal content gives equal bytes."""
    match path.suffix.lower():
        case ".gz":
            return gzip.compress(content, mtime=0)
        case ".bz2":
            return bz2.compress(content)
        case ".xz":
            return lzma.compress(content)
    return content
