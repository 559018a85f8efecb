"""Pairs that `tandem suggest` asks for against random ones: a simulation with an annotator who knows all answers.

`python -m benchmarks.suggest --corpora C... --out FILE.csv [--data DIR] [--strategy S] [--sizes N...] [--folds K]`.
A corpus is one of a suite of `benchmarks.suite` in DIR, or `default`: the data of params.yaml. The pairs that it has
for training are the pool. Drawn in random order, each source once and with its most frequent target, the first N of
them are the random pairs. Suggestions start from as many of these as the smallest size has; then the model that was
trained on the pairs so far chooses the next ones among all sources of the pool, up to the next size.

Test accuracy is that of the seeds together, reranked. Rows that are in the output are not made again, and trained
networks are kept in --work, so an interrupted run continues. Changes of code or parameters need another --out.
"""

import argparse
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.resampling import Accuracies, Samples, interval
from benchmarks.results import Cell, Results
from benchmarks.suite import Suite
from benchmarks.tables import percent, signed
from benchmarks.timing import count, parser_of
from benchmarks.variants import best_of, dev_and_test, predictors, train
from pipeline.annotation.suggest import suggest
from pipeline.config.options import Symbols
from pipeline.config.params import Params, changed, load_params
from pipeline.data.corpus import Corpus, read_corpus
from pipeline.data.examples import Example
from pipeline.data.prepared import Prepared, write_prepared
from pipeline.errors import explain_user_errors
from pipeline.prediction.predictor import Predictor
from pipeline.report.tables import markdown_table

DEFAULT = "default"
RANDOM, SUGGESTED = "random", "suggested"
SIZES = (250, 375, 500, 625, 750)


@dataclass(frozen=True)
class Pool:
    """A corpus whose training pairs may be asked for. answers: the target of each source, in random order."""

    name: str
    corpus: Corpus
    kinds: tuple[Symbols, Symbols]
    answers: dict[str, str]
    occurrences: Counter[str]
    passage: int = 1

    @classmethod
    def of(cls, name: str, options: argparse.Namespace, params: Params, fold: int) -> "Pool":
        """Read a corpus, and draw the order of its pairs."""
        if name == DEFAULT:
            prepare = replace(params.prepare, pairs=options.pool, dev=options.dev)
            corpus, passage = read_corpus(params.data, prepare), 1
            kinds = (params.data.source_symbols, params.data.target_symbols)
        else:
            suite = Suite.load(options.data)
            corpus, passage = suite.corpus(Cell(name, options.pool, 0), options.dev), suite.passage
            kinds = (suite.facts.source_symbols, suite.facts.target_symbols)
        targets: dict[str, Counter[str]] = {}
        for row in np.random.default_rng(fold).permutation(len(corpus.train)):
            pair = corpus.train[row]
            targets.setdefault(pair.source, Counter())[pair.target] += 1
        answers = {source: some.most_common(1)[0][0] for source, some in targets.items()}
        return cls(name, corpus, kinds, answers, Counter(pair.source for pair in corpus.train), passage)

    def prepared(self, sources: Sequence[str], folder: Path) -> Prepared:
        """Write and open the data with the pairs of these sources alone."""
        pairs = [Example(source, self.answers[source]) for source in sources]
        write_prepared(folder, replace(self.corpus, train=pairs), *self.kinds)
        return Prepared.open(folder)


