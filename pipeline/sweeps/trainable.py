"""The pieces of a sweep that Ray runs, each in a process of its own: preparation, pretraining, trials.

All of them read and write the sweep's folder, which every machine has to see under the same path. A piece that is
started again, because its process or machine died, resumes from its last checkpoint.
"""

import contextlib
import os
import traceback
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ray import tune

from pipeline.config.params import Params
from pipeline.errors import UserError
from pipeline.parallel import environment
from pipeline.runs.folders import ACCURACY, PRETRAIN, Row
from pipeline.sweeps.trials import Place, Trial, code

# Keys of a trial's reports: its evaluations since the last report, the per cent of its steps that it has made, whether
# its run folder is complete, and why it failed.
ROWS, SHARE, COMPLETE, PROBLEM = "rows", "share", "complete", "problem"


def prepare(params: Params, place: Place) -> str:
    """Write the prepared data of these parameters, whole or not at all; returns the problem, if any."""
    from pipeline.data.corpus import read_corpus
    from pipeline.data.prepared import write_prepared

    folder = place.prepared(params)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.chdir(place.root):
            corpus = read_corpus(params.data, params.prepare)
        with TemporaryDirectory(prefix=".", dir=folder.parent, ignore_cleanup_errors=True) as scratch:
            new = Path(scratch) / folder.name
            write_prepared(new, corpus, params.data.source_symbols, params.data.target_symbols)
            with contextlib.suppress(OSError):
                new.rename(folder)  # fails if another process was first, which wrote the same
        return "" if folder.is_dir() else f"{folder} cannot be written"
    except (UserError, OSError) as error:
        return str(error)


def pretrain(start: Trial, place: Place) -> str:
    """Train an autoencoder that trials start from; returns the problem, if any."""
    try:
        deque(_training(start, place), maxlen=0)
        return ""
    except UserError as error:
        return str(error)


def train(config: dict[str, Any], trials: Mapping[str, Trial], place: Place, expected_code: str) -> None:
    """Run a trial and report each evaluation to Ray Tune, which keeps no checkpoints: training has its own.

    config: the key of the `trial`. expected_code: the driver's `code`.
    """
    for report in reports(trials[config["trial"]], place, expected_code):
        tune.report({ACCURACY: 0.0, SHARE: 0.0, **report})  # Tune wants both in every report


def reports(trial: Trial, place: Place, expected_code: str) -> Iterator[dict[str, Any]]:
    """Train a trial; the last report has `COMPLETE`, or `PROBLEM` if trying again is of no use."""
    try:
        if code() != expected_code:
            differs = "the code differs from the code that the sweep started with"
            raise UserError(f"{differs}: install the same on all machines, or, if it was changed since, start again")
        folder = place.trial(trial)
        folder.mkdir(parents=True, exist_ok=True)
        if start := trial.pretraining:
            with contextlib.suppress(FileExistsError):
                (folder / PRETRAIN).symlink_to(os.path.relpath(place.trial(start) / PRETRAIN, folder))
        for rows in _training(trial, place):
            if rows:
                yield {ROWS: rows, SHARE: trial.share(rows[-1]), **rows[-1]}
        yield {ROWS: [], COMPLETE: True}
    except UserError as error:
        yield {ROWS: [], PROBLEM: str(error)}
    except Exception:
        yield {ROWS: [], PROBLEM: traceback.format_exc()}


def _training(trial: Trial, place: Place) -> Iterator[list[Row]]:
    # Tensorflow reads these when it is imported, in a process that Ray has just started.
    os.environ.update(environment(trial.params.training.threads, trial.params.training.device))
    from pipeline.data.prepared import Prepared
    from pipeline.training.trainer import run_training

    prepared, models = Prepared.open(place.prepared(trial.params)), place.trial(trial)
    yield from run_training(trial.strategy, trial.params, prepared, trial.seed, models, place.checkpoints)
