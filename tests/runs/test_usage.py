"""What a process takes of its machine."""

import time

import numpy as np

from pipeline.runs.environment import Usage


def test_a_busy_process_shows_and_so_does_the_memory_it_holds() -> None:
    usage = Usage()
    usage.row()
    until = time.process_time() + 0.2
    while time.process_time() < until:
        pass
    busy = usage.row()
    held = np.ones(50 << 20, dtype=np.uint8)
    assert busy["cpu_percent"] > 0
    assert usage.row()["memory_megabytes"] > busy["memory_megabytes"] + 40
    assert len(held) == 50 << 20
