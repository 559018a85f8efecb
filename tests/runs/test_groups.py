"""Groups of runs, and metadata of their rerankers."""

import json
from pathlib import Path

import pytest

from pipeline.config.params import Decoding, Order, changed, load_params
from pipeline.errors import UserError
from pipeline.runs.folders import RunMetadata, run_folder
from pipeline.runs.groups import RerankMetadata, RunGroup, ensembles, single_runs
from tests.conftest import PROJECT

DECODING = Decoding(order=Order.RERANK, beam_width=8, neighbours=0, ensemble=True, seed=3)


def test_metadata_is_read_as_it_was_written(tmp_path: Path) -> None:
    metadata = RerankMetadata("0" * 64, {0: "a", 7: "b"}, DECODING, 60)
    metadata.save(tmp_path)
    assert RerankMetadata.load(tmp_path) == metadata


@pytest.mark.parametrize("damage", [{"data": None}, {"decoding": {"order": "best"}}, {"more": 1}])
def test_damaged_metadata_says_what_to_do(tmp_path: Path, damage: dict[str, object]) -> None:
    RerankMetadata("0" * 64, {0: "a"}, DECODING, 60).save(tmp_path)
    path = tmp_path / "metadata.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | damage))
    with pytest.raises(UserError, match=r"metadata\.json cannot be used .*: run `dvc repro`"):
        RerankMetadata.load(tmp_path)


def test_missing_metadata_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"metadata\.json cannot be used .No such file"):
        RerankMetadata.load(tmp_path)


def test_every_run_has_its_files_and_so_has_the_ensemble() -> None:
    one, all_ = RunGroup("tandem", (4,)), RunGroup("tandem", (4, 5))
    assert (one.is_ensemble, all_.is_ensemble) == (False, True)
    assert [group.reranker.as_posix() for group in (one, all_)] == [
        "models/rerank/tandem/4.json",
        "models/rerank/tandem/ensemble.json",
    ]
    assert all_.predictions.as_posix() == "predictions/tandem-ensemble.tsv"


def test_there_is_an_ensemble_for_each_strategy_if_asked_for_and_seeds_are_several() -> None:
    params = changed(load_params(PROJECT / "params.yaml"), {"seeds": [0, 1], "decoding.ensemble": True})
    assert len(single_runs(params)) == 2 * len(params.strategies)
    assert ensembles(params) == [RunGroup(strategy, (0, 1)) for strategy in params.strategies]
    assert ensembles(changed(params, {"seeds": [0]})) == []
    assert ensembles(changed(params, {"decoding.ensemble": False})) == []


def test_runs_on_other_data_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for seed, data in enumerate("ab"):
        run_folder("tandem", seed).mkdir(parents=True)
        metadata = RunMetadata("tandem", seed, "content", data, 1, 1, 1, 1, 1, 0.5, 0.5)
        metadata.save(run_folder("tandem", seed))
    assert [metadata.seed for metadata in RunGroup("tandem", (0,)).run_metadata("a")] == [0]
    with pytest.raises(UserError, match="models/tandem/1 was trained on other data"):
        RunGroup("tandem", (0, 1)).run_metadata("a")


def test_without_options_the_strategy_predicts_that_is_best_on_dev_on_average(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for strategy, accuracies in {"tandem": (0.9, 0.1), "mine": (0.5, 0.6), "pretrain": (1.0, 1.0)}.items():
        for seed, accuracy in enumerate(accuracies):
            folder = run_folder(strategy, seed)
            RunMetadata(strategy, seed, "", "", 1, 1, 1, 1, 1, accuracy, 0.5).save(folder)
    assert RunGroup.choose() == RunGroup("mine", (1,))
    assert RunGroup.choose("tandem") == RunGroup("tandem", (0,))
