"""What all competitors of the speed benchmark are given to do: the same batches, the same strings."""

from collections.abc import Iterable, Iterator

import numpy as np

from pipeline.config.params import Params
from pipeline.data.prepared import Prepared
from pipeline.data.store import StringStore
from pipeline.training.batches import Batch
from pipeline.training.noise import streams
from pipeline.training.strategies import Phase, Task

SCHEDULE = (Task.PAIRED, Task.AUTOENCODE)
ENDLESS = 10**9  # steps
SEED = 0


def batches_of(prepared: Prepared, params: Params, positions: Iterable[int]) -> Iterator[Batch]:
    """The batches at some positions of the endless sequence in which the tasks of the schedule take turns."""
    found = streams(Phase(SCHEDULE, Task.PAIRED, ENDLESS), prepared, params, SEED)
    for position in positions:
        cycle, place = divmod(position, len(SCHEDULE))
        yield found[SCHEDULE[place]][cycle]


def sources_to_decode(prepared: Prepared, count: int | None = None) -> StringStore:
    """The sources of the test set, or some that stand for all: evenly spaced when sorted by length."""
    sources = sorted((example.source for example in prepared.test), key=len)
    if count is not None:
        sources = [sources[int(place)] for place in (np.arange(count) + 0.5) * len(sources) / count]
    return StringStore.of(sources, prepared.source_alphabet)
