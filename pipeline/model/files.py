"""The files of a trained network in a run folder: architecture and weights, which name and digest hold together."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.hashing import file_digest

WEIGHTS = "network.weights.h5"
ARCHITECTURE = "network.json"
DIGEST = "sha256"  # of architecture and weights, so that a changed bit is recognised as damage

# Everything that reading these files raises where one is missing or damaged.
UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError)


@dataclass(frozen=True)
class Sizes:
    """What the data fixes: source and target symbols with the special ones (V), and the longest output in symbols."""

    source_symbols: int
    target_symbols: int
    longest_output: int


def write_architecture(folder: Path, config: dict[str, Any]) -> None:
    """Write the architecture of the network whose weights are in the folder."""
    content = {**config, DIGEST: _digest(config, folder / WEIGHTS)}
    (folder / ARCHITECTURE).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def read_architecture(folder: Path) -> dict[str, Any]:
    """Read what `write_architecture` wrote; raises one of `UNREADABLE` for anything else, or for changed weights."""
    config: dict[str, Any] = json.loads((folder / ARCHITECTURE).read_text(encoding="utf-8"))
    if config.pop(DIGEST, None) != _digest(config, folder / WEIGHTS):
        raise ValueError("it is damaged, or from an earlier version: its content is not what this one writes")
    return config


def _digest(config: dict[str, Any], weights: Path) -> str:
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode() + bytes.fromhex(file_digest(weights))).hexdigest()
