"""What MLflow has to hold of a comparison, as the files say, and whether a store holds it."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pipeline.config.params import Params
from pipeline.evaluation.results import REPORTS, EvaluatedRun, EvaluatedRuns
from pipeline.hashing import digest_of, joined
from pipeline.runs.folders import HISTORY, MODELS, PRETRAIN, run_folder, starts_pretrained
from pipeline.tracking.tags import KIND, PARENT, StoredRun

LAYOUT = 1  # another number when other things are published of the same files

MATCHER_HISTORY = MODELS / "matcher" / HISTORY


@dataclass(frozen=True)
class Manifest:
    """What the outcome of a comparison and the files that it names have to look like in MLflow."""

    params: Params
    outcome: EvaluatedRuns

    @cached_property
    def parent(self) -> str:
        """The digest of what the parent run shows."""
        files = digest_of([*self.report_files(), MATCHER_HISTORY])
        return joined(str(LAYOUT), *self.children.values(), files, self.params.tracking.model)

    @cached_property
    def children(self) -> dict[tuple[str, int], str]:
        """By strategy and seed, the digest of what a child run shows."""
        return {(run.metadata.strategy, run.metadata.seed): self._child(run) for run in self.outcome.runs}

    def report_files(self) -> list[Path]:
        """The files that belong to no single run."""
        own = {run.predictions for run in self.outcome.runs}
        files = (path for path in REPORTS.rglob("*") if path.is_file() and not path.name.startswith("."))
        return sorted(set(files) - own)

    def pretraining(self, run: EvaluatedRun) -> Path | None:
        """The folder of the pretraining that is part of a run."""
        metadata = run.metadata
        return run_folder(PRETRAIN, metadata.seed) if starts_pretrained(metadata.strategy, self.params) else None

    def is_held_by(self, runs: Iterable[StoredRun]) -> bool:
        """Whether these are the parent and each child exactly once, complete."""
        left = dict(self.children)
        parents = 0
        for run in runs:
            if run.tags.get(KIND) == PARENT:
                parents += run.shows(self.parent)
            elif (digest := left.pop(run.child, None)) is None or not run.shows(digest):
                return False
        return parents == 1 and not left

    def _child(self, run: EvaluatedRun) -> str:
        pretraining = self.pretraining(run)
        files = [run.predictions, *([pretraining / HISTORY] if pretraining else [])]
        return joined(str(LAYOUT), run.models, digest_of(files), json.dumps(dict(run.metrics)))
