"""The trained networks of runs and ensembles, from their run folders."""

from collections.abc import Iterable, Iterator

from pipeline.model.inference import TrainedModel
from pipeline.runs.folders import run_folder
from pipeline.runs.groups import RunGroup


def load_trained(group: RunGroup, instead_of: TrainedModel | None = None) -> TrainedModel:
    """The model of a run, or of all seeds together; errors and `instead_of` as for `TrainedModel.load`."""
    return TrainedModel.load(*(run_folder(group.strategy, seed) for seed in group.seeds), instead_of=instead_of)


def each_loaded(groups: Iterable[RunGroup]) -> Iterator[tuple[RunGroup, TrainedModel]]:
    """Each group with its model, which serves until the next is asked for: one architecture is compiled once."""
    models: dict[int, TrainedModel] = {}
    for group in groups:
        members = len(group.seeds)
        models[members] = load_trained(group, models.get(members))
        yield group, models[members]
