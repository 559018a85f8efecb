"""Work in several processes side by side, each with few threads: small matrices leave further threads half idle."""

import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from threading import Thread
from typing import TypeVar, cast

from joblib import cpu_count

from pipeline.config.options import DEVICE, Device
from pipeline.errors import UserError, open_streams, show_logs

T = TypeVar("T")
R = TypeVar("R")

# What tensorflow and the libraries below numpy read when they are first imported.
THREADS = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")


def environment(threads: int, device: Device = Device.CPU) -> dict[str, str]:
    """The variables of a process that has yet to import tensorflow: so many threads, and on processors no GPU at all.

    On a GPU it takes memory as it needs it, and not all of it at once.
    """
    visible = {"CUDA_VISIBLE_DEVICES": "-1"} if device is Device.CPU else {"TF_FORCE_GPU_ALLOW_GROWTH": "true"}
    return {**dict.fromkeys(THREADS, str(threads)), DEVICE: device.value, **visible}


def jobs_for(items: int, threads: int, device: Device = Device.CPU) -> int:
    """How many processes with so many threads each to run at once, so that no core idles in a last round of a few.

    At most twice as many as the cores have room for: three items on two cores all run at once, in one and a half times
    the time of one. On a GPU one at a time.
    """
    if device is Device.GPU:
        return 1
    room = max(1, cpu_count() // threads)
    rounds = max(1, items // room)
    return max(1, -(-items // rounds))


def side_by_side(
    work: Callable[[T], Iterable[R]],
    items: Iterable[T],
    jobs: int,
    threads: int = 1,
    imports: Sequence[str] = (),
    device: Device = Device.CPU,
) -> Iterator[R]:
    """All that `work` yields for the items, each as it comes, from up to `jobs` processes that live to the end.

    They start now, and not when the first result is asked for. imports: modules that all need; they are imported once
    and the processes forked from there, so they must not compute anything when imported (a tensorflow that has
    computed hangs when forked). On a GPU, which does not survive a fork, each process imports them itself. A
    `UserError` of `work` is raised here, and one for a process that ends with any other error or was killed; both end
    the other processes. When this process ends, however it does, so do they.
    """
    waiting = deque(items)
    context = get_context("forkserver")
    context.set_forkserver_preload([] if device is Device.GPU else list(imports))
    running: dict[Connection, BaseProcess] = {}
    variables = environment(threads, device)
    before = {name: os.environ[name] for name in variables if name in os.environ}
    os.environ.update(variables)
    try:
        while waiting and len(running) < jobs:  # all start now: a later one might import code that has changed
            connection, theirs = context.Pipe()
            running[connection] = context.Process(target=_serve, args=(work, theirs), daemon=True)
            running[connection].start()
            theirs.close()  # now the pipe ends when the process does
            connection.send(waiting.popleft())
    finally:
        for name in variables:
            del os.environ[name]
        os.environ.update(before)
    return _results(running, waiting)


def _results(running: dict[Connection, BaseProcess], waiting: deque[T]) -> Iterator[R]:
    try:
        while running:
            for connection in cast(list[Connection], wait(list(running))):
                try:
                    found = connection.recv()
                except (EOFError, ConnectionError):
                    running[connection].join()
                    code = running[connection].exitcode or 0
                    if code < 0:
                        killed = f"a process was killed ({signal.Signals(-code).name}), perhaps for lack of memory"
                        raise UserError(f"{killed}: the next `dvc repro` resumes") from None
                    raise UserError(f"a worker process exited with code {code} (see the traceback above)") from None
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
            unfinished.kill()  # tensorflow's workers live on after SIGTERM


def _serve(work: Callable[[T], Iterable[R]], connection: Connection) -> None:
    """Answer each item with all its results and None, until there are no more items."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends its processes
    Thread(target=_end_with_parent, daemon=True).start()
    open_streams()
    show_logs()
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


def _end_with_parent() -> None:
    """A parent that is killed cannot end its processes."""
    if parent := parent_process():
        parent.join()
        os._exit(1)
