"""How many pairs are needed: the comparisons of DVC experiments that differ in `prepare.pairs` alone, side by side."""

import contextlib
import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.config.params import Params, flatten, load_params, parse_params
from pipeline.errors import UserError
from pipeline.evaluation.results import ENSEMBLES, Metrics, ensemble_title, strategies
from pipeline.report.markdown import markdown_table, percent

PARAMS, METRICS, SUMMARY = "params.yaml", "reports/metrics.json", "reports/prepare.json"
SIZE = "prepare.pairs"
WORKSPACE = "workspace"
FOLDER, TABLE = Path("sizes"), "sizes.csv"
METADATA = "params.json"  # the parameters, but for the size, that the table is good for
BY_PAIRS = ["strategy", "pairs", "word_accuracy", "low", "high"]


def collect(root: Path = Path()) -> pd.DataFrame:
    """Test word accuracy by number of pairs, from the workspace and the experiments of a DVC project, `BY_PAIRS`.

    Experiments count whose parameters are those of params.yaml in the workspace but for `prepare.pairs`; of several
    with the same number of pairs the newest does. Raises `UserError` where DVC cannot be asked.
    """
    wanted = _but_size(load_params(root / PARAMS))
    found: dict[int, list[dict[str, Any]]] = {}
    for revision in _revisions(root):
        with contextlib.suppress(UserError, FileNotFoundError, ValueError, KeyError, TypeError):  # not (fully) made
            if _but_size(_params(root, revision)) == wanted:
                pairs = json.loads(_read(root, revision, SUMMARY))["pairs"]
                if pairs not in found:
                    found[pairs] = list(_rows(json.loads(_read(root, revision, METRICS)), pairs))
    return pd.DataFrame([row for pairs in sorted(found) for row in found[pairs]], columns=BY_PAIRS)


def save(rows: pd.DataFrame, params: Params, folder: Path = FOLDER) -> None:
    """Keep what `collect` found, for the report of the next comparison with these parameters."""
    folder.mkdir(parents=True, exist_ok=True)
    rows.to_csv(folder / TABLE, index=False, lineterminator="\n")
    (folder / METADATA).write_text(json.dumps(_but_size(params), indent=1) + "\n", encoding="utf-8")


def saved(params: Params, folder: Path = FOLDER) -> pd.DataFrame:
    """What `save` kept; no rows where there is nothing, or it belongs to other parameters."""
    with contextlib.suppress(OSError, ValueError):
        if json.loads((folder / METADATA).read_text(encoding="utf-8")) == _but_size(params):
            return pd.read_csv(folder / TABLE)[BY_PAIRS]
    return pd.DataFrame(columns=BY_PAIRS)


def table(rows: pd.DataFrame) -> str:
    """A markdown table: a row for each strategy, a column for each number of pairs."""
    sizes = sorted(set(rows["pairs"]))
    cells = {
        (row["strategy"], row["pairs"]): percent({"mean": row["word_accuracy"], "low": row["low"], "high": row["high"]})
        for row in rows.to_dict("records")
    }
    names = list(dict.fromkeys(rows["strategy"]))
    lines = [[name, *(cells.get((name, size), "–") for size in sizes)] for name in names]
    return markdown_table(["word accuracy, %, by pairs", *(f"{size:,}" for size in sizes)], lines)


def _rows(metrics: Metrics, pairs: int) -> Iterator[dict[str, Any]]:
    shown = {name: metrics[name] for name in strategies(metrics)}
    shown |= {ensemble_title(name): row for name, row in metrics.get(ENSEMBLES, {}).items()}
    for name, row in shown.items():
        accuracy = row["word_accuracy"]
        yield dict(zip(BY_PAIRS, (name, pairs, accuracy["mean"], accuracy["low"], accuracy["high"]), strict=True))


def _but_size(params: Params) -> dict[str, object]:
    return {name: value for name, value in flatten(params).items() if name != SIZE}


def _revisions(root: Path) -> list[str]:
    """The workspace, then the experiments, the newest first."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    logging.getLogger("dvc").setLevel(logging.ERROR)
    try:
        with Repo(str(root)) as repo, contextlib.redirect_stderr(io.StringIO()):
            experiments = [entry for entries in repo.experiments.ls(all_commits=True).values() for entry in entries]
    except DvcException as error:
        raise UserError(f"DVC cannot list experiments in {root.absolute()} ({error}): run it in the project") from error
    return [WORKSPACE, *(name for name, *_ in reversed(experiments))]


def _params(root: Path, revision: str) -> Params:
    if revision == WORKSPACE:
        return load_params(root / PARAMS)
    import dvc.api

    return parse_params(dvc.api.params_show(PARAMS, repo=str(root), rev=revision))


def _read(root: Path, revision: str, path: str) -> str:
    if revision == WORKSPACE:
        return (root / path).read_text(encoding="utf-8")
    import dvc.api

    return str(dvc.api.read(path, repo=str(root), rev=revision, encoding="utf-8"))
