"""Packing: all that trained runs predict with, in a folder with nothing of the project around it, a bundle.

It has the networks with their alphabets, the reranker and what it was fitted with, and where the order is `rerank` the
pairs and the unpaired targets that speak for a candidate; neither dev nor test. Files are copied, not understood: that
is left to `bundle`.
"""

import shutil
from pathlib import Path

from pipeline.config.params import Order
from pipeline.data.prepared import TRAIN, TRAIN_SOURCES, TRAIN_TARGETS, UNPAIRED, Prepared
from pipeline.runs.folders import run_folder
from pipeline.runs.groups import RunGroup

NETWORKS = "networks"  # one run folder for each seed
RERANKER = "reranker.json"
PREPARED = "prepared"


def write_bundle(folder: Path, group: RunGroup, prepared: Prepared) -> None:
    """Copy what a run, or an ensemble, predicts with into a new folder.

    Raises `UserError` where something is missing, or was made with other data than `prepared`.
    """
    record = group.rerank_record(prepared.digest)
    for seed in group.seeds:
        shutil.copytree(run_folder(group.strategy, seed), folder / NETWORKS / str(seed))
    record.save(folder)
    shutil.copyfile(group.reranker, folder / RERANKER)
    if record.decoding.order is Order.RERANK:
        (folder / PREPARED).mkdir()
        stores = (
            f"{name}.{part}.npy" for name in (TRAIN_SOURCES, TRAIN_TARGETS, UNPAIRED) for part in ("ids", "offsets")
        )
        for name in (TRAIN, *stores):
            shutil.copyfile(prepared.folder / name, folder / PREPARED / name)
