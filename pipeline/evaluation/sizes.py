"""The folder data/sizes: comparisons of DVC experiments that differ in the number of pairs alone, side by side."""

import contextlib
import io
import json
import logging
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.config.params import Params, flatten, load_params, parse_params
from pipeline.errors import UserError
from pipeline.evaluation.results import EVALUATION, METRICS, accuracy_table

PARAMS, SUMMARY = "params.yaml", "reports/prepare.json"
SIZE = "prepare.pairs"
UNRELATED = ("checkpoints.", "matcher.", "tracking.")  # parameters that change no accuracy of a strategy
SIZES_FOLDER, TABLE = Path("data/sizes"), "sizes.csv"
SIZES_METADATA = "params.json"  # the parameters that the comparisons in the table have in common
BY_PAIRS = ["strategy", "pairs", "word_accuracy", "low", "high"]


def collect(root: Path = Path()) -> pd.DataFrame:
    """Test word accuracy by number of pairs, from the workspace and the experiments of a DVC project.

    Columns `BY_PAIRS`. Experiments count if their parameters are those of params.yaml in the workspace but for
    `prepare.pairs`; of several with the same number of pairs the newest counts. Experiments of older versions, without
    reports/evaluation, are skipped. Raises `UserError` if DVC cannot list experiments.
    """
    import dvc.api
    from dvc.exceptions import DvcException

    wanted = _but_size(load_params(root / PARAMS))
    tables: dict[int, pd.DataFrame] = {}
    for revision in _revisions(root):
        at: dict[str, Any] = {"repo": str(root), "rev": revision}
        with contextlib.suppress(UserError, DvcException, OSError, ValueError, KeyError, TypeError, AttributeError):
            if _but_size(parse_params(dvc.api.params_show(PARAMS, **at))) == wanted:
                pairs = int(json.loads(dvc.api.read(SUMMARY, **at))["pairs"])
                if pairs not in tables:
                    metrics = json.loads(dvc.api.read((EVALUATION / METRICS).as_posix(), **at))
                    tables[pairs] = accuracy_table(metrics | {"controls": {}})
    parts = [tables[pairs].assign(pairs=pairs) for pairs in sorted(tables)]
    return pd.concat(parts, ignore_index=True)[BY_PAIRS] if parts else pd.DataFrame(columns=BY_PAIRS)


def save(rows: pd.DataFrame, params: Params, folder: Path = SIZES_FOLDER) -> None:
    """Keep the rows of `collect`, for the reports of comparisons with these parameters."""
    folder.mkdir(parents=True, exist_ok=True)
    rows.to_csv(folder / TABLE, index=False, lineterminator="\n")
    (folder / SIZES_METADATA).write_text(json.dumps(_but_size(params), indent=1) + "\n", encoding="utf-8")


def saved(params: Params, folder: Path = SIZES_FOLDER) -> pd.DataFrame:
    """The rows that `save` kept; empty if there are none, or they belong to other parameters."""
    with contextlib.suppress(OSError, ValueError):
        if json.loads((folder / SIZES_METADATA).read_text(encoding="utf-8")) == _but_size(params):
            return pd.read_csv(folder / TABLE)[BY_PAIRS]
    return pd.DataFrame(columns=BY_PAIRS)


def _but_size(params: Params) -> dict[str, object]:
    return {name: value for name, value in flatten(params).items() if name != SIZE and not name.startswith(UNRELATED)}


def _revisions(root: Path) -> list[str | None]:
    """None for the workspace, then the experiments from the newest to the oldest."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    logging.getLogger("dvc").setLevel(logging.ERROR)
    try:
        with Repo(str(root)) as repo, contextlib.redirect_stderr(io.StringIO()):
            experiments = [entry for entries in repo.experiments.ls(all_commits=True).values() for entry in entries]
    except DvcException as error:
        raise UserError(f"DVC cannot list experiments in {root.absolute()} ({error}): run `dvc repro` first") from error
    return [None, *(name for name, *_ in reversed(experiments))]
