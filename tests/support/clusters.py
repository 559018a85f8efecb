"""A Ray cluster on this machine: a head and further nodes, each with processes of its own, that can be killed."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psutil
import pytest

MEMORY = 100 * 2**20  # bytes of each node's store of objects


@dataclass
class TestCluster:
    """address: what `--address` takes. nodes: those that can be killed; the head is not among them."""

    __test__ = False  # no test itself

    address: str
    nodes: list[Any] = field(default_factory=list)

    def processes(self, node: int) -> list[psutil.Process]:
        """Of a node: its raylet, and all that this started, workers among them."""
        raylet = psutil.Process(self.nodes[node].all_processes["raylet"][0].process.pid)
        return [raylet, *raylet.children(recursive=True)]

    def workers(self, node: int) -> list[psutil.Process]:
        """Processes of a node that have a task in hand, or wait for one."""
        return [process for process in self.processes(node)[1:] if _is_worker(process)]

    def kill(self, node: int) -> None:
        """End a node as a power cut would: nothing of it has time to say goodbye."""
        processes = self.processes(node)
        for process in processes:
            process.suspend()
        for process in processes:
            process.kill()


def _is_worker(process: psutil.Process) -> bool:
    title = next(iter(process.cmdline()), "")
    return title.startswith("ray::") and not title.endswith("Agent")


@contextmanager
def two_nodes(cores: int = 1) -> Iterator[TestCluster]:
    """A head with so many cores and one more node with as many; skips the test where Ray is not installed."""
    pytest.importorskip("ray", reason="needs Ray: python -m pip install '.[cluster]'")
    from ray.cluster_utils import Cluster

    size = {"num_cpus": cores, "object_store_memory": MEMORY}
    cluster = Cluster(initialize_head=True, head_node_args={**size, "include_dashboard": False})
    try:
        node = cluster.add_node(**size)
        cluster.wait_for_nodes()
        yield TestCluster(cluster.address, [node])
    finally:
        cluster.shutdown()
