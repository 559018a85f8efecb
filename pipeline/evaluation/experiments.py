"""Comparisons among the DVC experiments of a project that differ in number or sample of pairs alone."""

import contextlib
import csv
import io
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.config.params import PARAMS, load_params, parse_params
from pipeline.errors import UserError
from pipeline.evaluation.comparison import compared_in_verdict
from pipeline.evaluation.results import (
    CONTROLS,
    ENSEMBLES,
    EVALUATION,
    METRICS,
    REPORTS,
    VERDICT,
    Metrics,
    accuracy_table,
    ensemble_title,
    focus_of,
    strategies,
)
from pipeline.evaluation.sizes import BY_PAIRS, common
from pipeline.evaluation.variation import Estimate
from pipeline.evaluation.verdict import family

KEPT = ("items", "seeds", "confidence")  # of a strategy's metrics
PREDICTIONS = (REPORTS / "predictions").as_posix()


@dataclass(frozen=True, eq=False)
class Sample:
    """The comparison on one sample of the pairs.

    correct: by title of a row in the table of accuracies, 1 for a right prediction, float64 [seeds, items].
    """

    metrics: Metrics
    correct: Mapping[str, NDArray[np.float64]]


def collect(root: Path = Path()) -> tuple[pd.DataFrame, dict[int, Metrics]]:
    """Test word accuracy by number of pairs, from the workspace and the experiments of a DVC project.

    Columns `BY_PAIRS`; of several samples the mean, with an interval for new ones. Also what `over_samples` makes of
    them, by number of pairs. Experiments count if their parameters are those of params.yaml in the workspace but for
    `prepare.pairs`, `prepare.resamples` and `prepare.sample`; of several with the same sample the newest counts. Those
    of older versions, without reports/evaluation, are skipped. Raises `UserError` if DVC cannot list experiments, or
    one of several samples lacks its predictions or has other test items.
    """
    import dvc.api
    from dvc.exceptions import DvcException

    wanted = common(load_params(root / PARAMS))
    found: dict[int, dict[int, tuple[str | None, Metrics]]] = {}
    for revision in _revisions(root):
        at: dict[str, Any] = {"repo": str(root), "rev": revision}
        with contextlib.suppress(UserError, DvcException, OSError, ValueError, KeyError, TypeError, AttributeError):
            params = parse_params(dvc.api.params_show(str(PARAMS), **at))
            if common(params) == wanted:
                pairs = int(json.loads(dvc.api.read((REPORTS / "prepare.json").as_posix(), **at))["pairs"])
                samples = found.setdefault(pairs, {})
                if params.prepare.sample not in samples:
                    metrics = json.loads(dvc.api.read((EVALUATION / METRICS).as_posix(), **at))
                    samples[params.prepare.sample] = revision, metrics
    tables: list[pd.DataFrame] = []
    over: dict[int, Metrics] = {}
    for pairs in sorted(pairs for pairs, samples in found.items() if samples):
        (_, metrics), *others = found[pairs].values()
        if others:
            metrics = over[pairs] = over_samples(_with_predictions(root, found[pairs].values()), pairs)
        tables.append(accuracy_table(metrics | {CONTROLS: {}}).assign(pairs=pairs, samples=1 + len(others)))
    return pd.concat(tables, ignore_index=True)[BY_PAIRS] if tables else pd.DataFrame(columns=BY_PAIRS), over


def over_samples(samples: Sequence[Sample], pairs: int) -> Metrics:
    """Those metrics of which a verdict and a table of accuracies are made, for new samples, seeds and items.

    samples: at least two, of so many pairs each, with the same strategies, seeds and test items.
    """
    first = samples[0].metrics
    confidence = first[focus_of(first)]["confidence"]
    correct = {title: np.stack([each.correct[title] for each in samples]) for title in samples[0].correct}

    def accuracy(title: str) -> dict[str, Any]:
        estimate = Estimate.of_samples(correct[title])
        low, high = map(float, estimate.interval(confidence))
        return {"word_accuracy": {"mean": float(estimate.difference), "low": max(low, 0.0), "high": high}}

    metrics: Metrics = {}
    for name in strategies(first):
        steps = fmean(each.metrics[name]["paired_steps"] for each in samples)
        metrics[name] = {key: first[name][key] for key in KEPT} | {"paired_steps": steps} | accuracy(name)
    metrics[ENSEMBLES] = {name: accuracy(ensemble_title(name)) for name in first[ENSEMBLES]}
    metrics[CONTROLS] = {}
    metrics[VERDICT] = {**first[VERDICT], "samples": len(samples), "pairs": pairs}
    compared = compared_in_verdict(metrics)
    rows = family([Estimate.of_samples(correct[name] - correct[other]) for name, other in compared], confidence)
    metrics[VERDICT]["differences"] = [
        {"name": name, "other": other, **row} for (name, other), row in zip(compared, rows, strict=True)
    ]
    return metrics


def _with_predictions(root: Path, samples: Iterable[tuple[str | None, Metrics]]) -> list[Sample]:
    from dvc.api import DVCFileSystem

    found, first = [], None
    for revision, metrics in samples:
        runs = {name: [f"{name}-{seed}" for seed in metrics[name]["by_seed"]] for name in strategies(metrics)}
        runs |= {ensemble_title(name): [f"{name}-ensemble"] for name in metrics[ENSEMBLES]}
        where = f"experiment {revision}" if revision else "the workspace"
        try:
            files = DVCFileSystem(str(root), rev=revision)
            tables = {name: [_read(files.read_text(f"{PREDICTIONS}/{run}.tsv")) for run in runs[name]] for name in runs}
        except (OSError, ValueError) as error:
            raise UserError(f"the predictions of {where} cannot be read ({error}): run it again") from error
        items = next(iter(tables.values()))[0].drop(columns="correct")
        first = items if first is None else first
        if not items.equals(first):
            raise UserError(f"{where} has other test items than the newest one: `dvc exp remove` what is out of date")
        correct = {name: np.stack([table["correct"].to_numpy(float) for table in tables[name]]) for name in tables}
        found.append(Sample(metrics, correct))
    return found


def _read(predictions: str) -> pd.DataFrame:
    kinds: Any = {"dtype": {"source": str, "target": str, "correct": bool}, "keep_default_na": False}
    columns = ["source", "target", "correct"]
    return pd.read_csv(
        io.StringIO(predictions), sep="\t", usecols=columns, quoting=csv.QUOTE_NONE, lineterminator="\n", **kinds
    )


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