@explain_user_errors
def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is missing in the output, and show all of it."""
    options = _parser().parse_args(arguments)
    changes = {"decoding.ensemble": True, "seeds": list(range(options.seeds))}
    if options.steps:
        changes |= {f"strategies.{options.strategy}.steps": options.steps, "training.dev_steps": 0}
    params = changed(load_params(), changes)
    results = Results(options.out, options.work / "predictions" / options.out.stem)
    for name in options.corpora:
        for fold in range(options.folds):
            pool = Pool.of(name, options, params, fold)
            for arm in (RANDOM, SUGGESTED):
                simulate(pool, arm, fold, results, options, params)
        print(curves(results, name, pool.passage), flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = parser_of(__doc__)
    parser.add_argument("--data", type=Path, help="a suite of corpora")
    parser.add_argument("--corpora", nargs="+", required=True)
    parser.add_argument("--strategy", default="augmented")
    parser.add_argument("--steps", type=count, help="of the strategy, and none on dev; else as params.yaml says")
    parser.add_argument("--seeds", type=count, default=3)
    parser.add_argument("--sizes", nargs="+", type=count, default=list(SIZES), help="numbers of pairs, ascending")
    parser.add_argument("--folds", type=count, default=1, help="how often the random order is drawn")
    parser.add_argument("--pool", type=count, default=20_000, help="training pairs that may be asked for, from the top")
    parser.add_argument("--dev", type=count, default=500)
    parser.add_argument("--out", type=Path, required=True, help="CSV to which rows are appended")
    parser.add_argument("--work", type=Path, default=Path("benchmarks/work/suggest"), help="trained networks")
    return parser


def simulate(pool: Pool, arm: str, fold: int, results: Results, options: argparse.Namespace, params: Params) -> None:
    """Go from the smallest number of pairs to the largest, and measure each that is missing."""
    order, first = list(pool.answers), min(options.sizes)
    asked, done = order[:first], results.accuracies()
    for size in options.sizes:
        cell = Cell(pool.name, size, fold)
        if arm == RANDOM:
            if (cell, arm) not in done:
                _measure(pool, order[:size], cell, arm, results, options, params)
            continue
        last = size == options.sizes[-1]
        if last and (cell, arm) in done:
            return
        predictor = _measure(pool, asked, cell, arm, results, options, params)
        if not last:
            more = options.sizes[options.sizes.index(size) + 1] - size
            asked += [one.source for one in suggest(predictor, pool.occurrences, asked, more)]


def _measure(
    pool: Pool,
    sources: Sequence[str],
    cell: Cell,
    arm: str,
    results: Results,
    options: argparse.Namespace,
    params: Params,
) -> Predictor:
    shared = RANDOM if cell.size == options.sizes[0] else arm
    folder = options.work / pool.name / f"{cell.size}-{cell.fold}-{shared}"
    prepared = pool.prepared(sources, folder / "prepared")
    runs, seconds = train(options.strategy, params, prepared, folder / "models")
    started = time.perf_counter()
    on_dev, predictor = predictors(params, prepared, runs)
    if (cell, arm) not in results.accuracies():
        table = dev_and_test(prepared, best_of(on_dev), best_of(predictor))
        seconds += time.perf_counter() - started
        print(results.add(cell, arm, table, seconds).to_string(index=False), flush=True)
    return predictor


def curves(results: Results, corpus: str, passage: int) -> str:
    """The accuracies of a corpus by number of pairs, and how many suggested pairs are worth the most random ones."""
    accuracies = Accuracies.of(results, (RANDOM, SUGGESTED), passage)
    sizes = [size for name, size in accuracies.cells(SUGGESTED) if name == corpus]
    rows, both = [], {arm: [accuracies.mean(corpus, size, arm) for size in sizes] for arm in (RANDOM, SUGGESTED)}
    for size, random, suggested in zip(sizes, both[RANDOM], both[SUGGESTED], strict=True):
        gain = accuracies.difference(corpus, size, SUGGESTED, RANDOM)
        rows.append([f"{size:,}", percent(random), percent(suggested), signed(gain)])
    table = markdown_table([f"{corpus}: pairs", RANDOM, SUGGESTED, "difference"], rows)
    curve, goal = np.array([one for one in both[SUGGESTED] if one is not None]), both[RANDOM][-1]
    if goal is None or len(curve) < len(sizes):
        return table
    needed = interval(pairs_needed(sizes, curve, goal))
    return (
        f"{table}\nAs good as {sizes[-1]:,} random pairs: {needed.mean:,.0f} suggested ones "
        f"({needed.low:,.0f} to {needed.high:,.0f}), {1 - needed.mean / sizes[-1]:.0%} fewer\n"
    )


def pairs_needed(sizes: Sequence[int], curve: Samples, goal: Samples) -> Samples:
    """The number of pairs at which a curve, float64 [sizes, samples], first reaches a goal; at most the last size."""
    best = np.maximum.accumulate(curve, axis=0)
    return np.array([np.interp(value, column, sizes) for value, column in zip(goal, best.T, strict=True)])


if __name__ == "__main__":
    main()
