"""Where Python processes spend their time: a thread in each samples the stack of its main thread.

`environment` makes every Python process that a command starts do so, forked ones too: it puts this file, which needs
nothing but the standard library, beside a `sitecustomize.py` on the path. Each process keeps its account in a file of
its own, so one that is killed has one too.
"""

import json
import os
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

INTERVAL = 0.01  # seconds between two samples
ACCOUNTS = "SAMPLING_ACCOUNTS"  # the environment variable with the folder of the accounts

KINDS = IMPORTS, MLFLOW, WAITING, WORK = "imports", "mlflow", "waiting", "work"
OF_MLFLOW = ("/mlflow/", "/pipeline/tracking/")
OF_WAITING = ("/multiprocessing/connection.py", "/selectors.py", "/subprocess.py")  # for another process


@dataclass(frozen=True)
class Account:
    """Seconds of a process by kind; `stage` is the DVC stage that it belongs to."""

    stage: str
    process: int
    seconds: dict[str, float]


def environment(folder: Path) -> dict[str, str]:
    """Variables that make a command's processes keep accounts in `folder`; to be put before its PYTHONPATH."""
    folder.mkdir(parents=True)
    shutil.copy(__file__, folder / "sampling.py")
    (folder / "sitecustomize.py").write_text("import sampling\n\nsampling.start()\n", encoding="utf-8")
    return {ACCOUNTS: str(folder), "PYTHONPATH": str(folder)}


def accounts(folder: Path) -> Iterator[Account]:
    """Read the accounts in `folder`."""
    for path in sorted(folder.glob("*.json")):
        yield Account(**json.loads(path.read_text(encoding="utf-8")))


def start() -> None:
    """Sample the calling main thread from now on, and that of every process forked from it."""
    os.register_at_fork(after_in_child=_start_thread)
    _start_thread()


def kind_of(frame: FrameType | None) -> str:
    """The kind of work of a thread by its innermost frame: imports, of anything, before MLflow, waiting, and work."""
    files = []
    while frame is not None:
        files.append(frame.f_code.co_filename.replace(os.sep, "/"))
        frame = frame.f_back
    if any(file.startswith("<frozen importlib") for file in files):
        return IMPORTS
    if any(part in file for file in files for part in OF_MLFLOW):
        return MLFLOW
    return WAITING if files and files[0].endswith(OF_WAITING) else WORK


def _start_thread() -> None:
    main = threading.get_ident()
    threading.Thread(target=_keep_account, args=(main,), daemon=True).start()


def _keep_account(main: int) -> None:
    path = Path(os.environ[ACCOUNTS]) / f"{os.getpid()}.json"
    account = Account(os.environ.get("DVC_STAGE", ""), os.getpid(), dict.fromkeys(KINDS, 0.0))
    before = written = time.perf_counter()
    while True:
        time.sleep(INTERVAL)
        now = time.perf_counter()
        account.seconds[kind_of(sys._current_frames().get(main))] += now - before
        before = now
        if now - written > 10 * INTERVAL:
            whole = path.with_suffix(".new")
            whole.write_text(json.dumps(vars(account)), encoding="utf-8")
            whole.replace(path)
            written = now
