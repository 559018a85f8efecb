"""Historical text normalization against published figures, by their protocol.

`python -m benchmarks.histnorm --data DIR --corpora C... --sizes N... --folds K --out results.csv`. DIR holds a folder
for each corpus with train.tsv, dev.tsv, test.tsv and targets.txt (any of them may be .gz), and published.csv. Fold k of
size n is trained on lines k n to (k + 1) n of train.tsv; early stopping and reranker see dev; word accuracy is over all
of dev and test as running text. Rows that are in the output are not made again, and trained networks are kept in
--work, so a run that was stopped goes on.

Protocol and figures: Bollmann 2019, "A large-scale comparison of historical text normalization systems", table 6.
"""

import argparse
import csv
import hashlib
import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline import scoring
from pipeline.alphabet import Symbols
from pipeline.choice import Chooser
from pipeline.config import Params, changed, load_params
from pipeline.corpus import Corpus, Example, read_pairs, read_targets
from pipeline.errors import UserError, explain_user_errors
from pipeline.evidence import Evidence
from pipeline.inference import TrainedModel
from pipeline.markdown import markdown_table
from pipeline.prepared import Prepared, write_prepared
from pipeline.runs import RECORD, Record, run_parameters, run_training
from pipeline.strategies import PRETRAIN, needs_pretraining, run_folder

COLUMNS = ("corpus", "size", "fold", "strategy", "split", "word_accuracy", "character_error_rate", "seconds")
CELL = ["corpus", "size", "fold", "strategy"]
CHARACTERS = Symbols.CHARACTERS
BEAM, NEIGHBOURS = 8, 8


@dataclass(frozen=True)
class Recipe:
    """How a row of the table is made: a strategy with some parameters changed, and what is done with its networks.

    decoding: greedy, beam, or rerank. ensemble: average the networks of all seeds; else the first seed alone.
    """

    strategy: str
    changes: dict[str, Any] = field(default_factory=dict)
    decoding: str = "greedy"
    ensemble: bool = False


PLAIN = {"tandem.schedule": ["paired", "autoencode"], "noise.kind": "none"}
NOISE = {"tandem.schedule": ["paired", "autoencode"]}
RECIPES = {
    "identity": Recipe("identity"),
    "lookup": Recipe("lookup"),
    # Every strategy with all that can be done after training.
    "supervised": Recipe("supervised", decoding="rerank", ensemble=True),
    "two_stage": Recipe("two_stage", decoding="rerank", ensemble=True),
    "tandem": Recipe("tandem", decoding="rerank", ensemble=True),
    # What each part buys.
    "supervised_greedy": Recipe("supervised"),
    "two_stage_greedy": Recipe("two_stage"),
    "tandem_plain": Recipe("tandem", PLAIN),
    "tandem_noise": Recipe("tandem", NOISE),
    "tandem_synthetic": Recipe("tandem"),
    "tandem_beam": Recipe("tandem", decoding="beam"),
    "tandem_rerank": Recipe("tandem", decoding="rerank"),
}


@dataclass(frozen=True)
class Cell:
    """One training set: a block of lines of a corpus."""

    corpus: str
    size: int
    fold: int


@explain_user_errors
def main() -> None:
    """Make the rows that are missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--corpora", nargs="+", required=True)
    parser.add_argument("--sizes", nargs="+", type=int, required=True, help="training tokens")
    parser.add_argument("--folds", type=int, default=1)
    parser.add_argument("--strategies", nargs="+", default=["tandem"], choices=list(RECIPES))
    parser.add_argument("--dev-tokens", type=int, help="use so many lines of dev; default: all")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("benchmarks/work"), help="trained networks")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    arguments = parser.parse_args()
    params = changed(load_params(arguments.params), {"prepare.hold_out_targets": False})
    for corpus in arguments.corpora:
        for size in arguments.sizes:
            for fold in range(arguments.folds):
                cell = Cell(corpus, size, fold)
                missing = [name for name in arguments.strategies if not is_done(arguments.out, cell, name)]
                if missing:
                    folder = arguments.work / corpus / f"{size}-{fold}-{arguments.dev_tokens or 'all'}"
                    prepared = prepare(arguments.data, cell, arguments.dev_tokens, folder / "prepared")
                    for name in missing:
                        for row in measure(RECIPES[name], params, prepared, folder / "models"):
                            append(arguments.out, {**vars(cell), "strategy": name, **row})
    print(table(pd.read_csv(arguments.out), arguments.data / "published.csv"))


def prepare(data: Path, cell: Cell, dev_tokens: int | None, folder: Path) -> Prepared:
    """The cell's block of training lines, with all of dev or its beginning, all of test, and the target list."""
    pairs = {name: read_pairs(find(data / cell.corpus, f"{name}.tsv"), CHARACTERS, CHARACTERS, 1000) for name in SPLITS}
    block = pairs["train"][cell.fold * cell.size : (cell.fold + 1) * cell.size]
    if len(block) < cell.size:
        raise UserError(
            f"{cell.corpus} has {len(pairs['train']):,} training lines: fold {cell.fold} of {cell.size:,} is beyond"
        )
    targets = read_targets(find(data / cell.corpus, "targets.txt"), CHARACTERS, 1000)
    corpus = Corpus(block, pairs["dev"][:dev_tokens], pairs["test"], targets, 0, None, cell.corpus)
    write_prepared(folder, corpus, CHARACTERS, CHARACTERS)
    return Prepared.open(folder)


