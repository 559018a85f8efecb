"""Engines run the tasks of a job, whatever those are: in this process, or with Ray on this machine or a cluster."""

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any, Protocol, TypeAlias

from pipeline.errors import UserError
from pipeline.parallel import THREADS

RETRIES = 10  # of a task whose worker or node was lost
AHEAD = 2  # tasks submitted for each core, so that none waits for the next

Task: TypeAlias = Any
Result: TypeAlias = Any
Start = Callable[[Path], Callable[[Task], Result]]  # called once in each worker, with a new folder
NextTask = Callable[[], Task | None]  # None: none for now; it is called again after each result


class Engine(Protocol):
    """Does tasks in workers that `start` starts with the files of `content`; results come in any order.

    `start` can be pickled. A task may be done twice if the worker that did it first was lost.
    """

    def results(self, start: Start, content: Mapping[str, bytes], next_task: NextTask) -> Iterator[Result]:
        """The result of every task."""


class LocalEngine:
    """Does one task after the other, in this process."""

    def results(self, start: Start, content: Mapping[str, bytes], next_task: NextTask) -> Iterator[Result]:
        """The result of every task, in their order."""
        work = None
        while (task := next_task()) is not None:
            work = work or _started(start, content)
            yield work(task)


@dataclass(frozen=True)
class RayEngine:
    """A worker for each core of a Ray cluster, or of this machine if there is no address.

    The nodes of a cluster need this package, and see the same files at the same paths.
    """

    address: str | None = None

    def results(self, start: Start, content: Mapping[str, bytes], next_task: NextTask) -> Iterator[Result]:
        """The result of every task; nothing is started if there is no task.

        Errors of tasks are raised here, and `UserError` if workers are lost again and again.
        """
        if (task := next_task()) is None:
            return
        with _cluster().connected(self.address) as ray, redirect_stdout(sys.stderr):  # where Ray reports lost workers
            key = os.urandom(8).hex()
            shared = [ray.put(dict(content))]  # in a list, or every task would get a copy
            alone = {"env_vars": dict.fromkeys(THREADS, "1")}
            remote = ray.remote(num_cpus=1, max_retries=RETRIES, runtime_env=alone)(_run)
            running: list[Any] = []
            while task is not None or running:
                while task is not None:
                    running.append(remote.remote(key, start, shared, task))
                    room = len(running) < AHEAD * ray.cluster_resources().get("CPU", 1)
                    task = next_task() if room else None
                finished, running = ray.wait(running)
                yield _result(ray, finished[0])
                task = next_task()


_work: dict[str, Callable[[Task], Result]] = {}  # in a worker of Ray: by the key of its job


def _run(key: str, start: Start, shared: list[Any], task: Task) -> Result:
    """Do a task in a worker of Ray, which does many of a job."""
    if key not in _work:
        import ray

        _work.clear()
        _work[key] = _started(start, ray.get(shared[0]))
    return _work[key](task)


def write_files(content: Mapping[str, bytes], folder: Path) -> None:
    """Write files by their paths in a folder."""
    for name, data in content.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def _started(start: Start, content: Mapping[str, bytes]) -> Callable[[Task], Result]:
    with TemporaryDirectory() as folder:
        write_files(content, Path(folder))
        return start(Path(folder))


def _result(ray: Any, reference: Any) -> Result:
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, UserError):
            raise error.cause from None
        raise
    except ray.exceptions.RayError as error:
        raise UserError(f"Ray lost a task {RETRIES + 1} times, the last time so: {error}") from error


def _cluster() -> ModuleType:
    try:
        from pipeline import ray_cluster as cluster
    except ImportError as error:
        raise UserError(f"--engine ray needs Ray ({error}): python -m pip install '.[cluster]'") from error
    return cluster
