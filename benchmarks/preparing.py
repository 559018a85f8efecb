"""Stage `prepare` on millions of synthetic targets: seconds, memory, and how they grow."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from benchmarks import children, loads
from pipeline.config.params import Params, changed

PAIRS = 5000
RAW = Path("data/raw")


def measure(params: Params, sizes: Sequence[int]) -> list[dict[str, Any]]:
    """Prepare so many targets each, dev and test targets held out, and give what each cost."""
    costs = []
    with TemporaryDirectory() as folder:
        for size in sizes:
            project = Path(folder) / str(size)
            write_project(project, params, size)
            cost, _ = children.run([sys.executable, "-m", "pipeline.stages.prepare"], project)
            prepared = json.loads((project / "reports" / "prepare.json").read_text(encoding="utf-8"))
            costs.append({"targets": size, "held_out": prepared["targets_held_out"], **asdict(cost)})
    return costs


def write_project(project: Path, params: Params, targets: int) -> None:
    """A project folder with pairs and targets in files; the targets of all pairs are in the list of targets."""
    (project / RAW).mkdir(parents=True)
    with (project / RAW / "targets.txt").open("wb") as file:
        file.writelines(loads.words(targets, seed=0))
    with (project / RAW / "targets.txt").open("rb") as file:
        rows = [word.rstrip(b"\n") for word in islice(file, PAIRS)]
    (project / RAW / "pairs.tsv").write_bytes(b"".join(b"%s\t%s\n" % (old_spelling(row), row) for row in rows))
    changes = {
        "data.source": "files",
        "data.pairs": str(RAW / "pairs.tsv"),
        "data.targets": str(RAW / "targets.txt"),
        "data.source_symbols": "characters",
        "prepare.pairs": None,
        "prepare.dev": len(rows) // 5,
        "prepare.test": len(rows) // 5,
        "prepare.targets": None,
        "prepare.hold_out_targets": True,
    }
    content = TypeAdapter(Params).dump_json(changed(params, changes))
    (project / "params.yaml").write_bytes(content)  # JSON is YAML


def old_spelling(word: bytes) -> bytes:
    """A source that is systematically unlike its target."""
    return word.replace(b"sh", b"sch").replace(b"y", b"ie").replace(b"k", b"ck")


def slope(sizes: Sequence[int], seconds: Sequence[float]) -> float | None:
    """Of the straight line through the logarithms, 1 where seconds are proportional; None for a single size."""
    if len(set(sizes)) < 2:
        return None
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])
