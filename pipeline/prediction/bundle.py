"""Bundles, as `packing` wrote them, ready to predict. Everything in one is data: this package's code runs, no other."""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.config.params import Decoding, Order
from pipeline.data.prepared import TRAIN, TRAIN_SOURCES, TRAIN_TARGETS, UNPAIRED, Prepared
from pipeline.data.store import StringStore
from pipeline.errors import UserError
from pipeline.model.inference import TrainedModel
from pipeline.prediction.predictor import Chooser, OwnOrder, chooser, learn_evidence
from pipeline.reranking.features import Evidence
from pipeline.reranking.reranker import Reranker
from pipeline.runs.folders import run_folder
from pipeline.runs.groups import RerankMetadata, RunGroup

NETWORKS = "networks"  # one run folder for each seed
RERANKER = "reranker.json"
PREPARED = "prepared"


def write_bundle(folder: Path, group: RunGroup, prepared: Prepared) -> None:
    """Copy what a run, or an ensemble, predicts with into a new folder.

    Raises `UserError` where something is missing, or was made with other data than `prepared`.
    """
    metadata = group.rerank_metadata(prepared.digest)
    for seed in group.seeds:
        shutil.copytree(run_folder(group.strategy, seed), folder / NETWORKS / str(seed))
    metadata.save(folder)
    shutil.copyfile(group.reranker, folder / RERANKER)
    if metadata.decoding.order is Order.RERANK:
        (folder / PREPARED).mkdir()
        stores = (
            f"{name}.{part}.npy" for name in (TRAIN_SOURCES, TRAIN_TARGETS, UNPAIRED) for part in ("ids", "offsets")
        )
        for name in (TRAIN, *stores):
            shutil.copyfile(prepared.folder / name, folder / PREPARED / name)


@dataclass(frozen=True, eq=False)
class Bundle:
    """A loaded bundle. It predicts as `decoding` says unless asked for something else, and keeps what was compiled."""

    model: TrainedModel
    decoding: Decoding
    evidence: Evidence | None  # None without reranking
    reranker: Reranker

    @classmethod
    def load(cls, folder: Path) -> "Bundle":
        """Load what `write_bundle` wrote; raises `UserError` for anything else.

        The folder is not needed any more afterwards, as long as the system lets a mapped file be deleted.
        """
        metadata = RerankMetadata.load(folder)
        networks = sorted((folder / NETWORKS).glob("*"), key=lambda network: int(network.name))
        if not networks:
            raise UserError(f"{folder / NETWORKS} has no network in it")
        model = TrainedModel.load(*networks)
        evidence = None
        if metadata.decoding.order is Order.RERANK:
            stores = (StringStore.open(folder / PREPARED / name) for name in (TRAIN_SOURCES, TRAIN_TARGETS, UNPAIRED))
            prepared = Prepared(folder / PREPARED, model.source_alphabet, model.target_alphabet, *stores)
            evidence = learn_evidence(metadata.decoding, prepared, metadata.held_out)
        return cls(model, metadata.decoding, evidence, Reranker.load(folder / RERANKER))

    def chooser(self, n_best: int = 1, beam: int | None = None, order: Order | None = None) -> Chooser | OwnOrder:
        """What chooses at least `n_best` candidates for a source, if the search finds as many.

        beam is widened to `n_best`. Raises `UserError` for the order `rerank` where there is no reranker.
        """
        order = order or self.decoding.order
        if order is Order.GREEDY:
            return OwnOrder(self.model, n_best)
        if order is Order.RERANK and self.evidence is None:
            raise UserError(f"this model has no reranker, its order is {self.decoding.order}: ask for greedy or beam")
        decoding = replace(self.decoding, order=order, beam_width=max(beam or self.decoding.beam_width, n_best))
        return chooser(self.model, decoding, self.evidence, self.reranker)
