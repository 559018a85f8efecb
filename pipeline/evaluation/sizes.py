"""The folder data/sizes: comparisons that differ in the number of pairs, or in the sample of them, side by side."""

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.config.params import Params, flatten
from pipeline.evaluation.results import Metrics

if TYPE_CHECKING:  # what only reads a verdict is quick to import
    import pandas as pd

# Parameters that may differ: these, which choose the pairs, and those that change no accuracy of a strategy.
OF_PAIRS = ("prepare.pairs", "prepare.resamples", "prepare.sample")
UNRELATED = ("checkpoints.", "matcher.", "tracking.")
SIZES_FOLDER, TABLE, OVER_SAMPLES = Path("data/sizes"), "sizes.csv", "samples.json"
SIZES_METADATA = "params.json"  # the parameters that the comparisons in the table have in common
BY_PAIRS = ["strategy", "pairs", "samples", "word_accuracy", "low", "high"]


def save(
    rows: "pd.DataFrame", over_samples: Mapping[int, Metrics], params: Params, folder: Path = SIZES_FOLDER
) -> None:
    """Keep what `experiments.collect` returns, for the reports of comparisons with these parameters."""
    folder.mkdir(parents=True, exist_ok=True)
    rows.to_csv(folder / TABLE, index=False, lineterminator="\n")
    for name, content in ((OVER_SAMPLES, over_samples), (SIZES_METADATA, common(params))):
        (folder / name).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def saved(params: Params, folder: Path = SIZES_FOLDER) -> "pd.DataFrame":
    """The rows that `save` kept; empty if there are none, or they belong to other parameters or to another version."""
    import pandas as pd

    with contextlib.suppress(OSError, ValueError, KeyError):
        if _content(folder / SIZES_METADATA) == common(params):
            return pd.read_csv(folder / TABLE)[BY_PAIRS]
    return pd.DataFrame(columns=BY_PAIRS)


def saved_samples(params: Params, folder: Path = SIZES_FOLDER) -> Metrics | None:
    """What `save` kept over samples of `prepare.pairs` pairs; None if there are none, or of other parameters."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        if _content(folder / SIZES_METADATA) == common(params):
            metrics: Metrics = _content(folder / OVER_SAMPLES)[str(params.prepare.pairs)]
            return metrics
    return None


def common(params: Params) -> dict[str, object]:
    """The parameters, by dotted name, that comparisons side by side share."""
    return {
        name: value
        for name, value in flatten(params).items()
        if name not in OF_PAIRS and not name.startswith(UNRELATED)
    }


def _content(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
