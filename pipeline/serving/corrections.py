"""The file that corrections from the page are appended to: a TSV of source and target, as `tandem add` takes it."""

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from threading import Lock

from pipeline.config.options import Symbols
from pipeline.data.alphabet import split
from pipeline.data.raw import CONTROL
from pipeline.errors import UserError
from pipeline.prediction.predictor import Predictor
from pipeline.text import fault_of, normal_form, shown

MOST = 1_000  # corrections of a request


class CorrectionFile:
    """Appends pairs of a source and its right target; those of a request all or none."""

    def __init__(self, path: Path) -> None:
        """Create the file if it is missing; raises `UserError` if it cannot be written."""
        self.path = path
        self._lock = Lock()
        try:
            path.open("ab").close()
        except OSError as error:
            raise UserError(
                f"--corrections {path} cannot be written to ({error.strerror}): give another file"
            ) from error

    def append(self, pairs: Sequence[tuple[str, str]], predictor: Predictor) -> None:
        """Append pairs for a predictor, in normal form; they are on disk when this returns.

        Raises `UserError` for bad pairs, and OSError if the file cannot be written.
        """
        if not 1 <= len(pairs) <= MOST:
            raise UserError(f"there are {len(pairs):,} corrections, but there must be 1 to {MOST:,} in a request")
        model, most = predictor.model, predictor.max_symbols
        kinds = {"source": model.source_alphabet.kind, "target": model.target_alphabet.kind}
        rows = [
            [
                _cleaned(text, f"the {side} of correction {number}", kind, most)
                for text, (side, kind) in zip(pair, kinds.items(), strict=True)
            ]
            for number, pair in enumerate(pairs, start=1)
        ]
        content = "".join(f"{source}\t{target}\n" for source, target in rows).encode()
        with self._lock, self.path.open("a+b", buffering=0) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 1))
            begin = b"" if file.read(1) in (b"", b"\n") else b"\n"  # somebody's editor left the last line open
            try:
                if file.write(begin + content) < len(begin + content):
                    raise OSError("the disk is full")
                os.fsync(file.fileno())
            except OSError:
                with suppress(OSError):
                    file.truncate(size)
                raise


def _cleaned(text: str, name: str, kind: Symbols, most: int) -> str:
    """A text in normal form; raises `UserError` for one that stage `prepare` would not take."""
    fault = fault_of(text)
    clean = "" if fault else normal_form(text)
    if CONTROL.search(clean):
        fault = "has a control character in it"
    if (symbols := len(split(clean, kind))) > most:
        fault = f"has {symbols:,} symbols, at most {most} are possible"
    if fault:
        raise UserError(f"{name}, {shown(text)}, {fault}")
    return clean
