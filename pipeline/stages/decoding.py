"""What the stages `rerank` and `evaluate` share: they decode with every group of runs, in processes side by side."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from joblib import cpu_count

from pipeline.config.params import Params
from pipeline.parallel import side_by_side
from pipeline.runs.groups import RunGroup
from pipeline.stages import watched

IMPORTS = "pipeline.prediction.predictor", "pipeline.model.search"  # of each process

R = TypeVar("R")


def decoded(
    work: Callable[[Sequence[RunGroup]], Iterator[tuple[RunGroup, R]]],
    groups: Sequence[RunGroup],
    params: Params,
    title: str,
) -> Iterator[tuple[RunGroup, R]]:
    """What `work` gives for all groups, as it comes.

    Each process loads the features, so there are no more of them than seeds, or cores.
    """
    jobs = min(len(params.seeds), cpu_count())
    shares = [groups[start::jobs] for start in range(jobs)]
    yield from watched(side_by_side(work, shares, jobs, cpu_count() // jobs, IMPORTS), title, len(groups))
