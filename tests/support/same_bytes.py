"""What two runs of one training have to have in common."""

import hashlib
import json
from pathlib import Path

TAKEN = ("timings.csv", "environment.json")  # how long it took, and where


def comparable(folder: Path) -> dict[str, str]:
    """By name, the digest of each file of a run folder that says what came out, and run.json but for its seconds."""
    found = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.iterdir()
        if path.name not in (*TAKEN, "run.json")
    }
    metadata = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    return found | {"run.json": json.dumps(metadata | {"seconds": None})}
