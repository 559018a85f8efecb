"""The gate and the way back: which version is the champion, why, and that an interruption changes nothing of it."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion

from pipeline.reranking.reranker import Reranker
from pipeline.tracking.registry import UNDECIDED
from tests.conftest import Call
from tests.support.small_project import DEV_OF_100, make_project
from tests.support.stored import client
from tests.tracking.test_models import BEST, aliases, models, publish, versions

RIGHT = np.arange(100) < 75  # of the items of dev, by the first champion


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("registry") / "a project"
    make_project(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        publish()
    return root


@pytest.fixture
def project(published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with one version, the champion, to publish again."""
    shutil.copytree(published, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path / "project"


def train(right: Any, items: tuple[list[str], list[set[str]]] = DEV_OF_100) -> None:
    """The best run of now gets these items right."""
    accuracy = float(np.mean(right))
    replace(Reranker.load(BEST.reranker), accuracy=accuracy).measured(right, *items).save(BEST.reranker)


def version(root: Path, number: int) -> ModelVersion:
    return client(root).get_model_version("tandem", str(number))


def description(root: Path, number: int) -> str:
    return version(root, number).description or ""


def test_the_first_version_says_on_what_it_was_measured(project: Path) -> None:
    assert aliases(project) == {"champion": 1}
    text = description(project, 1)
    items = Reranker.load(BEST.reranker).items[:8]
    assert text.startswith(f"75.0% right in cross-validation of 100 dev items ({items}), data ")
    assert text.endswith(". It is the champion: there was none before")
    assert UNDECIDED not in version(project, 1).tags


@pytest.mark.parametrize(
    ("right", "points"),
    [
        (RIGHT, "+0.0 points (+0.0 to +0.0)"),
        (np.roll(RIGHT, 3), "+0.0 points ("),  # other items, as many
        (np.arange(100) < 95, "+20.0 points ("),
        (np.where(np.arange(100) < 3, False, np.roll(RIGHT, 2)), "-1.0 points ("),  # a little worse, as by chance
    ],
)
def test_a_version_that_is_not_worse_is_the_champion(
    project: Path, right: Any, points: str, capsys: pytest.CaptureFixture[str]
) -> None:
    train(right)
    publish("second")
    assert aliases(project) == {"champion": 2, "previous": 1}
    reason = f"It is the champion: against version 1 on the same dev items it has {points}"
    assert reason in description(project, 2)
    assert f"version 2 of model 'tandem': {reason}" in capsys.readouterr().err


def test_a_version_that_is_worse_is_registered_and_the_champion_stays(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(np.arange(100) < 65)
    publish("second")
    assert aliases(project) == {"champion": 1}
    reason = "It is not the champion: against version 1 on the same dev items it has -10.0 points ("
    assert reason in description(project, 2)
    assert description(project, 2).endswith("so version 1 stays")
    assert f"warning: version 2 of model 'tandem': {reason}" in capsys.readouterr().err
    publish("second")
    assert aliases(project) == {"champion": 1}
    client(project).set_registered_model_alias("tandem", "champion", "2")  # somebody knows better
    publish("second")
    assert aliases(project) == {"champion": 2}


def test_measured_on_other_dev_items_the_newest_is_the_champion_and_says_why(project: Path) -> None:
    sources, accepted = DEV_OF_100
    train(np.arange(100) < 65, ([*sources[1:], "other"], accepted))
    publish("second")
    assert aliases(project) == {"champion": 2, "previous": 1}
    assert "It is the champion: version 1 was measured on other dev items" in description(project, 2)


def test_a_champion_that_cannot_be_loaded_gives_way(project: Path) -> None:
    shutil.rmtree(project / "mlartifacts" / "models")
    train(np.arange(100) < 65)
    publish("second")
    assert aliases(project) == {"champion": 2, "previous": 1}
    assert "version 1 cannot be compared with it (no model of this project" in description(project, 2)


WRITES = (
    *("create_registered_model", "create_model_version", "update_model_version", "set_logged_model_tags"),
    *("set_registered_model_alias", "delete_model_version_tag"),
)


@contextmanager
def interrupted(at: int, after: bool) -> Iterator[None]:
    """Ctrl-C before or after one of what is written to the registry meanwhile, counted from 1."""
    done = count(1)

    def interrupting(original: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            is_it = next(done) == at
            if is_it and not after:
                raise KeyboardInterrupt
            result = original(*args, **kwargs)
            if is_it:
                raise KeyboardInterrupt
            return result

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in WRITES:
            patch.setattr(MlflowClient, name, interrupting(getattr(MlflowClient, name)))
        yield


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    ("right", "expected", "writes"),
    [(RIGHT, {"champion": 2, "previous": 1}, 6), (np.arange(100) < 65, {"champion": 1}, 4)],
    ids=["better", "worse"],
)
def test_wherever_a_publication_is_interrupted_the_next_one_comes_to_the_same(
    project: Path, right: Any, expected: dict[str, int], writes: int, after: bool
) -> None:
    train(right)
    with pytest.raises(KeyboardInterrupt), interrupted(1, after=False):
        publish("second")
    store, kept = project / "mlflow.db", project / "kept.db"  # models are logged, and none is registered
    shutil.copyfile(store, kept)
    descriptions = set()
    for number in range(1, writes + 1):
        shutil.copyfile(kept, store)
        with pytest.raises(KeyboardInterrupt), interrupted(number, after):
            publish("second")
        assert aliases(project)["champion"] in (1, expected["champion"])
        publish("second")
        assert aliases(project) == expected
        assert set(versions(project)) == {1, 2}
        assert UNDECIDED not in version(project, 2).tags
        (model,) = [model for model in models(project) if model.source_run_id == version(project, 2).run_id]
        assert '"version": 2' in model.tags["mlflow.modelVersions"]
        descriptions.add(description(project, 2))
    assert len(descriptions) == 1
    shutil.copyfile(kept, store)
    with interrupted(writes + 1, after):
        publish("second")  # there is nothing more to interrupt


def test_rollback_exchanges_the_champion_and_the_one_before_it(project: Path, call: Call) -> None:
    publish("second")
    assert call("rollback") == (0, "models:/tandem@champion is version 1 again, previous is version 2\n", "")
    assert aliases(project) == {"champion": 1, "previous": 2}
    publish("second")
    assert aliases(project) == {"champion": 1, "previous": 2}  # it stays back
    assert call("rollback").code == 0
    assert aliases(project) == {"champion": 2, "previous": 1}


def test_rollback_without_a_version_before_is_an_error(project: Path, call: Call) -> None:
    code, output, error = call("rollback")
    assert (code, output) == (2, "")
    assert error == "error: model 'tandem' has no other version under the alias previous: nothing to go back to\n"
    client(project).delete_registered_model("tandem")
    assert call("rollback").error.startswith("error: no model 'tandem' is registered: run `dvc repro`")
