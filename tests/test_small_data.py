"""Data at the edge of what can be learned from: every strategy is trained on it, reranked and compared."""

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline.config.params import Params, load_params
from pipeline.data.prepared import Prepared
from pipeline.runs.folders import PRETRAIN
from pipeline.training.trainer import run_training
from tests.conftest import shipped_params

pytestmark = pytest.mark.slow

WORDS = ("ab", "ba", "abc", "cab", "c", "bb", "ca", "bac")
SAME = "".join(f"{word}\t{word}\n" for word in WORDS)
SHAPES = {
    "one pair of one symbol": {"pairs": "a\ta\n", "dev": "a\ta\n", "test": "a\ta\n", "targets": "aa\n"},
    "sources equal to targets, unseen symbols in dev and test, all targets held out but one": {
        "pairs": SAME,
        "dev": f"{SAME}😀\tž\n",
        "test": "ß\tö\u0323\n",
        "targets": "\n".join([*WORDS, "x"]),
    },
}
STRATEGIES = {
    "supervised": {"tasks": ["paired"], "steps": 1},
    "augmented": {"tasks": ["paired", "synthetic"], "steps": 1, "finetune_steps": 1},
    "two_stage": {"tasks": ["paired"], "steps": 1, "start": "pretrained", "frozen_steps": 1},
    "alternating": {"tasks": ["paired", "autoencode"], "steps": 1},
    "tandem": {"tasks": ["paired", "autoencode", "synthetic"], "steps": 1, "start": "pretrained"},
}
CHANGES: dict[str, dict[str, Any]] = {
    "model": {"units": 4, "projection": 3, "embedding": 4, "cell": "gru"},
    "training": {"batch_size": 4, "evaluate_every": 1},
    "noise": {"kind": "learned"},
    "pretrain": {"steps": 1},
    "strategies": STRATEGIES,
    "decoding": {"beam_width": 2, "neighbours": 2, "ensemble": False},
    "evaluate": {"resamples": 100},
}


def project(folder: Path, shape: dict[str, str]) -> Params:
    """Write raw data and params.yaml."""
    content = shipped_params()
    content["seeds"] = [0]
    content["data"] |= {"source": "files", "source_symbols": "characters"}
    content["prepare"] |= {"pairs": None, "targets": None}
    for section, changes in CHANGES.items():
        content[section] |= changes
    (folder / "data/raw").mkdir(parents=True)
    for name, text in shape.items():
        (folder / f"data/raw/{name}.tsv").write_text(text, encoding="utf-8")
        content["data"][name] = f"data/raw/{name}.tsv"
    (folder / "params.yaml").write_text(json.dumps(content), encoding="utf-8")
    return load_params(folder / "params.yaml")


@pytest.mark.parametrize("shape", SHAPES)
def test_the_smallest_data_go_through_all_stages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shape: str) -> None:
    def run_stage(name: str, *arguments: str) -> None:
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        importlib.import_module(f"pipeline.stages.{name}").main()

    monkeypatch.chdir(tmp_path)
    params = project(tmp_path, SHAPES[shape])
    run_stage("prepare")
    for strategy in (PRETRAIN, *STRATEGIES):
        for _ in run_training(strategy, params, Prepared.open(), 0):
            pass
    run_stage("features")
    for strategy in STRATEGIES:
        run_stage("rerank", strategy)
    run_stage("evaluate")
    run_stage("report")
    metrics = json.loads((tmp_path / "reports/metrics.json").read_text(encoding="utf-8"))
    assert set(metrics) >= set(STRATEGIES)
    rows = (tmp_path / "reports/predictions/tandem-0.tsv").read_text(encoding="utf-8").split("\n")
    assert len(rows) == 1 + len(Prepared.open().test) + 1
    assert (tmp_path / "reports/index.html").stat().st_size > 1000
