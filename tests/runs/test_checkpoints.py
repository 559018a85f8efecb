"""Checkpoints on disk: whole or not used, of this training or not used, and never in the way."""

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.errors import show_logs
from pipeline.runs.checkpoints import FINISHED, LOCK, OLD, Checkpoint, Checkpoints, clear
from tests.conftest import PATIENCE


@pytest.fixture(autouse=True)
def _logs_are_shown() -> None:
    show_logs()


CHECKPOINT = Checkpoint({"step": 3, "loss": 0.1}, {"weights": np.arange(6, dtype=np.float32).reshape(2, 3)})


def kept(place: Path, *steps: int) -> Checkpoints:
    """The checkpoints of a training after these steps."""
    checkpoints = Checkpoints(place, "key", "tandem 0", seconds=0)
    with checkpoints:
        for step in steps:
            checkpoints.save(Checkpoint({"step": step}, {}), step)
    return checkpoints


def update_of(checkpoint: Checkpoint | None) -> int:
    assert checkpoint is not None
    return int(checkpoint.numbers["step"])


def test_a_checkpoint_comes_back_to_the_bit() -> None:
    numbers = {"third": 1 / 3, "tiny": 5e-324, "none": None, "name": "ž"}
    arrays: dict[str, NDArray[Any]] = {
        "a": np.array([0.1, -0.0, np.pi], dtype=np.float32),
        "b": np.array(7, dtype=np.int64),
    }
    found = Checkpoint.from_bytes(Checkpoint(numbers, arrays).to_bytes())
    assert found.numbers == numbers
    assert found.arrays.keys() == arrays.keys()
    for name, array in arrays.items():
        assert (found.arrays[name].dtype, found.arrays[name].shape) == (array.dtype, array.shape)
        assert found.arrays[name].tobytes() == array.tobytes()


def test_no_part_of_a_checkpoint_is_taken_for_the_whole() -> None:
    content = CHECKPOINT.to_bytes()
    for length in range(len(content)):
        with pytest.raises(ValueError, match=r"damaged|not a checkpoint"):
            Checkpoint.from_bytes(content[:length])


def test_no_flipped_bit_goes_unseen() -> None:
    content = CHECKPOINT.to_bytes()
    for place in range(len(content)):
        flipped = bytearray(content)
        flipped[place] ^= 1 << place % 8
        with pytest.raises(ValueError, match=r"damaged|not a checkpoint"):
            Checkpoint.from_bytes(bytes(flipped))


def test_arrays_of_objects_are_not_written() -> None:
    with pytest.raises(ValueError, match=r"[Oo]bject arrays"):
        Checkpoint({}, {"code": np.array([print], dtype=object)}).to_bytes()


def test_the_newest_two_are_kept(tmp_path: Path) -> None:
    assert update_of(kept(tmp_path, 1, 2, 10).newest()) == 10
    assert sorted(path.name for path in (tmp_path / "key").glob("*.checkpoint")) == [
        "000000000002.checkpoint",
        "000000000010.checkpoint",
    ]


def test_a_damaged_checkpoint_is_said_to_be_and_the_one_before_is_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoints = kept(tmp_path, 1, 2)
    newest = tmp_path / "key" / "000000000002.checkpoint"
    newest.write_bytes(newest.read_bytes()[:-1])
    assert update_of(checkpoints.newest()) == 1
    assert f"warning: {newest} cannot be used (it is damaged" in capsys.readouterr().err
    assert update_of(checkpoints.newest()) == 1
    assert not capsys.readouterr().err


def test_without_a_usable_checkpoint_there_is_nothing_to_go_on_from(tmp_path: Path) -> None:
    checkpoints = kept(tmp_path, 1)
    (tmp_path / "key" / "000000000001.checkpoint").write_bytes(b"")
    assert checkpoints.newest() is None
    assert Checkpoints(tmp_path, "other", "tandem 0", 0).newest() is None
    assert Checkpoints(None, "key", "tandem 0", 0).newest() is None


