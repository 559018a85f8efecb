"""Processes that train one network together: each does its part of every batch, and their gradients are added up.

Each holds the whole network and optimizer. They begin with the same weights and all make the same steps, so weights
need not be sent. Owns what they tell each other, through `tf.distribute`; what is trained is left to `training`.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from pipeline.errors import UserError
from pipeline.model.backend import tf
from pipeline.training.membership import Member


class Workers:
    """All of them, as seen by one. Without a strategy it is alone, and what it computes is as if this were not here."""

    def __init__(self, index: int = 0, count: int = 1, strategy: tf.distribute.Strategy | None = None) -> None:
        """index: 0 <= index < count, which one this is. strategy: with one replica in each process."""
        self.index, self.count = index, count
        self._strategy = strategy

    @property
    def is_chief(self) -> bool:
        """Whether this is the one that writes."""
        return self.index == 0

    def part(self, ids: tf.Tensor) -> tf.Tensor:
        """The rows of a batch, [B, ...], that are this worker's: B / count of them."""
        if self._strategy is None:
            return ids
        rows = tf.shape(ids)[0] // self.count
        return ids[self.index * rows : (self.index + 1) * rows]

    def sum(self, values: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """Each value added up over all workers, the same bits everywhere; all have to ask, with the same shapes."""
        if self._strategy is None:
            return list(values)
        # One message and not one for each: most are small.
        flat = tf.concat([tf.reshape(value, [-1]) for value in values], axis=0)
        total = self._strategy.run(_all_reduce, (flat,))
        parts = tf.split(total, [tf.size(value) for value in values])
        return [tf.reshape(part, tf.shape(value)) for part, value in zip(parts, values, strict=True)]

    def from_chief(self, make: Callable[[], bytes]) -> bytes:
        """What `make` gives there, where alone it is called; all have to ask."""
        if self._strategy is None:
            return make()
        content = make() if self.is_chief else b""
        size = int(self.sum([tf.constant(len(content))])[0])
        numbers = np.zeros(-(-size // 4), dtype=np.int32)
        numbers.view(np.uint8)[: len(content)] = np.frombuffer(content, dtype=np.uint8)
        return self.sum([tf.constant(numbers)])[0].numpy().tobytes()[:size] if size else b""


ALONE = Workers()


@contextmanager
def join(member: Member) -> Iterator[Workers]:
    """Wait for the others, and be one of them; once in a process, before it has computed anything.

    Inside, trouble of tensorflow such as a worker that is gone is raised as `UserError`.
    """
    count = len(member.addresses)
    try:
        cluster = tf.train.ClusterSpec({"worker": list(member.addresses)})
        resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
            cluster, task_type="worker", task_id=member.index, rpc_layer="grpc"
        )
        workers = Workers(member.index, count, tf.distribute.MultiWorkerMirroredStrategy(resolver))
        yield workers
        workers.from_chief(bytes)  # none leaves before the chief has written all: it would be missed
    except tf.errors.OpError as error:
        aborted = re.search("aborted by: (.*)", error.message)
        reason = aborted[1] if aborted else error.message.strip().partition("\n")[0]
        raise UserError(
            f"worker {member.index} of {count} at {member.addresses[member.index]} could not go on, perhaps because "
            f"another one ended ({reason}): the next `dvc repro` goes on from the last checkpoint"
        ) from error


def _all_reduce(value: tf.Tensor) -> tf.Tensor:
    # Of a copy, because what comes from outside of `run` has no device there.
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, tf.identity(value))
