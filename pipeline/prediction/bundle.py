"""The files that a predictor is loaded from: those of a group in models/, or a bundle, a folder with copies of them."""

import logging
import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from pipeline.config.params import Decoding, Order, load_params
from pipeline.data.alphabet import SOURCE_ALPHABET, TARGET_ALPHABET, load_alphabets
from pipeline.errors import UserError
from pipeline.hashing import digest_within
from pipeline.model.files import ARCHITECTURE, WEIGHTS
from pipeline.prediction.alignments import Aligner
from pipeline.reranking.features import TO_PREDICT
from pipeline.runs.folders import RunMetadata, run_folder
from pipeline.runs.groups import RERANKERS, RerankMetadata, RunGroup

BUNDLE = "bundle"  # the one artifact of a model in MLflow
NETWORKS, FEATURES, RERANKER = "networks", "features", "reranker.json"  # in the folder of a bundle
NETWORK_FILES = (ARCHITECTURE, WEIGHTS, SOURCE_ALPHABET, TARGET_ALPHABET)

# For runs without a reranker.
BEAM = Decoding(order=Order.BEAM, beam_width=8, neighbours=0, ensemble=False, seed=0)

logger = logging.getLogger(__name__)


def group_metadata(group: RunGroup, order: Order | None) -> RerankMetadata:
    """Metadata of what a group in models/ predicts with, its default order replaced by `order` if given.

    If no order is given and the group has no usable reranker, the default is a beam search, and a warning is logged.
    Raises `UserError` if the order is rerank and a file is missing or belongs to other networks or data.
    """
    try:
        metadata = group.rerank_metadata()
        if order is Order.RERANK and metadata.decoding.order is not Order.RERANK:
            raise UserError(f"{RERANKERS} holds no rerankers: set decoding.order: rerank and run `dvc repro`")
        if not group.reranker.is_file():
            raise UserError(f"{group.reranker} is missing: run `dvc repro`")
    except UserError as error:
        if order is Order.RERANK:
            raise
        if order is None:
            logger.warning("predictions are ranked by the model's scores, not reranked: %s", error)
        runs = [RunMetadata.load(run_folder(group.strategy, seed)) for seed in group.seeds]
        metadata = RerankMetadata(runs[0].data, {run.seed: run.content for run in runs}, BEAM)
    networks = {seed: metadata.networks[seed] for seed in group.seeds}
    decoding = replace(metadata.decoding, order=order or metadata.decoding.order)
    return replace(metadata, networks=networks, decoding=decoding)


def write_bundle(folder: Path, group: RunGroup, order: Order | None = None) -> None:
    """Copy the files that a group in models/ predicts with; errors and `order` as for `group_metadata`.

    A source may have as many symbols as `prepare.max_symbols` of the project says. Without data/prepared the bundle
    cannot align.
    """
    metadata = replace(group_metadata(group, order), max_symbols=load_params().prepare.max_symbols)
    for seed in group.seeds:
        network = folder / NETWORKS / str(seed)
        network.mkdir(parents=True)
        for name in NETWORK_FILES:
            shutil.copyfile(run_folder(group.strategy, seed) / name, network / name)
    metadata.save(folder)
    with suppress(UserError):
        Aligner.prepared(*load_alphabets(run_folder(group.strategy, group.seeds[0]))).save(folder)
    if group.reranker.is_file():
        shutil.copyfile(group.reranker, folder / RERANKER)
    if metadata.decoding.order is Order.RERANK:
        shutil.copytree(TO_PREDICT, folder / FEATURES)


def bundle_digest(folder: Path, order: Order) -> str:
    """A digest of the files of a bundle that decide predictions in an order: without rerank the networks alone."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    decisive = (path for path in files if order is Order.RERANK or path.is_relative_to(folder / NETWORKS))
    return digest_within(folder, decisive)