def test_a_checkpoint_is_due_after_its_seconds(tmp_path: Path) -> None:
    made = []

    def make() -> Checkpoint:
        made.append(1)
        return CHECKPOINT

    for seconds, expected in ((3600.0, 0), (0.0, 3)):
        with Checkpoints(tmp_path, f"every {seconds}", "tandem 0", seconds) as checkpoints:
            for number in range(3):
                checkpoints.save_if_due(make, number)
        assert len(made) == expected


def test_what_was_being_written_when_the_process_died_is_no_checkpoint(tmp_path: Path) -> None:
    checkpoints = kept(tmp_path, 1)
    (tmp_path / "key" / ".000000000002.checkpoint.new").write_bytes(CHECKPOINT.to_bytes()[:100])
    assert update_of(checkpoints.newest()) == 1


def limited(size: int) -> Callable[[], None]:
    """For a child process: no file grows beyond so many bytes, as on a disk that is full."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


SAVE = """
import signal, sys
import numpy as np
from pathlib import Path
from pipeline.errors import show_logs
from pipeline.runs.checkpoints import Checkpoint, Checkpoints
show_logs()
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with Checkpoints(Path(sys.argv[1]), "key", "tandem 0", 0) as kept:
    kept.save(Checkpoint({"step": 1}, {}), 1)
    for step in (2, 3):
        kept.save(Checkpoint({"step": step}, {"weights": np.zeros(100_000)}), step)
    print(kept.newest().numbers["step"])
"""


def test_on_a_full_disk_the_checkpoint_before_stays_and_one_warning_says_so(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SAVE, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=limited(50_000),
    )
    assert done.stdout == "1\n"
    assert done.stderr.count("warning: ") == 1
    assert "000000000002.checkpoint cannot be written (File too large). tandem 0 continues" in done.stderr
    assert [path.name for path in (tmp_path / "key").iterdir() if path.name != LOCK] == ["000000000001.checkpoint"]


def test_where_nothing_can_be_written_training_goes_on_with_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    with Checkpoints(tmp_path / "file", "key", "tandem 0", 0) as checkpoints:
        checkpoints.save_if_due(lambda: CHECKPOINT, 1)
        assert checkpoints.newest() is None
        checkpoints.finish()
    assert capsys.readouterr().err.startswith(f"warning: no checkpoints can be written to {tmp_path / 'file'} (")


WAIT = """
import sys
from pathlib import Path
from pipeline.errors import show_logs
from pipeline.runs.checkpoints import Checkpoints
show_logs()
with Checkpoints(Path(sys.argv[1]), "key", "tandem 0", 0) as kept:
    print(kept.newest().numbers["step"])
"""


def test_a_second_process_waits_for_the_first_and_goes_on_from_where_it_ended(tmp_path: Path) -> None:
    with Checkpoints(tmp_path, "key", "tandem 0", 0) as checkpoints:
        second = subprocess.Popen(
            [sys.executable, "-c", WAIT, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert second.stderr is not None
        assert second.stderr.readline() == "tandem 0: another process runs the same training; waiting for it to end\n"
        checkpoints.save(Checkpoint({"step": 7}, {}), 7)
    assert second.communicate(timeout=PATIENCE)[0] == "7\n"


def test_what_is_finished_or_old_is_cleared_and_the_rest_stays(tmp_path: Path) -> None:
    for key in ("finished", "old", "running", "fresh"):
        with Checkpoints(tmp_path, key, key, 0) as checkpoints:
            checkpoints.save(CHECKPOINT, 1)
            if key in ("finished", "running"):
                checkpoints.finish()
    before = time.time() - OLD - 1
    for path in [*(tmp_path / "old").iterdir(), tmp_path / "old"]:
        os.utime(path, (before, before))
    assert (tmp_path / "finished" / FINISHED).exists()
    other = "import sys; from filelock import FileLock; lock = FileLock(sys.argv[1]); lock.acquire(); print(); input()"
    command = [sys.executable, "-c", other, str(tmp_path / "running" / LOCK)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        clear(tmp_path)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["fresh", "running"]
        holder.communicate("\n")
    clear(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["fresh"]
    clear(tmp_path / "not there")
