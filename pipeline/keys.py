"""Keys: the inputs of a comparison, and the code that decides the results of a training."""

import json
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pipeline.config.params import Params, flatten
from pipeline.hashing import joined

# What shows or keeps results and does not decide them: a change there does not make another comparison.
VIEW_ONLY = (
    "batch",
    "checkpoints.py",
    "cli.py",
    "cluster.py",
    "digests.py",
    "keys.py",
    "publishing",
    "reporting",
    "serving",
    "stages/publish.py",
    "sweeps",
    "tracking",
)

COMPUTING = ("tensorflow", "keras", "numpy")  # another version may come to other numbers

# Code and parameters of stage prepare alone: the digest of the data that it prepared stands for them.
PREPARE_ONLY = ("reading", "stages/prepare.py")
PREPARE_SECTIONS = ("data", "prepare")
BEYOND_PREPARE = "prepare.hold_out_targets"  # decides features of candidates as well


def decisive_parameters(params: Params) -> dict[str, Any]:
    """The parameters, by dotted name, that decide a comparison on prepared data."""
    left_out = (*PREPARE_SECTIONS, "checkpoints", "tracking")
    return {
        name: value
        for name, value in flatten(params).items()
        if name == BEYOND_PREPARE or name.split(".")[0] not in left_out
    }


def comparison_key(params: Params, data_digest: str) -> str:
    """Digest of the inputs of a comparison: its parameters and the prepared data, but no code."""
    return joined(json.dumps(decisive_parameters(params), sort_keys=True), data_digest)


def versions() -> Iterator[str]:
    """Those of the packages that compute."""
    return map(version, COMPUTING)


def code_parts(*, with_preparation: bool = False) -> Iterator[str]:
    """Name and text of each module that decides what a comparison finds; by itself, or on prepared data."""
    package = Path(__file__).parent
    left_out = {package / name for name in (VIEW_ONLY if with_preparation else (*VIEW_ONLY, *PREPARE_ONLY))}
    for path in sorted(package.rglob("*.py")):
        if left_out.isdisjoint((path, *path.parents)):
            yield from (path.relative_to(package).as_posix(), path.read_text(encoding="utf-8"))
