"""Processes that train one network together: each does its part of every batch, and their gradients are added up.

Each worker holds the whole network and optimizer. All begin with the same weights and make the same steps, so weights
need not be sent. Owns who they are (`training.workers` of this machine, or those that TF_CONFIG names) and what they
send each other, through `tf.distribute`; what is trained is left to `trainer`. Tensorflow is imported where it is used:
the process that only starts workers does without.
"""

import os
import re
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from pipeline.errors import UserError

if TYPE_CHECKING:
    from pipeline.model.backend import tf

EXAMPLE = '{"cluster": {"worker": ["10.0.0.1:2222", "10.0.0.2:2222"]}, "task": {"type": "worker", "index": 0}}'


@dataclass(frozen=True)
class Member:
    """One of the processes. addresses: host:port of all of them, in order. index: its own place among these."""

    addresses: tuple[str, ...]
    index: int

    @property
    def is_chief(self) -> bool:
        """Whether this process writes checkpoints and results, and says where the others resume."""
        return self.index == 0


@dataclass(frozen=True)
class _Task:
    type: Literal["worker"]
    index: Annotated[int, Field(ge=0)]


@dataclass(frozen=True, config={"extra": "forbid"})
class _Cluster:
    worker: tuple[Annotated[str, Field(pattern=r"^\S+:[0-9]{1,5}$")], ...]


@dataclass(frozen=True)
class _TfConfig:
    cluster: _Cluster
    task: _Task


def members_here(count: int) -> list[Member]:
    """Those of `count` processes that this machine is to start: the one that TF_CONFIG names, or all, on loopback.

    Raises `UserError` if TF_CONFIG is invalid or names another number of workers.
    """
    text = os.environ.get("TF_CONFIG")
    if not text:
        with ExitStack() as stack:
            sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
            addresses = tuple(f"127.0.0.1:{each.getsockname()[1]}" for each in sockets)
        return [Member(addresses, index) for index in range(count)]
    try:
        config = TypeAdapter(_TfConfig).validate_json(text, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise UserError(f"TF_CONFIG is invalid ({where}: {first['msg']}): it must look like {EXAMPLE}") from error
    member = Member(config.cluster.worker, config.task.index)
    if len(set(member.addresses)) < len(member.addresses):
        raise UserError(f"TF_CONFIG names a worker twice: {', '.join(member.addresses)}")
    if len(member.addresses) != count:
        raise UserError(
            f"TF_CONFIG names {len(member.addresses)} worker(s), but training.workers is {count}: they must agree"
        )
    if member.index >= count:
        raise UserError(f"TF_CONFIG says worker {member.index}, but of {count} workers the last one is {count - 1}")
    return [member]


class Workers:
    """All workers of a training, as seen by one of them. Without `distribution` it trains alone, as if by itself."""

    def __init__(self, index: int = 0, count: int = 1, distribution: "tf.distribute.Strategy | None" = None) -> None:
        """index: 0 <= index < count, which worker this is. distribution: with one replica in each process."""
        self.index, self.count = index, count
        self.is_chief = index == 0  # the one that writes
        self._distribution = distribution

    def part(self, ids: "tf.Tensor") -> "tf.Tensor":
        """This worker's rows of a batch, [B, ...]: B / count of them."""
        if self._distribution is None:
            return ids
        from pipeline.model.backend import tf

        rows = tf.shape(ids)[0] // self.count
        return ids[self.index * rows : (self.index + 1) * rows]

    def sum(self, values: "Sequence[tf.Tensor]") -> "list[tf.Tensor]":
        """Each value added up over all workers, the same bits everywhere; all have to call it, with the same shapes."""
        if self._distribution is None:
            return list(values)
        from pipeline.model.backend import tf

        def all_reduce(value: "tf.Tensor") -> "tf.Tensor":
            # Of a copy, because what comes from outside of `run` has no device there.
            return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, tf.identity(value))

        # One message and not one for each: most are small.
        flat = tf.concat([tf.reshape(value, [-1]) for value in values], axis=0)
        total = self._distribution.run(all_reduce, (flat,))
        parts = tf.split(total, [tf.size(value) for value in values])
        return [tf.reshape(part, tf.shape(value)) for part, value in zip(parts, values, strict=True)]

    def from_chief(self, make: Callable[[], bytes]) -> bytes:
        """What `make` gives on the chief, where alone it is called; all workers have to call this method."""
        if self._distribution is None:
            return make()
        from pipeline.model.backend import tf

        content = make() if self.is_chief else b""
        size = int(self.sum([tf.constant(len(content))])[0])
        numbers = np.zeros(-(-size // 4), dtype=np.int32)
        numbers.view(np.uint8)[: len(content)] = np.frombuffer(content, dtype=np.uint8)
        return self.sum([tf.constant(numbers)])[0].numpy().tobytes()[:size] if size else b""


ALONE = Workers()


@contextmanager
def join(member: Member) -> Iterator[Workers]:
    """Wait for the other workers and become one of them; once in a process, before it has computed anything.

    Inside, errors of tensorflow, such as a lost worker, are raised as `UserError`.
    """
    from pipeline.model.backend import tf

    count = len(member.addresses)
    try:
        cluster = tf.train.ClusterSpec({"worker": list(member.addresses)})
        resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
            cluster, task_type="worker", task_id=member.index, rpc_layer="grpc"
        )
        workers = Workers(member.index, count, tf.distribute.MultiWorkerMirroredStrategy(resolver))
        yield workers
        workers.from_chief(bytes)  # none leaves before the chief has written everything: the others would miss it
    except tf.errors.OpError as error:
        aborted = re.search("aborted by: (.*)", error.message)
        reason = aborted[1] if aborted else error.message.strip().partition("\n")[0]
        raise UserError(
            f"worker {member.index} of {count} at {member.addresses[member.index]} stopped, perhaps because another "
            f"one ended ({reason}): the next `dvc repro` resumes from the last checkpoint"
        ) from error
