"""What a process takes of its machine while it works."""

import psutil

MEGABYTE = 1 << 20


class Usage:
    """The use that this process makes of processor and memory."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._process.cpu_percent()  # the beginning of the first interval

    def row(self) -> dict[str, float]:
        """Columns of history.csv: processor since the last call, 100 for one core kept busy, and memory held now."""
        memory = self._process.memory_info().rss / MEGABYTE
        return {"cpu_percent": self._process.cpu_percent(), "memory_megabytes": round(memory, 1)}
