"""A published suite of corpora: accuracies by its protocol, beside its figures.

`python -m benchmarks.published --data DIR --corpora C... --sizes N... [--folds K] [--strategies S...] --out FILE.csv`.
DIR holds suite.yaml (see `benchmarks.suite`), published.csv, and a folder for each corpus. Early stopping and reranker
see dev, and in its last steps a strategy learns it (`training.dev_steps`); word accuracy is over all rows of dev and
test, each right with its own target.

Strategies are `single` (one network and its reranker, of the strategy that docs/results.md recommends for such data),
`best` (five such networks together), those of params.yaml, the controls identity and lookup, and the variants of
`benchmarks.variants`. The last one is compared with the best published system; several are also shown one below the
other, each with its difference to the one above. With `--dev-tokens same` a strategy sees only as many lines of dev as
it trains on, and its rows are of a strategy of its own, `single@dev=same`.

Rows that are in the output are not made again, and trained networks are kept in --work, so an interrupted run
continues. Changes of code or parameters need another --out. Seconds are by the clock, with --jobs of one thread each.
"""

import argparse
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import product
from pathlib import Path

import pandas as pd

from benchmarks.resampling import Accuracies
from benchmarks.results import Cell, Results
from benchmarks.suite import Suite
from benchmarks.tables import ablation_table, comparison_table, load_published, note, replicated, verdict
from benchmarks.timing import count, parser_of
from benchmarks.variants import measure, of_variant
from pipeline.config.params import Params, load_params
from pipeline.errors import explain_user_errors
from pipeline.parallel import side_by_side

ALL, SAME = "all", "same"


@explain_user_errors
def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is missing in the output, and show all of it."""
    options = _parser().parse_args(arguments)
    params, suite = load_params(), Suite.load(options.data)
    for name in options.strategies:
        of_variant(name, params)
    results = Results(options.out, options.work / "predictions" / options.out.stem)
    titles = {titled(name, options.dev_tokens): name for name in options.strategies}
    cells = [Cell(*cell) for cell in product(options.corpora, options.sizes, range(options.folds))]
    done = results.accuracies()
    missing = [(cell, {title: titles[title] for title in titles if (cell, title) not in done}) for cell in cells]
    work = partial(measure_cell, options=options, params=params, suite=suite)
    for measured in side_by_side(work, [item for item in missing if item[1]], options.jobs):
        print(results.add(*measured).to_string(index=False), flush=True)
    _show(results, list(titles), options, suite)


def _parser() -> argparse.ArgumentParser:
    parser = parser_of(__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--corpora", nargs="+", required=True)
    parser.add_argument("--sizes", nargs="+", type=count, required=True, help="training lines")
    parser.add_argument("--folds", type=count, default=1)
    parser.add_argument("--strategies", nargs="+", default=["single", "best"])
    parser.add_argument(
        "--dev-tokens", choices=[ALL, SAME], default=ALL, help="`same`: as many lines of dev as --sizes"
    )
    parser.add_argument("--jobs", type=count, default=1, help="cells side by side, each with one thread")
    parser.add_argument("--out", type=Path, required=True, help="CSV to which rows are appended")
    parser.add_argument("--work", type=Path, default=Path("benchmarks/work"), help="trained networks, predictions")
    return parser


def titled(name: str, dev_tokens: str) -> str:
    """The name of a strategy in the output."""
    return name if dev_tokens == ALL else f"{name}@dev={dev_tokens}"


def measure_cell(
    todo: tuple[Cell, dict[str, str]], options: argparse.Namespace, params: Params, suite: Suite
) -> Iterator[tuple[Cell, str, pd.DataFrame, float]]:
    """Measure strategies in one cell, one after the other; gives what `Results.add` takes."""
    cell, names = todo
    folder = options.work / cell.corpus / f"{cell.size}-{cell.fold}-{options.dev_tokens}"
    dev_lines = None if options.dev_tokens == ALL else cell.size
    prepared = suite.prepare(cell, dev_lines, folder / "prepared")
    for title, name in names.items():
        yield cell, title, *measure(name, params, prepared, folder / "models")


def _show(results: Results, strategies: list[str], options: argparse.Namespace, suite: Suite) -> None:
    """Print the tables. The last strategy is also shown with the other amounts of dev that it was measured with."""
    last = strategies[-1]
    measured = dict.fromkeys(strategy for _, strategy in results.accuracies())
    others = [name for name in measured if name.partition("@")[0] == last.partition("@")[0] and name != last]
    accuracies = Accuracies.of(results, {*strategies, *others}, suite.passage)
    published = load_published(options.data / "published.csv")
    for name in dict.fromkeys((*strategies, *others)):
        print(f"{verdict(accuracies, published, name)}\n")
    for name in strategies[:-1]:
        cells = {cell: accuracies.difference(*cell, last, name) for cell in accuracies.cells(last)}
        if gains := {cell: gain for cell, gain in cells.items() if gain is not None}:
            print(f"{replicated(gains, last, name)}\n")
    print(comparison_table(accuracies, published, [last, *others]))
    for corpus in options.corpora if len(strategies) > 1 else ():
        print(ablation_table(accuracies, strategies, corpus, sorted(set(options.sizes))))
    print(note(suite.passage))


if __name__ == "__main__":
    main()
