"""Historical text normalization against published figures, by their protocol.

`python -m benchmarks.histnorm --data DIR --corpora C... --sizes N... --folds K --strategies S... --out results.csv`.
DIR holds a folder for each corpus with train.tsv, dev.tsv, test.tsv and targets.txt (any of them may be .gz), and
published.csv. Fold k of size n is trained on lines k n to (k + 1) n of train.tsv; early stopping and reranker see dev;
word accuracy is over all of dev and test as running text.

The last strategy is set beside the best published system; several strategies are also shown one below the other, each
with its difference to the one above. With --dev-tokens a strategy sees the beginning of dev only (`same`: as many lines
as it trains on), and its rows are of a strategy of its own, `tandem@dev=same`.

Rows that are in the output are not made again, trained networks are kept in --work, and MLflow (experiment `histnorm`)
is filled up from the files, so a run that was stopped goes on. Code or parameters that have changed since are not
noticed: they ask for another --out, changed code for another --work too. Seconds are those of the wall, with --jobs
of one thread each.

Protocol and figures: Bollmann 2019, "A large-scale comparison of historical text normalization systems", table 6.
"""

import argparse
import shlex
import signal
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

from benchmarks.board import Board
from benchmarks.cells import Cell, prepare
from benchmarks.chart import draw
from benchmarks.published import NOTE, Published, ablation_tables, comparison_table, verdict
from benchmarks.recipes import NOT_OURS, Recipe, measure
from benchmarks.resampling import Accuracies
from benchmarks.results import Measurement, Results
from pipeline.config.params import Params, changed, flatten, load_params
from pipeline.errors import UserError, explain_user_errors
from pipeline.parallel import side_by_side

DevTokens = int | Literal["same"] | None  # lines of dev; None: all


PLAIN = {"tandem.schedule": ["paired", "autoencode"], "noise.kind": "none"}
NOISE = {"tandem.schedule": ["paired", "autoencode"]}
FROZEN = {"two_stage.steps": 1000, "two_stage.finetune": 0}
RECIPES = {
    "identity": Recipe("identity"),
    "lookup": Recipe("lookup"),
    # As `dvc repro` and `tandem predict` do it: one network and the reranker.
    "supervised": Recipe("supervised", decoding="rerank"),
    "two_stage": Recipe("two_stage", decoding="rerank"),
    "tandem": Recipe("tandem", decoding="rerank"),
    # What each part buys.
    "supervised_greedy": Recipe("supervised"),
    "two_stage_greedy": Recipe("two_stage"),
    "tandem_plain": Recipe("tandem", PLAIN),
    "tandem_noise": Recipe("tandem", NOISE),
    "tandem_synthetic": Recipe("tandem"),
    "tandem_beam": Recipe("tandem", decoding="beam"),
    "tandem_ensemble": Recipe("tandem", decoding="rerank", ensemble=True),
    # What else was tried.
    "two_stage_frozen": Recipe("two_stage", FROZEN, "rerank"),
    "tandem_finetune": Recipe("tandem", {"tandem.steps": 800, "tandem.finetune": 200}, "rerank"),
    "tandem_no_autoencode": Recipe("tandem", {"tandem.schedule": ["paired", "synthetic", "synthetic"]}, "rerank"),
}


