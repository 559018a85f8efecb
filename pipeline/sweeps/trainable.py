"""What Ray runs of a sweep, each piece in a process of its own: preparation, pretraining, trials.

All of it reads and writes the sweep's folder, which every machine has to see under the same path. A piece that is begun
again, because its process or machine died, goes on from its checkpoint.
"""

import contextlib
import os
import shutil
import traceback
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ray import tune

from pipeline.config.params import Params
from pipeline.errors import UserError
from pipeline.hashing import joined
from pipeline.keys import code_parts
from pipeline.parallel import THREADS
from pipeline.runs.folders import PRETRAIN, STEP, Row
from pipeline.sweeps.trials import ACCURACY, Place, Trial, load_trial

# Of what a trial reports: its looks since the last report, how much of its steps it made, in per cent, whether its
# run folder stands, and what went wrong.
ROWS, SHARE, FINISHED, PROBLEM = "rows", "share", "finished", "problem"


def code() -> str:
    """The same on machines with the same code."""
    return joined(*code_parts())


def share_of(trial: Trial, row: Row) -> float:
    """How much of its steps a trial has made at a look, in per cent."""
    return 100 * row[STEP] / trial.steps


def prepare(params: Params, place: Place) -> str:
    """Write the prepared data of these parameters, whole or not at all; what was wrong, if anything."""
    from pipeline.data.corpus import read_corpus
    from pipeline.data.prepared import write_prepared

    folder = place.prepared(params)
    new = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}")
    try:
        with contextlib.chdir(place.root):
            corpus = read_corpus(params.data, params.prepare)
        write_prepared(new, corpus, params.data.source_symbols, params.data.target_symbols)
        with contextlib.suppress(FileExistsError, OSError):
            new.rename(folder)  # fails if another process was first, which wrote the same
        return "" if folder.is_dir() else f"{folder} cannot be written"
    except (UserError, OSError) as error:
        return str(error)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def pretrain(trial: Trial, place: Place) -> str:
    """Train the autoencoder that a trial starts from; what was wrong, if anything."""
    try:
        for _ in _training(PRETRAIN, trial, place, place.pretrained(trial)):
            pass
    except UserError as error:
        return str(error)
    return ""


class TrialTraining(tune.Trainable):
    """A trial, a look at the development data at a time. Without checkpoints for Ray: training keeps its own.

    config: `root` and `name` of the sweep's place, `trial`, the trial's key, and `code`, the driver's.
    """

    def setup(self, config: dict[str, Any]) -> None:
        """Take up a trial; nothing is read yet, so that whatever fails is reported by `step`."""
        self._reports = self._run(Place(Path(config["root"]), config["name"]), config["trial"], config["code"])
        self._last: dict[str, Any] = {ACCURACY: 0.0, SHARE: 0.0, STEP: 0}

    def step(self) -> dict[str, Any]:
        """Go on to the next look; the last report is of the finished trial, or of one that cannot go on."""
        try:
            self._last |= next(self._reports)
        except UserError as error:
            self._last |= {ROWS: [], PROBLEM: str(error), "done": True}
        except Exception:  # Ray would begin again, and again
            self._last |= {ROWS: [], PROBLEM: traceback.format_exc(), "done": True}
        return dict(self._last)

    def cleanup(self) -> None:
        """Let go of the training, and of its lock."""
        self._reports.close()  # type: ignore[attr-defined]  # a generator

    def _run(self, place: Place, key: str, expected: str) -> Iterator[dict[str, Any]]:
        if code() != expected:
            raise UserError(
                "the code is not that with which the sweep began: install the same on all machines, or where it was "
                "changed since, start the sweep again"
            )
        folder = place.folder / "trials" / key
        trial = load_trial(folder)
        if trial.is_pretrained:
            _link(place.pretrained(trial) / PRETRAIN, folder / PRETRAIN)
        for rows in _training(trial.strategy, trial, place, folder):
            if rows:
                yield {ROWS: rows, SHARE: share_of(trial, rows[-1]), **rows[-1]}
        yield {ROWS: [], FINISHED: True, "done": True}


def _training(strategy: str, trial: Trial, place: Place, models: Path) -> Iterator[list[Row]]:
    # Tensorflow reads these when it is imported, in a process that Ray has just started.
    os.environ.update(dict.fromkeys(THREADS, str(trial.params.training.threads)))
    from pipeline.data.prepared import Prepared
    from pipeline.training.trainer import run_training

    prepared = Prepared.open(place.prepared(trial.params))
    yield from run_training(strategy, trial.params, prepared, trial.seed, models, place.checkpoints)


def _link(target: Path, link: Path) -> None:
    with contextlib.suppress(FileExistsError):
        link.symlink_to(os.path.relpath(target, link.parent))
