"""Stage `prepare`: from raw pairs and targets to data/prepared and reports/prepare.json."""

import json
import logging
from collections import Counter
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.config.params import load_params
from pipeline.data.alphabet import Alphabet, split
from pipeline.data.checks import look_at_list
from pipeline.data.corpus import Corpus, read_corpus
from pipeline.data.prepared import PREPARED, Prepared, write_prepared
from pipeline.data.store import StringStore
from pipeline.errors import UserError, explain_user_errors

SUMMARY = Path("reports/prepare.json")

log = logging.getLogger(__name__)


@explain_user_errors
def main() -> None:
    """Read, clean, split and write the data of params.yaml."""
    params = load_params()
    corpus = read_corpus(params.data, params.prepare)
    write_prepared(PREPARED, corpus, params.data.source_symbols, params.data.target_symbols)
    prepared = Prepared.open(PREPARED)
    notes = [*corpus.notes, *look_at_list(prepared, params.data)]
    summary = {**summarise(corpus, prepared), "notes": notes}
    SUMMARY.parent.mkdir(parents=True, exist_ok=True)
    SUMMARY.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    print(_three_lines(summary))
    for note in notes:
        log.warning("%s", note)
    if notes and params.prepare.strict:
        raise UserError("the files look wrong (see the warnings): correct them, or set prepare.strict: false")


def summarise(corpus: Corpus, prepared: Prepared) -> dict[str, Any]:
    """The content of reports/prepare.json: counts, lengths in symbols, shares as fractions of rows."""
    unpaired = prepared.among_unpaired(example.target for example in corpus.test)
    return {
        "origin": corpus.origin,
        "pairs": len(corpus.train),
        "dev": len(corpus.dev),
        "test": len(corpus.test),
        "targets": len(corpus.targets),
        "targets_held_out": corpus.held_out,
        "rows_rejected": len(corpus.rejected or ()),
        "duplicate_rows": corpus.duplicate_rows,
        "ambiguous_sources": corpus.ambiguous_sources,
        "sources_on_two_sides": sources_on_two_sides(corpus),
        "source_symbols": len(prepared.source_alphabet.symbols),
        "target_symbols": len(prepared.target_alphabet.symbols),
        "lengths": {
            "sources": _lengths(prepared.train_sources),
            "targets": _lengths(prepared.train_targets),
            "unpaired": _lengths(prepared.targets),
        },
        "rows_with_unseen_symbol": {
            name: {
                "sources": _unseen([example.source for example in examples], prepared.source_alphabet),
                "targets": _unseen([example.target for example in examples], prepared.target_alphabet),
            }
            for name, examples in (("dev", corpus.dev), ("test", corpus.test))
        },
        "test_targets_among_unpaired": sum(example.target in unpaired for example in corpus.test) / len(corpus.test),
    }


def sources_on_two_sides(corpus: Corpus) -> int:
    """The number of sources that are in more than one of train, dev and test."""
    sides = ({example.source for example in side} for side in (corpus.train, corpus.dev, corpus.test))
    return sum(count > 1 for count in Counter(chain.from_iterable(sides)).values())


def _lengths(strings: StringStore) -> dict[str, float]:
    lengths = np.diff(strings.offsets)
    return {"mean": round(float(lengths.mean()), 3), "longest": int(lengths.max())}


def _unseen(strings: Sequence[str], alphabet: Alphabet) -> float:
    seen = set(alphabet.symbols)
    return sum(not seen.issuperset(split(string, alphabet.kind)) for string in strings) / len(strings)


def _three_lines(summary: dict[str, Any]) -> str:
    sources, targets, unpaired = summary["lengths"].values()
    unseen = summary["rows_with_unseen_symbol"]["test"]
    return (
        f"{summary['origin']}: {summary['pairs']:,} pairs, {summary['dev']:,} dev, {summary['test']:,} test, "
        f"{summary['targets']:,} unpaired targets ({summary['targets_held_out']:,} held out, "
        f"{summary['rows_rejected']:,} bad rows skipped)\n"
        f"symbols: {summary['source_symbols']:,} in sources ({sources['mean']:.1f} a source, longest "
        f"{sources['longest']:,}), {summary['target_symbols']:,} in targets ({targets['mean']:.1f}, longest "
        f"{targets['longest']:,}; unpaired {unpaired['mean']:.1f}, longest {unpaired['longest']:,})\n"
        f"test: {summary['test_targets_among_unpaired']:.1%} of the targets are among the unpaired ones; "
        f"{unseen['sources']:.1%} of the sources and {unseen['targets']:.1%} of the targets have an unseen symbol"
    )


if __name__ == "__main__":
    main()
