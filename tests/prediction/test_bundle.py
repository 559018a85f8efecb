"""Bundles: what is in them, and that it predicts as the project does."""

from pathlib import Path

import pytest

from pipeline.config.params import Order
from pipeline.data.prepared import Prepared
from pipeline.errors import UserError
from pipeline.prediction.bundle import Bundle, write_bundle
from pipeline.prediction.predictor import chooser, learn_evidence, load_trained
from pipeline.reranking.reranker import Reranker
from pipeline.runs.groups import RERANKERS, RerankMetadata, RunGroup
from tests.support.small_project import RUNS, SOURCES, make_project


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "my project"
    make_project(root)
    monkeypatch.chdir(root)
    return root


@pytest.mark.parametrize(
    "group", [*RUNS, RunGroup("tandem", (0, 1))], ids=lambda group: f"{group.strategy} {group.name}"
)
def test_a_bundle_predicts_as_the_project_it_was_made_in(project: Path, tmp_path: Path, group: RunGroup) -> None:
    if group.is_ensemble:
        Reranker().save(group.reranker)
    prepared, metadata = Prepared.open(), RerankMetadata.load()
    evidence = learn_evidence(metadata.decoding, prepared, metadata.held_out)
    own = chooser(load_trained(group), metadata.decoding, evidence, Reranker.load(group.reranker))
    write_bundle(tmp_path / "bundle", group, prepared)
    project.rename(tmp_path / "elsewhere")
    assert Bundle.load(tmp_path / "bundle").chooser().choose(SOURCES) == own.choose(SOURCES)


def test_neither_dev_nor_test_is_in_a_bundle(project: Path, tmp_path: Path) -> None:
    write_bundle(tmp_path / "bundle", RUNS[0], Prepared.open())
    files = {path.relative_to(tmp_path / "bundle").as_posix() for path in (tmp_path / "bundle").rglob("*.*")}
    stores = {
        f"prepared/{name}.{part}.npy"
        for name in ("train_sources", "train_targets", "targets")
        for part in ("ids", "offsets")
    }
    run = {
        "history.csv",
        "network.json",
        "network.weights.h5",
        "run.json",
        "source_alphabet.json",
        "target_alphabet.json",
    }
    assert files == {"record.json", "reranker.json", "prepared/train.tsv"} | stores | {
        f"networks/0/{name}" for name in run
    }


def test_where_nothing_is_reranked_a_bundle_has_no_data_and_says_what_it_cannot_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_project(tmp_path, Order.BEAM)
    monkeypatch.chdir(tmp_path)
    write_bundle(tmp_path / "bundle", RUNS[0], Prepared.open())
    assert not (tmp_path / "bundle" / "prepared").exists()
    bundle = Bundle.load(tmp_path / "bundle")
    assert bundle.chooser().choose(["F AO"]) == bundle.chooser(order=Order.BEAM, beam=2).choose(["F AO"])
    with pytest.raises(UserError, match="this model has no reranker, its order is beam: ask for greedy or beam"):
        bundle.chooser(order=Order.RERANK)


def test_more_predictions_than_the_beam_is_wide_widen_it(project: Path, tmp_path: Path) -> None:
    write_bundle(tmp_path / "bundle", RUNS[0], Prepared.open())
    bundle = Bundle.load(tmp_path / "bundle")
    for order in (Order.GREEDY, Order.BEAM):
        five = bundle.chooser(n_best=5, order=order).choose(["F AO"])
        assert five == bundle.chooser(beam=5, order=Order.BEAM).choose(["F AO"])
        assert len(five[0]) == 5
    assert len(bundle.chooser(n_best=5).choose(["F AO"])[0]) >= 5


def test_what_was_fitted_on_other_data_is_not_bundled(project: Path, tmp_path: Path) -> None:
    train = project / "data" / "prepared" / "train.tsv"
    train.write_text(train.read_text(encoding="utf-8") + "K\tk\n", encoding="utf-8")
    with pytest.raises(UserError, match=f"{RERANKERS} was made with other data than data/prepared now holds"):
        write_bundle(tmp_path / "bundle", RUNS[0], Prepared.open())


def test_a_folder_that_is_no_bundle_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"record\.json cannot be used"):
        Bundle.load(tmp_path)
