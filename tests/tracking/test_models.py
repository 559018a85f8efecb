"""Models in MLflow: a run has one, the best is registered once and is the champion, and every address loads it."""

import shutil
import socket
import sqlite3
from functools import partial
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import LoggedModel
from mlflow.utils.file_utils import local_file_uri_to_path

from pipeline.config.params import load_params
from pipeline.errors import UserError
from pipeline.runs.groups import RunGroup
from pipeline.serving import application as endpoint
from pipeline.tracking.client import MLFLOW_ENVIRONMENT, Connection, tracking_uri
from pipeline.tracking.models import load_model, publish_models
from pipeline.tracking.runs import Run
from tests.conftest import Call
from tests.support.servers import free_port, mlflow_server, running
from tests.support.small_project import ACCURACIES, RUNS, SOURCES, make_project
from tests.support.stored import client

Published = tuple[Path, dict[RunGroup, Run]]

BEST = RunGroup("tandem", (0,))
ON_DEV = {group: ACCURACIES[group.strategy, group.seeds[0]] + 0.25 for group in RUNS}  # with their rerankers


def runs_in_mlflow(comparison: str) -> dict[RunGroup, Run]:
    """The runs of the project in the current folder, found or made, without models."""
    connection = Connection("tandem", comparison, {})

    def run_of(group: RunGroup, client: MlflowClient) -> str:
        experiment = client.search_experiments(filter_string="name = 'tandem'")[0].experiment_id
        tags = {"tandem.comparison": comparison, "tandem.strategy": group.strategy, "tandem.seed": group.name}
        if found := client.search_runs([experiment], " and ".join(f"tags.`{key}` = '{tags[key]}'" for key in tags)):
            return str(found[0].info.run_id)
        run_id = str(client.create_run(experiment, tags={**tags, "other": "tag"}).info.run_id)
        client.log_param(run_id, "a.b", "1")
        for step, accuracy in ((10, 0.0), (20, ACCURACIES[group.strategy, group.seeds[0]])):
            client.log_metric(run_id, "dev_word_accuracy", accuracy, step=step)
        client.log_metric(run_id, "seconds", 1.0)
        return run_id

    found = {group: connection.attempt("make a run", partial(run_of, group)) for group in RUNS}
    return {group: Run(connection, run_id or "") for group, run_id in found.items()}


