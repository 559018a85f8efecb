"""Predictors: how trained runs are asked, where they are or from a folder that can be sent to other machines."""

import hashlib
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.config.params import Order
from pipeline.data.prepared import Prepared
from pipeline.errors import UserError
from pipeline.hashing import DIGITS
from pipeline.model.inference import TrainedModel
from pipeline.prediction.bundle import NETWORKS, Bundle, write_bundle
from pipeline.prediction.predictor import Chooser, OwnOrder, chooser, learn_evidence, load_trained
from pipeline.reranking.reranker import Reranker
from pipeline.runs.folders import run_folder
from pipeline.runs.groups import RERANKERS, RerankMetadata, RunGroup

BEAM = 8  # where no repro says otherwise
OF_NETWORKS = ("network.json", "network.weights.h5", "source_alphabet.json", "target_alphabet.json")


@dataclass(frozen=True)
class Recipe:
    """How a predictor is asked. beam: beginnings kept while searching, `n_best` if greedy. max_symbols: of a source."""

    order: Order
    beam: int
    n_best: int
    max_symbols: int

    def load(self, folder: Path) -> Chooser | OwnOrder:
        """What predicts, from a packed folder, which is not needed any more afterwards."""
        if self.order is Order.RERANK:
            return Bundle.load(folder).chooser(self.n_best, self.beam, self.order)
        networks = sorted((folder / NETWORKS).iterdir(), key=lambda network: int(network.name))
        return OwnOrder(TrainedModel.load(*networks), self.beam)

    def content(self, folder: Path) -> dict[str, bytes]:
        """The files of a packed folder that `load` reads, by their paths in it."""
        paths = (path for path in sorted(folder.rglob("*")) if path.is_file())
        names = {path.relative_to(folder): path for path in paths}
        return {
            name.as_posix(): path.read_bytes()
            for name, path in names.items()
            if (name.name in OF_NETWORKS if name.parts[0] == NETWORKS else self.order is Order.RERANK)
        }


def digest(content: dict[str, bytes]) -> str:
    """The same for the same files."""
    whole = hashlib.sha256()
    for name, data in sorted(content.items()):
        whole.update(f"{name}\0{hashlib.sha256(data).hexdigest()}\0".encode())
    return whole.hexdigest()[:DIGITS]


def recipe_of(
    runs: RunGroup, max_symbols: int, order: Order | None, beam: int | None, n_best: int
) -> tuple[Recipe, str | None]:
    """How a run, or an ensemble, is asked; a message where it predicts in another way than by default.

    By default it is as in the last repro, or the model's own order where that fails. Raises `UserError` where the order
    `rerank` is asked for and something is missing, or was made with other data than the rest.
    """
    reason = None
    try:
        decoding = RerankMetadata.load().decoding
        default, width = decoding.order, beam or decoding.beam_width
        if (order or default) is Order.RERANK:
            _check_reranker(runs)
    except UserError as error:
        if order is Order.RERANK:
            raise
        default, width = Order.BEAM, beam or BEAM
        if order is None:
            reason = f"predictions come in the model's own order, not reranked: {error}"
    return _recipe(order or default, width, n_best, max_symbols), reason


def load_runs(runs: RunGroup, recipe: Recipe) -> Chooser | OwnOrder:
    """What predicts, from where the runs are; raises `UserError` where one is missing or damaged."""
    model = load_trained(runs)
    if recipe.order is not Order.RERANK:
        return OwnOrder(model, recipe.beam)
    metadata = RerankMetadata.load()
    evidence = learn_evidence(metadata.decoding, Prepared.open(), metadata.held_out)
    return chooser(model, replace(metadata.decoding, beam_width=recipe.beam), evidence, Reranker.load(runs.reranker))


def pack_runs(folder: Path, runs: RunGroup, recipe: Recipe) -> None:
    """Copy a run, or an ensemble, into a new folder."""
    if recipe.order is Order.RERANK:
        write_bundle(folder, runs, Prepared.open())
        return
    for seed in runs.seeds:
        shutil.copytree(run_folder(runs.strategy, seed), folder / NETWORKS / str(seed))


def _check_reranker(runs: RunGroup) -> None:
    if RerankMetadata.load().decoding.order is not Order.RERANK:
        raise UserError(f"{RERANKERS} holds no rerankers: set decoding.order: rerank and run `dvc repro`")
    runs.rerank_metadata(Prepared.open().digest)
    Reranker.load(runs.reranker)


def _recipe(order: Order, beam: int, n_best: int, max_symbols: int) -> Recipe:
    return Recipe(order, n_best if order is Order.GREEDY else max(beam, n_best), n_best, max_symbols)
