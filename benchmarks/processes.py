"""Work in several processes side by side, each with one thread: small matrices leave further threads half idle."""

import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import TypeVar, cast

from pipeline.errors import UserError

T = TypeVar("T")
R = TypeVar("R")

# What tensorflow and the libraries below numpy read when they are first imported.
ONE_THREAD = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "OMP_NUM_THREADS": "1"}


def side_by_side(work: Callable[[T], Iterable[R]], items: Iterable[T], jobs: int) -> Iterator[R]:
    """All that `work` yields for the items, each as it comes, from up to `jobs` processes that live to the end.

    With one job everything happens in this process, with all its threads. A `UserError` of `work` is raised here; a
    process that ends with any other error raises RuntimeError. Both end the other processes.
    """
    if jobs == 1:
        for item in items:
            yield from work(item)
        return
    waiting = deque(items)
    running: dict[Connection, BaseProcess] = {}
    try:
        while waiting and len(running) < jobs:  # all start now: a later one might import code that has changed
            connection, process = _start(work)
            running[connection] = process
            connection.send(waiting.popleft())
        while running:
            for connection in cast(list[Connection], wait(list(running))):
                try:
                    found = connection.recv()
                except EOFError:
                    running[connection].join()
                    raise RuntimeError(f"a process ended with exit code {running[connection].exitcode}") from None
                if isinstance(found, UserError):
                    raise found
                if found is not None:
                    yield found
                elif waiting:
                    connection.send(waiting.popleft())
                else:
                    connection.close()
                    running.pop(connection).join()
    finally:
        for unfinished in running.values():
            unfinished.terminate()


def _start(work: Callable[[T], Iterable[R]]) -> tuple[Connection, BaseProcess]:
    context = get_context("spawn")  # a forked tensorflow hangs
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(work, theirs), daemon=True)
    with _environment(ONE_THREAD):
        process.start()
    theirs.close()  # now the pipe ends when the process does
    return ours, process


def _serve(work: Callable[[T], Iterable[R]], connection: Connection) -> None:
    """Answer each item with all its results and None, until there are no more items."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends its processes
    while True:
        try:
            item = connection.recv()
        except EOFError:
            return
        try:
            for found in work(item):
                connection.send(found)
        except UserError as error:  # any other shows its traceback here
            connection.send(error)
        connection.send(None)


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
