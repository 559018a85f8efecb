"""What MLflow has to hold of a comparison, computed from the files, and whether it holds that."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pipeline.config.params import Params
from pipeline.evaluation.results import REPORTS, EvaluatedRun, EvaluatedRuns
from pipeline.hashing import digest_of, joined
from pipeline.runs.folders import HISTORY, MODELS, PRETRAIN, run_folder, starts_pretrained
from pipeline.tracking.client import ExistingRun

LAYOUT = 1  # another number when other things are published from the same files

MATCHER_HISTORY = MODELS / "matcher" / HISTORY


@dataclass(frozen=True)
class Manifest:
    """The digests that the runs of a comparison show in MLflow when all of it is published."""

    params: Params
    evaluated: EvaluatedRuns

    @cached_property
    def outputs(self) -> str:
        """Digest of all networks, rerankers and test predictions, in the order of strategies and seeds."""
        return joined(*(part for run in self.evaluated.runs for part in _outputs(run)))

    @cached_property
    def parent(self) -> str:
        """Digest of what the parent run shows."""
        files = digest_of([*self.report_files(), MATCHER_HISTORY])
        tracking = self.params.tracking
        return joined(str(LAYOUT), self.outputs, *self.children.values(), files, tracking.experiment, tracking.model)

    @cached_property
    def children(self) -> dict[tuple[str, int], str]:
        """Digest of what each child run shows, by strategy and seed."""
        return {(run.metadata.strategy, run.metadata.seed): self._child(run) for run in self.evaluated.runs}

    def report_files(self) -> list[Path]:
        """All files below reports/ but the predictions of single runs."""
        predictions = {run.predictions for run in self.evaluated.runs}
        files = (path for path in REPORTS.rglob("*") if path.is_file() and not path.name.startswith("."))
        return sorted(set(files) - predictions)

    def is_shown_by(self, parent: ExistingRun, children: Sequence[ExistingRun]) -> bool:
        """Whether a parent run and its children are complete, and each child exists once."""
        return (
            parent.shows(self.parent)
            and sorted(run.child for run in children) == sorted(self.children)
            and all(run.shows(self.children[run.child]) for run in children)
        )

    def _child(self, run: EvaluatedRun) -> str:
        strategy, seed = run.metadata.strategy, run.metadata.seed
        pretraining = [run_folder(PRETRAIN, seed) / HISTORY] if starts_pretrained(strategy, self.params) else []
        return joined(str(LAYOUT), *_outputs(run), digest_of(pretraining), json.dumps(dict(run.metrics)))


def _outputs(run: EvaluatedRun) -> tuple[str, str]:
    return run.metadata.content, digest_of([run.reranker, run.predictions])
