"""Bundles: what is in them, and that they predict as the project does."""

from pathlib import Path

import pytest

from pipeline.config.params import Order
from pipeline.errors import UserError
from pipeline.model.files import ARCHITECTURE, WEIGHTS
from pipeline.prediction.bundle import NETWORK_FILES, write_bundle
from pipeline.prediction.predictor import Predictor
from pipeline.reranking.features import FILES
from pipeline.runs.groups import RunGroup
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
    expected = Predictor.of_runs(group).predict(SOURCES)
    write_bundle(tmp_path / "bundle", group)
    project.rename(tmp_path / "elsewhere")
    assert Predictor.load(tmp_path / "bundle").predict(SOURCES) == expected


def test_a_bundle_has_what_prediction_reads_and_neither_pairs_nor_targets(project: Path, tmp_path: Path) -> None:
    write_bundle(tmp_path / "bundle", RUNS[0])
    files = {path.relative_to(tmp_path / "bundle").as_posix() for path in (tmp_path / "bundle").rglob("*.*")}
    assert files == {
        "metadata.json",
        "reranker.json",
        "edits.npz",
        "features/features.json",
        *(f"features/{name}" for name in FILES),
        *(f"networks/0/{name}" for name in NETWORK_FILES),
    }
    assert {ARCHITECTURE, WEIGHTS} <= set(NETWORK_FILES)


def test_without_reranking_a_bundle_has_no_features_and_refuses_to_rerank(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_project(tmp_path, Order.BEAM)
    monkeypatch.chdir(tmp_path)
    write_bundle(tmp_path / "bundle", RUNS[0])
    assert not (tmp_path / "bundle" / "features").exists()
    predictor = Predictor.load(tmp_path / "bundle")
    assert predictor.predict(["F AO"]) == predictor.predict(["F AO"], predictor.options(Order.BEAM, beam_width=2))
    with pytest.raises(UserError, match="this model has no reranker, its order is beam: ask for order greedy or beam"):
        predictor.options(Order.RERANK)
    with pytest.raises(UserError, match="this model has no reranker"):
        Predictor.load(tmp_path / "bundle", Order.RERANK)


def test_rerankers_of_other_networks_are_not_bundled(project: Path, tmp_path: Path) -> None:
    run = project / "models" / "tandem" / "1" / "run.json"
    run.write_text(run.read_text(encoding="utf-8").replace('"content": "', '"content": "f'), encoding="utf-8")
    with pytest.raises(UserError, match="models/rerank/tandem was fitted with other networks than those in models"):
        write_bundle(tmp_path / "bundle", RUNS[-1], Order.RERANK)


def test_features_of_other_data_are_refused(project: Path, tmp_path: Path) -> None:
    write_bundle(tmp_path / "bundle", RUNS[0])
    metadata = tmp_path / "bundle" / "metadata.json"
    metadata.write_text(metadata.read_text(encoding="utf-8").replace('"data": "', '"data": "f'), encoding="utf-8")
    with pytest.raises(UserError, match=r"reranker\.json was fitted with other features than the existing ones"):
        Predictor.load(tmp_path / "bundle")


def test_a_folder_that_is_no_bundle_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"metadata\.json cannot be used"):
        Predictor.load(tmp_path)
