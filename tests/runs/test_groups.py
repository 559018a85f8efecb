"""What is kept of rerankers, and for which runs."""

import json
from pathlib import Path

import pytest

from pipeline.config.params import Decoding, Order
from pipeline.errors import UserError
from pipeline.runs.folders import RunMetadata, run_folder, save_metadata
from pipeline.runs.groups import RerankMetadata, RunGroup, ensembles, single_runs

DECODING = Decoding(order=Order.RERANK, beam_width=8, neighbours=0, ensemble=True, seed=3)


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    metadata = RerankMetadata("0" * 64, (0, 7), held_out=True, decoding=DECODING)
    metadata.save(tmp_path)
    assert RerankMetadata.load(tmp_path) == metadata


@pytest.mark.parametrize("damage", [{"data": None}, {"decoding": {"order": "best"}}, {"more": 1}])
def test_a_damaged_record_says_what_to_do(tmp_path: Path, damage: dict[str, object]) -> None:
    RerankMetadata("0" * 64, (0,), held_out=True, decoding=DECODING).save(tmp_path)
    path = tmp_path / "record.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | damage))
    with pytest.raises(UserError, match=r"record\.json cannot be used .*: run `dvc repro`"):
        RerankMetadata.load(tmp_path)


def test_a_missing_record_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"record\.json cannot be used .No such file"):
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
    assert len(single_runs([0, 1])) == 6
    assert [group.seeds for group in ensembles([0, 1], DECODING)] == [(0, 1)] * 3
    assert ensembles([0], DECODING) == []
    assert ensembles([0, 1], Decoding(order=Order.BEAM, beam_width=8, neighbours=0, ensemble=False, seed=0)) == []


def test_runs_on_other_data_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for seed, data in enumerate("ab"):
        run_folder("tandem", seed).mkdir(parents=True)
        save_metadata(RunMetadata("tandem", seed, data, 1, 1, 1, 1, 1.0, 1, 0.5, 0.5), run_folder("tandem", seed))
    assert [metadata.seed for metadata in RunGroup("tandem", (0,)).records("a")] == [0]
    with pytest.raises(UserError, match="models/tandem/1 was trained on other data"):
        RunGroup("tandem", (0, 1)).records("a")
