"""Forced answers: sources whose targets people gave, which prediction takes before it asks a model.

They belong to the project, not to a model: whatever predicts in its folder reads them, at once and with any model, and
no stage depends on them.
"""

from collections.abc import Mapping
from pathlib import Path

from pipeline.config.options import Symbols
from pipeline.data.raw import LONGEST_LINE, Rejected, read_rows
from pipeline.errors import UserError

KNOWN_FILE = Path("data/known.tsv")  # pairs, one a line; outside of data/raw, which stages depend on
COLUMNS = dict.fromkeys(("source", "target"), Symbols.CHARACTERS)

Known = Mapping[str, tuple[str, ...]]  # the targets of each source, the one to answer with first


def load_known(path: Path = KNOWN_FILE) -> Known:
    """Read the forced answers, none without the file; raises `UserError` for a row that is no pair."""
    if not path.exists():
        return {}
    rejected: list[Rejected] = []
    known: dict[str, tuple[str, ...]] = {}
    for source, target in read_rows(path, COLUMNS, LONGEST_LINE, rejected):
        known[source] = tuple(dict.fromkeys((*known.get(source, ()), target)))
    for row in rejected:
        raise UserError(f"{path}, line {row.line}: {row.reason}: correct the row or delete it, or use --no-known")
    return known


def known_content(known: Known) -> bytes:
    """The content of the file that `load_known` reads."""
    return "".join(f"{source}\t{target}\n" for source, targets in known.items() for target in targets).encode()