def publish(comparison: str = "first") -> dict[RunGroup, Run]:
    """The same with models."""
    children = runs_in_mlflow(comparison)
    publish_models(load_params(), children, ON_DEV)
    return children


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Published:
    root = tmp_path_factory.mktemp("registry") / "a project"
    make_project(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        return root, publish()


@pytest.fixture
def project(published: Published, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project that was published, to look at."""
    monkeypatch.chdir(published[0])
    # Loading a model sets it for the whole process.
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_uri(published[0]))
    return published[0]


@pytest.fixture
def own_project(published: Published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, to publish again."""
    shutil.copytree(published[0], tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"


def models(root: Path) -> list[LoggedModel]:
    store = client(root)
    return list(store.search_logged_models([found.experiment_id for found in store.search_experiments()]))


def versions(root: Path) -> dict[int, str | None]:
    """The registered versions with the runs they are of."""
    return {int(found.version): found.run_id for found in client(root).search_model_versions("name = 'tandem'")}


def aliases(root: Path) -> dict[str, int]:
    return {alias: int(version) for alias, version in client(root).get_registered_model("tandem").aliases.items()}


def test_every_run_has_one_model_with_its_tags_parameters_and_metrics(
    published: Published,
) -> None:
    root, children = published
    found = {model.source_run_id: model for model in models(root)}
    assert len(models(root)) == len(found) == len(children)
    for group, child in children.items():
        outputs = client(root).get_run(child.run_id).outputs
        assert outputs is not None
        model = client(root).get_logged_model(found[child.run_id].model_id)
        assert [output.model_id for output in outputs.model_outputs] == [model.model_id]
        assert (model.name, model.status.value, model.params) == ("model", "READY", {"a.b": "1"})
        own = {"tandem.comparison": "first", "tandem.strategy": group.strategy, "tandem.seed": group.name}
        assert {name: model.tags[name] for name in own} == own
        assert "other" not in model.tags
        reached = [(metric.key, metric.step, metric.value) for metric in model.metrics or []]
        assert reached == [("dev_word_accuracy", 20, ACCURACIES[group.strategy, group.seeds[0]])]


def test_the_best_on_dev_is_registered_as_champion(published: Published) -> None:
    root, children = published
    assert versions(root) == {1: children[BEST].run_id}
    assert aliases(root) == {"champion": 1}
    champion = client(root).get_model_version_by_alias("tandem", "champion")
    assert champion.tags["tandem.comparison"] == "first"
    assert champion.tags["tandem.dev_accuracy"] == "0.7500"
    (model,) = [model for model in models(root) if model.source_run_id == champion.run_id]
    assert champion.source == model.artifact_location
    assert '"name": "tandem", "version": 1' in model.tags["mlflow.modelVersions"]


def test_publishing_the_same_comparison_again_adds_nothing_and_moves_no_alias(own_project: Path) -> None:
    before = [model.model_id for model in models(own_project)]
    store = client(own_project)
    store.set_registered_model_alias("tandem", "mine", "1")
    store.delete_registered_model_alias("tandem", "champion")
    publish()
    assert aliases(own_project) == {"champion": 1, "mine": 1}  # without one, the best is the champion again
    assert [model.model_id for model in models(own_project)] == before
    assert list(versions(own_project)) == [1]


def test_the_best_of_another_comparison_is_the_champion_and_the_old_one_previous(own_project: Path) -> None:
    (first,) = versions(own_project).values()
    other = publish("second")
    assert versions(own_project) == {1: first, 2: other[BEST].run_id}
    assert aliases(own_project) == {"champion": 2, "previous": 1}
    client(own_project).set_registered_model_alias("tandem", "champion", "1")
    publish("second")
    assert aliases(own_project) == {"champion": 1, "previous": 1}  # put back by hand, and so it stays
    assert len(versions(own_project)) == 2


def test_trouble_with_the_registry_costs_one_warning(own_project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with sqlite3.connect(own_project / "mlflow.db") as store:
        trouble = "BEGIN SELECT RAISE(ABORT, 'trouble'); END"
        store.execute(f"CREATE TRIGGER trouble BEFORE INSERT ON model_versions {trouble}")
    publish("second")
    warning = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning")]
    assert len(warning) == 1
    assert warning[0].startswith("warning: MLflow could not register the model 'tandem' (")
    assert len(models(own_project)) == 2 * len(RUNS)


def test_without_mlflow_nothing_is_logged_and_nothing_raised(
    own_project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (own_project / "mlflow.db").unlink()
    (own_project / "mlflow.db").mkdir()
    publish()
    assert capsys.readouterr().err.count("warning") == 1


def test_files_that_a_model_needs_and_are_missing_are_named(own_project: Path) -> None:
    children = runs_in_mlflow("second")
    shutil.rmtree(own_project / "data")
    with pytest.raises(UserError, match=r"data/prepared is missing or damaged"):
        publish_models(load_params(), children, ON_DEV)


@pytest.fixture
def predict(call: Call) -> Call:
    """`tandem predict` with two predictions for each of `SOURCES`."""
    return partial(call, "predict", *SOURCES, "--n-best=2")


def test_a_model_predicts_as_its_run_wherever_it_is_loaded_from(
    project: Path, published: Published, predict: Call
) -> None:
    code, expected, _ = predict("--strategy=tandem", "--seed=0")
    assert (code, len(expected.splitlines())) == (0, 1 + 2 * len(SOURCES))
    location = local_file_uri_to_path(client(project).get_model_version("tandem", "1").source)
    run_id = published[1][BEST].run_id
    for uri in ("models:/tandem@champion", "models:/tandem/1", f"runs:/{run_id}/model", location):
        assert predict(f"--model={uri}") == (0, expected, "")
    for order in ("greedy", "beam"):
        options = [f"--order={order}", "--beam=3"]
        own = predict("--strategy=tandem", "--seed=0", *options)
        assert predict("--model=models:/tandem@champion", *options) == own


def test_loading_a_model_runs_no_code_of_its_folder(project: Path, tmp_path: Path) -> None:
    (model, *_) = models(project)
    folder = tmp_path / "model"
    shutil.copytree(local_file_uri_to_path(model.artifact_location), folder)
    modules = list(folder.rglob("*.py"))
    for module in modules:
        module.write_text("raise SystemExit('this was run')", encoding="utf-8")
    assert len(modules) > 10
    assert load_model(str(folder)).predictor.predict(["F AO"])[0][0].text == "for"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--model=models:/nothing@champion"],
            "no model of this project can be loaded from models:/nothing@champion (",
        ),
        (["--model=models:/tandem/7"], "no model of this project can be loaded from models:/tandem/7 ("),
        (["--model=nowhere"], "no model of this project can be loaded from nowhere ("),
        (["--model=models"], "no model of this project can be loaded from models ("),
        (
            ["--model=models:/tandem/1", "--seed=0"],
            "give --model or a run by --strategy, --seed or --ensemble, not both",
        ),
        (["--model=models:/tandem/1", "--strategy=tandem"], "give --model or a run by"),
    ],
)
def test_an_address_without_a_model_is_reported_in_a_sentence(
    project: Path, predict: Call, arguments: list[str], message: str
) -> None:
    code, output, error = predict(*arguments)
    assert (code, output) == (2, "")
    assert message in error


def test_the_model_to_serve_is_loaded_before_the_port_is_opened(project: Path) -> None:
    for address in ("models:/other@champion", "models:/tandem@other", "nowhere"):
        with pytest.raises(UserError, match=f"no model of this project can be loaded from {address} "):
            endpoint.serve(address, free_port())


def test_a_port_in_use_is_reported(project: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"port {port} cannot be used \\(.*give another --port"):
            endpoint.serve("models:/tandem@champion", port)


@pytest.mark.slow
def test_through_a_server_models_are_logged_registered_and_loaded_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, predict: Call
) -> None:
    make_project(tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    address = f"http://127.0.0.1:{(port := free_port())}"
    command = mlflow_server(port, "sqlite:///mlflow.db", tmp_path / "artifacts")
    with running(command, tmp_path, f"{address}/health", MLFLOW_ENVIRONMENT):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        publish()
        publish("second")
        publish("second")
        assert aliases(tmp_path) == {"champion": 2, "previous": 1}
        assert len(models(tmp_path)) == 2 * len(RUNS)
        of_model = predict("--model=models:/tandem@champion")
        assert of_model == predict("--strategy=tandem", "--seed=0")
    assert not (tmp_path / "project" / "mlflow.db").exists()
