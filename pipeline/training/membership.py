"""Which processes train one network together: `training.workers` of this machine, or those that TF_CONFIG names.

Needs no tensorflow: the process that only starts them does without.
"""

import os
import socket
from contextlib import ExitStack
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from pipeline.errors import UserError

TF_CONFIG = "TF_CONFIG"
EXAMPLE = '{"cluster": {"worker": ["10.0.0.1:2222", "10.0.0.2:2222"]}, "task": {"type": "worker", "index": 0}}'


@dataclass(frozen=True)
class Member:
    """One of the processes. addresses: of all of them, host:port, in their order. index: its own place there."""

    addresses: tuple[str, ...]
    index: int

    @property
    def is_chief(self) -> bool:
        """Whether it is the one that keeps checkpoints and results, and tells the others what to go on from."""
        return self.index == 0


@dataclass(frozen=True)
class _Task:
    type: Literal["worker"]
    index: Annotated[int, Field(ge=0)]


@dataclass(frozen=True, config={"extra": "forbid"})
class _Cluster:
    worker: tuple[Annotated[str, Field(pattern=r"^\S+:[0-9]{1,5}$")], ...]


@dataclass(frozen=True)
class _Outside:
    cluster: _Cluster
    task: _Task


def members_here(count: int) -> list[Member]:
    """Those of `count` processes that are to be started here: the one that TF_CONFIG names, or all, on loopback.

    Raises `UserError` if TF_CONFIG cannot be used, or is about another number of them.
    """
    text = os.environ.get(TF_CONFIG)
    if not text:
        addresses = _free_addresses(count)
        return [Member(addresses, index) for index in range(count)]
    try:
        outside = TypeAdapter(_Outside).validate_json(text, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise UserError(f"TF_CONFIG cannot be used ({where}: {first['msg']}): it is to be like {EXAMPLE}") from error
    member = Member(outside.cluster.worker, outside.task.index)
    if len(set(member.addresses)) < len(member.addresses):
        raise UserError(f"TF_CONFIG names a worker twice: {', '.join(member.addresses)}")
    if len(member.addresses) != count:
        raise UserError(
            f"TF_CONFIG names {len(member.addresses)} worker(s), but training.workers is {count}: they must agree"
        )
    if member.index >= count:
        raise UserError(f"TF_CONFIG says worker {member.index}, but of {count} workers the last one is {count - 1}")
    return [member]


def _free_addresses(count: int) -> tuple[str, ...]:
    with ExitStack() as open_sockets:
        sockets = [open_sockets.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return tuple(f"127.0.0.1:{each.getsockname()[1]}" for each in sockets)
