"""The sources among which to suggest, as a file has them, and those that need no suggestion."""

from collections import Counter
from itertools import chain
from pathlib import Path

from pipeline.config.params import Params
from pipeline.data.inspection import read_content
from pipeline.data.prepared import PREPARED, Prepared
from pipeline.data.raw import LONGEST_LINE, read_rows
from pipeline.errors import UserError
from pipeline.prediction.known import COLUMNS, load_known
from pipeline.prediction.predictor import Predictor
from pipeline.prediction.sources import GivenSource, usable


def read_pool(path: Path, predictor: Predictor) -> Counter[str]:
    """How often each source occurs in a file, by its counts if it has them; a warning names those that are left out.

    Raises `UserError` if none can be used.
    """
    content = read_content(path)
    if content.is_pairs:
        raise UserError(f"--among {path} has two columns, pairs: sources are one a line, perhaps with counts")
    given = [
        GivenSource(f"{path}, line {line}", text) for line, text in zip(content.lines, content.columns[0], strict=True)
    ]
    given += [GivenSource(f"{path}, line {line}", "", reason) for line, reason in content.skipped]
    usable_texts = {one.text for one in usable(given, predictor.length_fault)}
    occurrences: Counter[str] = Counter()
    for text, times in zip(content.columns[0], content.counts or [1] * len(content.lines), strict=True):
        if text in usable_texts:
            occurrences[text] += times
    return occurrences


def annotated(params: Params) -> set[str]:
    """The sources that have a target: in prepared data, in the files of pairs as they now are, and forced answers."""
    prepared = Prepared.open(PREPARED)
    sources = {one.source for one in chain(prepared.train, prepared.dev, prepared.test)}
    for path in filter(None, (params.data.pairs, params.data.dev, params.data.test)):
        sources.update(source for source, _ in read_rows(path, COLUMNS, LONGEST_LINE, []))
    return sources | load_known().keys()
