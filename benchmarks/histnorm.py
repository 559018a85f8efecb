"""Historical text normalization against published figures, by their protocol.

`python -m benchmarks.histnorm --data DIR --corpora C... --sizes N... --folds K --strategies S... --out results.csv`.
DIR holds a folder for each corpus with train.tsv, dev.tsv, test.tsv and targets.txt (any of them may be .gz), and
published.csv. Fold k of size n is trained on lines k n to (k + 1) n of train.tsv; early stopping and reranker see dev;
word accuracy is over all of dev and test as running text.

Strategies are those of params.yaml, the controls identity and lookup, and the variants of `benchmarks.variants`. The
last one is compared with the best published system; several are also shown one below the other, each with its
difference to the one above. With --dev-tokens a strategy sees the beginning of dev only (`same`: as many lines as it
trains on), and its rows are of a strategy of its own, `tandem@dev=same`.

Rows that are in the output are not made again, trained networks are kept in --work, and MLflow (experiment `histnorm`)
is completed from the files, so an interrupted run continues. Changes of code or parameters are not noticed: they need
another --out, changed code another --work too. Seconds are by the clock, with --jobs of one thread each.

Protocol and figures: Bollmann 2019, "A large-scale comparison of historical text normalization systems", table 6.
"""

import argparse
import shlex
import signal
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Literal

from benchmarks.published import NOTE, Published, ablation_tables, comparison_table, draw, verdict
from benchmarks.resampling import Accuracies
from benchmarks.results import Board, Cell, Measurement, Results
from benchmarks.timing import count
from benchmarks.variants import NOT_OURS, measure, of_variant, prepare
from pipeline.config.params import Params, changed, flatten, load_params
from pipeline.errors import UserError, explain_user_errors
from pipeline.parallel import side_by_side

DevTokens = int | Literal["same"] | None  # lines of dev; None: all


@explain_user_errors
def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is missing in the output, and show all of it."""
    options = _parser().parse_args(arguments)
    params = changed(load_params(options.params), {"prepare.hold_out_targets": False})
    for name in options.strategies:
        of_variant(name, params)
    results = Results(options.out, options.work / "predictions" / options.out.stem)
    titles = {titled(name, options.dev_tokens): name for name in options.strategies}
    cells = [Cell(*cell) for cell in product(options.corpora, options.sizes, range(options.folds))]
    done = results.metrics()
    missing = {cell: [titles[title] for title in titles if (cell, title) not in done] for cell in cells}
    work = partial(measure_cell, data=options.data, params=params, dev_tokens=options.dev_tokens, work=options.work)
    command = shlex.join(["python", "-m", "benchmarks.histnorm", *(sys.argv[1:] if arguments is None else arguments)])
    settings = {name: value for name, value in flatten(params).items() if name.split(".")[0] not in NOT_OURS}
    with Board.of(results, {"command": command, **settings}) as board:
        board.complete(results)
        for measured in side_by_side(work, [(cell, todo) for cell, todo in missing.items() if todo], options.jobs):
            results.add(measured)
            for row in measured.csv_rows():
                print(", ".join(f"{key} {value}" for key, value in row.items()), flush=True)
            board.complete(results, [(measured.cell, measured.strategy)])
        _show(results, list(titles), Published.load(options.data / "published.csv"), command, options, board)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--corpora", nargs="+", required=True)
    parser.add_argument("--sizes", nargs="+", type=count, required=True, help="training tokens")
    parser.add_argument("--folds", type=count, default=1)
    parser.add_argument("--strategies", nargs="+", default=["tandem"])
    parser.add_argument("--dev-tokens", type=_dev_tokens, help="lines of dev, or `same` as --sizes; default: all")
    parser.add_argument("--jobs", type=count, default=1, help="cells side by side, each with one thread")
    parser.add_argument("--out", type=Path, required=True, help="CSV to which rows are appended")
    parser.add_argument("--work", type=Path, default=Path("benchmarks/work"), help="trained networks, predictions")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--report", type=Path, help="write the tables as markdown")
    parser.add_argument("--plot", type=Path, help="draw accuracy against training tokens (.png or .svg)")
    return parser


def _dev_tokens(text: str) -> DevTokens:
    return "same" if text == "same" else count(text)


def titled(name: str, dev_tokens: DevTokens) -> str:
    """The name in the CSV: with less than all of dev, a strategy is one of its own."""
    return name if dev_tokens is None else f"{name}@dev={dev_tokens}"


def _show(
    results: Results,
    strategies: Sequence[str],
    published: Published,
    command: str,
    options: argparse.Namespace,
    board: Board,
) -> None:
    """Print the tables, write the files of the options, and put all of it on the board."""
    last = strategies[-1]
    measured = results.rows["strategy"].unique().tolist()
    others = [name for name in measured if name.partition("@")[0] == last.partition("@")[0] and name != last]
    accuracies = Accuracies.of(results, {*strategies, *others})
    verdicts = "\n".join(f"{verdict(accuracies, published, name)}\n" for name in (last, *others))
    summary = f"{verdicts}\n{comparison_table(accuracies, published, [last, *others])}"
    sections = [summary, NOTE + "\n"]
    if len(strategies) > 1:
        cells = [(corpus, size) for corpus in options.corpora for size in sorted(set(options.sizes))]
        sections.insert(1, ablation_tables(accuracies, strategies, cells))
    print("\n".join(sections))
    board.set_tags({"mlflow.note.content": summary})
    board.log_artifact(results.out)
    if options.report:
        options.report.parent.mkdir(parents=True, exist_ok=True)
        options.report.write_text("\n".join([*sections, f"```\n{command}\n```\n"]), encoding="utf-8", newline="\n")
        board.log_artifact(options.report)
    if options.plot:
        options.plot.parent.mkdir(parents=True, exist_ok=True)
        draw(options.plot, accuracies, published, [*strategies, *others])
        board.log_artifact(options.plot)


def measure_cell(
    todo: tuple[Cell, Sequence[str]], data: Path, params: Params, dev_tokens: DevTokens, work: Path
) -> Iterator[Measurement]:
    """Measure strategies in one cell, one after the other."""
    cell, names = todo
    dev_lines = cell.size if dev_tokens == "same" else dev_tokens
    folder = work / cell.corpus / f"{cell.size}-{cell.fold}-{dev_lines or 'all'}"
    prepared = prepare(data, cell, dev_lines, folder / "prepared")
    if dev_tokens not in (None, "same") and len(prepared.dev) < int(dev_tokens):
        raise UserError(f"{cell.corpus} has {len(prepared.dev):,} dev lines, fewer than --dev-tokens {dev_tokens}")
    for name in names:
        yield measure(cell, titled(name, dev_tokens), name, params, prepared, folder / "models")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # ends the processes side by side too
    main()
