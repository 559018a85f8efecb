"""Which comparison something belongs to: a key that is the same for equal parameters, data and code."""

import hashlib
import json
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pipeline.config import Params, flatten

# Modules that show or keep results and do not decide them: a change there does not make another comparison.
VIEW_ONLY = (
    "application.py",
    "attention.py",
    "batch.py",
    "bundle.py",
    "captions.py",
    "checkpoints.py",
    "cluster.py",
    "cli.py",
    "completion.py",
    "confusions.py",
    "connection.py",
    "coordinates.py",
    "curves.py",
    "datasets.py",
    "digests.py",
    "endpoint.py",
    "engines.py",
    "environment.py",
    "examples.py",
    "figures.py",
    "findings.py",
    "heatmaps.py",
    "keys.py",
    "local_store.py",
    "manifest.py",
    "markdown.py",
    "outcome.py",
    "page.py",
    "portable.py",
    "predicted.py",
    "publication.py",
    "ranking.py",
    "registry.py",
    "report.py",
    "served.py",
    "service.py",
    "serving.py",
    "shards.py",
    "sizes.py",
    "sources.py",
    "space.py",
    "stages/publish.py",
    "stored.py",
    "summary.py",
    "svg.py",
    "sweep.py",
    "sweep_runs.py",
    "tracking.py",
    "trainable.py",
    "trials.py",
    "usage.py",
)

COMPUTING = ("tensorflow", "keras", "numpy")  # another version may come to other numbers

# Modules and parameters of stage prepare alone: the digest of the data that it prepared stands for them.
PREPARE_ONLY = ("corpus.py", "raw.py", "stages/prepare.py")
PREPARE_SECTIONS = ("data", "prepare")
BEYOND_PREPARE = "prepare.hold_out_targets"  # decides what speaks for a candidate, too


def decisive_parameters(params: Params) -> dict[str, Any]:
    """The parameters, by dotted name, that decide a comparison on data that are prepared."""
    left_out = (*PREPARE_SECTIONS, "checkpoints", "tracking")
    return {
        name: value
        for name, value in flatten(params).items()
        if name == BEYOND_PREPARE or name.split(".")[0] not in left_out
    }


def comparison_key(params: Params, data_digest: str) -> str:
    """The comparison that a stage belongs to, 16 hexadecimal digits."""
    parts = [json.dumps(decisive_parameters(params), sort_keys=True), data_digest, *code_parts()]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def versions() -> Iterator[str]:
    """Those of the packages that compute."""
    return map(version, COMPUTING)


def code_parts() -> Iterator[str]:
    """Name and text of each module that decides what a comparison finds."""
    package = Path(__file__).parent
    for path in sorted([*package.glob("*.py"), *package.glob("stages/*.py")]):
        name = path.relative_to(package).as_posix()
        if name not in VIEW_ONLY and name not in PREPARE_ONLY:
            yield from (name, path.read_text(encoding="utf-8"))
