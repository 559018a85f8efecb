"""Engines run the tasks of a job, whatever those are: in this process, or with Ray on this machine or a cluster.

Each worker calls `start` once, which can be pickled. Results come in any order, and a task may be done twice if the
worker that did it first was lost.
"""

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import redirect_stdout
from functools import lru_cache
from itertools import islice
from typing import Any

from pipeline.errors import UserError
from pipeline.parallel import environment

RETRIES = 10  # of a task whose worker or node was lost
AHEAD = 2  # tasks submitted for each core, so that none waits for the next

Work = Callable[[Any], Any]  # the result of a task
Start = Callable[[], Work]
Engine = Callable[[Start, Iterable[Any]], Iterator[Any]]


def run_here(start: Start, tasks: Iterable[Any]) -> Iterator[Any]:
    """The result of each task, one after the other, in this process."""
    return map(start(), tasks)


def run_on_ray(start: Start, tasks: Iterable[Any], address: str | None = None) -> Iterator[Any]:
    """The results of workers on each core of a Ray cluster, or of this machine if there is no address.

    The nodes of a cluster need this package, and see the same files at the same paths. Errors of tasks are raised here,
    and `UserError` if workers are lost again and again.
    """
    try:
        from pipeline import ray_cluster
    except ImportError as error:
        raise UserError(f"--engine ray needs Ray ({error}): python -m pip install '.[cluster]'") from error
    with ray_cluster.connected(address) as ray, redirect_stdout(sys.stderr):  # where Ray reports lost workers
        shared = [ray.put(start)]  # in a list, or every task would get a copy
        alone = {"env_vars": environment(threads=1)}
        remote = ray.remote(num_cpus=1, max_retries=RETRIES, runtime_env=alone)(_run)
        waiting, running = iter(tasks), list[Any]()
        while True:
            room = AHEAD * int(ray.cluster_resources().get("CPU", 1)) - len(running)
            running += [remote.remote(shared, task) for task in islice(waiting, max(room, not running))]
            if not running:
                return
            (finished,), running = ray.wait(running)
            try:
                yield ray.get(finished)
            except ray.exceptions.RayTaskError as error:
                if isinstance(error.cause, UserError):
                    raise error.cause from None
                raise
            except ray.exceptions.RayError as error:
                raise UserError(f"Ray lost a task {RETRIES + 1} times, the last time so: {error}") from error


def _run(shared: list[Any], task: Any) -> Any:
    return _work(shared[0])(task)


@lru_cache(maxsize=1)  # a worker does many tasks of a job
def _work(shared: Any) -> Work:
    import ray

    return ray.get(shared)()