SPLITS = ("train", "dev", "test")


def find(folder: Path, name: str) -> Path:
    """The file, or its compressed form."""
    compressed = folder / f"{name}.gz"
    return compressed if compressed.exists() else folder / name


def measure(recipe: Recipe, params: Params, prepared: Prepared, models: Path) -> Iterator[dict[str, Any]]:
    """Train and tune by a recipe, and score it on dev and test; seconds are those of all that it took."""
    started = time.perf_counter()
    predict, trained = predictor(recipe, params, prepared, models)
    for split, examples in (("dev", prepared.dev), ("test", prepared.test)):
        predictions = predict([example.source for example in examples])
        targets = [example.target for example in examples]
        scores = scoring.score(predictions, targets, [{target} for target in targets], CHARACTERS)
        yield {
            "split": split,
            "word_accuracy": scoring.accuracy(scores),
            "character_error_rate": scoring.error_rate(scores),
            "seconds": round(time.perf_counter() - started + trained, 1),
        }


def predictor(recipe: Recipe, params: Params, prepared: Prepared, models: Path) -> tuple[Any, float]:
    """A function from sources to predictions, and the seconds that networks kept from an earlier row had taken."""
    if recipe.strategy == "identity":
        return (lambda sources: list(sources)), 0.0
    if recipe.strategy == "lookup":
        return lookup(prepared.train), 0.0
    params = changed(params, recipe.changes)
    seeds = params.seeds if recipe.ensemble else params.seeds[:1]
    kept = [train(recipe.strategy, params, prepared, seed, models) for seed in seeds]
    model = TrainedModel.load(*(folder for folder, _ in kept))
    seconds = sum(spent for _, spent in kept)
    if recipe.decoding == "greedy":
        return (lambda sources: [row[0].text for row in model.predict(sources)]), seconds
    if recipe.decoding == "beam":
        return (lambda sources: [row[0].text for row in model.predict(sources, beam=BEAM)]), seconds
    chooser = Chooser(model, Evidence.learn(prepared, held_out=False), BEAM, NEIGHBOURS).fitted(
        [example.source for example in prepared.dev], [example.accepted for example in prepared.dev], seed=0
    )
    return (lambda sources: [row[0].text for row in chooser.choose(sources)]), seconds


def lookup(train: Sequence[Example]) -> Any:
    """A seen source gets its most frequent target, an unseen one is copied."""
    counts = Counter((example.source, example.target) for example in train)
    best = {source: target for (source, target), _ in reversed(counts.most_common())}
    return lambda sources: [best.get(source, source) for source in sources]


def train(strategy: str, params: Params, prepared: Prepared, seed: int, models: Path) -> tuple[Path, float]:
    """The folder of a trained run, and the seconds of training in it that were spent before now."""
    decisive = [run_parameters(strategy, params), prepared.digest]
    key = hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:12]
    spent = 0.0
    for name in ([PRETRAIN] if needs_pretraining(strategy, params) else []) + [strategy]:
        folder = run_folder(name, seed, models / key)
        if (folder / RECORD).exists():
            spent += Record.load(folder).seconds
        else:
            run_training(name, params, prepared, seed, models=models / key)
    return run_folder(strategy, seed, models / key), spent


def is_done(out: Path, cell: Cell, strategy: str) -> bool:
    """Whether the output has both rows of a cell."""
    if not out.exists():
        return False
    rows = pd.read_csv(out)
    same = (rows[CELL] == [cell.corpus, cell.size, cell.fold, strategy]).all(axis=1)
    return bool(same.sum() >= 2)


def append(out: Path, row: dict[str, Any]) -> None:
    """Add a row to the output; what stands there stays."""
    new = not out.exists()
    with out.open("a", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(row)
    print(", ".join(f"{key} {value}" for key, value in row.items()), flush=True)


def table(results: pd.DataFrame, published: Path) -> str:
    """Mean test accuracy over folds, %, beside the best published system where there is one."""
    test = results[results["split"] == "test"]
    wide = 100 * test.pivot_table("word_accuracy", ["corpus", "size"], "strategy", sort=False)
    if published.exists():
        best = pd.read_csv(published).groupby(["corpus", "size"])["word_accuracy"].max()
        wide.insert(0, "best published", best.reindex(wide.index))
    rows = [
        [corpus, f"{size:,}", *(f"{value:.1f}" for value in row)]
        for (corpus, size), row in zip(wide.index, wide.to_numpy(), strict=True)
    ]
    return markdown_table(["corpus", "tokens", *wide.columns], rows, left=1)


if __name__ == "__main__":
    main()