@explain_user_errors
def main(arguments: Sequence[str] | None = None) -> None:
    """Make the rows that are missing, and show all of them."""
    options = _parser().parse_args(arguments)
    params = changed(load_params(options.params), {"prepare.hold_out_targets": False})
    results = Results(options.out, options.work / "predictions" / options.out.stem)
    names = {labelled(name, options.dev_tokens): name for name in options.strategies}
    cells = [
        Cell(corpus, size, fold)
        for corpus in options.corpora
        for size in options.sizes
        for fold in range(options.folds)
    ]
    done = results.metrics()
    missing = {cell: [names[name] for name in names if (cell, name) not in done] for cell in cells}
    work = partial(measure_cell, data=options.data, params=params, dev_tokens=options.dev_tokens, work=options.work)
    command = shlex.join(["python", "-m", "benchmarks.histnorm", *(sys.argv[1:] if arguments is None else arguments)])
    settings = {name: value for name, value in flatten(params).items() if name.split(".")[0] not in NOT_OURS}
    with Board.of(results, {"command": command, **settings}) as board:
        board.complete(results)
        for found in side_by_side(work, [(cell, todo) for cell, todo in missing.items() if todo], options.jobs):
            results.add(found)
            for row in found.csv_rows():
                print(", ".join(f"{key} {value}" for key, value in row.items()), flush=True)
            board.complete(results, [(found.cell, found.strategy)])
        show(results, list(names), Published.load(options.data / "published.csv"), command, options, board)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--corpora", nargs="+", required=True)
    parser.add_argument("--sizes", nargs="+", type=_count, required=True, help="training tokens")
    parser.add_argument("--folds", type=_count, default=1)
    parser.add_argument("--strategies", nargs="+", default=["tandem"], choices=list(RECIPES))
    parser.add_argument("--dev-tokens", type=_dev_tokens, help="lines of dev, or `same` as --sizes; default: all")
    parser.add_argument("--jobs", type=_count, default=1, help="cells side by side, each with one thread")
    parser.add_argument("--out", type=Path, required=True, help="CSV to which rows are appended")
    parser.add_argument("--work", type=Path, default=Path("benchmarks/work"), help="trained networks, predictions")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--report", type=Path, help="write the tables as markdown")
    parser.add_argument("--plot", type=Path, help="draw accuracy against training tokens (.png or .svg)")
    return parser


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number from 1")
    return int(text)


def _dev_tokens(text: str) -> DevTokens:
    return "same" if text == "same" else _count(text)


def labelled(recipe: str, dev_tokens: DevTokens) -> str:
    """The name in the CSV: with less than all of dev, a recipe is a strategy of its own."""
    return recipe if dev_tokens is None else f"{recipe}@dev={dev_tokens}"


def show(
    results: Results,
    strategies: Sequence[str],
    published: Published,
    command: str,
    options: argparse.Namespace,
    board: Board,
) -> None:
    """Print the tables, write what was asked for, and put all of it on the board."""
    base = strategies[-1].partition("@")[0]
    measured = results.rows["strategy"].unique().tolist()
    variants = [name for name in measured if name.partition("@")[0] == base and name != strategies[-1]]
    headline = [strategies[-1], *variants]
    accuracies = Accuracies.of(results, {*strategies, *variants})
    verdicts = "\n".join(f"{verdict(accuracies, published, name)}\n" for name in headline)
    summary = f"{verdicts}\n{comparison_table(accuracies, published, headline)}"
    sections = [summary, NOTE + "\n"]
    if len(strategies) > 1:
        cells = [(corpus, size) for corpus in options.corpora for size in sorted(set(options.sizes))]
        sections.insert(1, ablation_tables(accuracies, strategies, cells))
    print("\n".join(sections))
    board.set_description(summary)
    board.log_artifact(results.out)
    if options.report:
        _write(options.report, "\n".join([*sections, f"```\n{command}\n```\n"]))
        board.log_artifact(options.report)
    if options.plot:
        options.plot.parent.mkdir(parents=True, exist_ok=True)
        draw(options.plot, accuracies, published, [*strategies, *variants])
        board.log_artifact(options.plot)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="\n")


def measure_cell(
    todo: tuple[Cell, Sequence[str]], data: Path, params: Params, dev_tokens: DevTokens, work: Path
) -> Iterator[Measurement]:
    """Recipes in one cell, one after the other."""
    cell, names = todo
    dev_lines = cell.size if dev_tokens == "same" else dev_tokens
    folder = work / cell.corpus / f"{cell.size}-{cell.fold}-{dev_lines or 'all'}"
    prepared = prepare(data, cell, dev_lines, folder / "prepared")
    if dev_tokens not in (None, "same") and len(prepared.dev) < int(dev_tokens):
        raise UserError(f"{cell.corpus} has {len(prepared.dev):,} dev lines, fewer than --dev-tokens {dev_tokens}")
    for name in names:
        yield measure(cell, labelled(name, dev_tokens), RECIPES[name], params, prepared, folder / "models")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # ends the processes side by side too
    main()
