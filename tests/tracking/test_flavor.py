"""The MLflow model: what a request gets, what a wrong one is told, and that the model's folder needs no other."""

import ast
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
import venv
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import PyFuncModel

from pipeline.config.params import Order
from pipeline.prediction.predictor import Predictor
from pipeline.tracking.flavor import OUTPUTS
from tests.conftest import PATIENCE, PROJECT
from tests.support.servers import free_port, running
from tests.support.small_project import SOURCES, save_small_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved model, and nothing of the project that it was made in."""
    model = save_small_model(tmp_path_factory.mktemp("project"))
    return model.rename(tmp_path_factory.mktemp("elsewhere") / "model")


@pytest.fixture(scope="module")
def predictor(folder: Path) -> Predictor:
    return Predictor.load(folder / "artifacts" / "bundle")


@pytest.fixture(scope="module")
def model(folder: Path) -> PyFuncModel:
    return mlflow.pyfunc.load_model(str(folder))


def table(predictor: Predictor, sources: list[str], n_best: int = 1, **options: Any) -> pd.DataFrame:
    ranked = predictor.predict(sources, predictor.options(n_best=n_best, **options))
    rows = [
        (source, rank, one.text, one.log_probability, one.confidence, "")
        for source, predictions in zip(sources, ranked, strict=True)
        for rank, one in enumerate(predictions, start=1)
    ]
    return pd.DataFrame(rows, columns=list(OUTPUTS))


def answer(model: PyFuncModel, sources: Any, **params: Any) -> pd.DataFrame:
    found = model.predict(sources, params=params)
    assert isinstance(found, pd.DataFrame)
    return found


def test_a_list_of_strings_gets_a_table_of_ranked_predictions(model: PyFuncModel, predictor: Predictor) -> None:
    found = answer(model, SOURCES, n_best=2)
    assert found["source"].tolist() == [source for source in SOURCES for _ in range(2)]
    assert found["rank"].tolist() == [1, 2] * len(SOURCES)
    assert found["prediction"][0] == "for"  # the pairs say so, the untrained network does not
    pd.testing.assert_frame_equal(found, table(predictor, SOURCES, n_best=2))


@pytest.mark.parametrize(
    "form",
    [
        lambda sources: pd.DataFrame({"any name": sources}),
        lambda sources: pd.DataFrame({"source": sources}, index=[f"row {number}" for number in range(len(sources))]),
        lambda sources: pd.Series(sources, name="source"),
        lambda sources: pd.Series(sources).astype("category"),
        np.array,
        lambda sources: np.array(sources)[:, np.newaxis],
        tuple,
        lambda sources: {"source": sources},
        lambda sources: [{"source": source} for source in sources],
        lambda sources: [[source] for source in sources],
    ],
    ids=["frame", "indexed", "series", "category", "array", "matrix", "tuple", "dict", "records", "rows"],
)
def test_so_do_strings_in_a_table_of_one_column(model: PyFuncModel, form: Callable[[list[str]], Any]) -> None:
    pd.testing.assert_frame_equal(answer(model, form(SOURCES)), answer(model, SOURCES))


def test_a_request_can_ask_for_another_order_and_beam_width(model: PyFuncModel, predictor: Predictor) -> None:
    greedy = answer(model, SOURCES, order="greedy")
    pd.testing.assert_frame_equal(greedy, table(predictor, SOURCES, order=Order.GREEDY))
    beam = answer(model, SOURCES, order="beam", beam_width=4, n_best=3)
    pd.testing.assert_frame_equal(beam, table(predictor, SOURCES, n_best=3, beam_width=4, order=Order.BEAM))
    assert greedy["prediction"][0] != answer(model, SOURCES)["prediction"][0]


@pytest.mark.parametrize("sources", [[], pd.DataFrame(), pd.DataFrame({"source": []})], ids=["list", "frame", "column"])
def test_no_string_gets_no_row(model: PyFuncModel, sources: Any) -> None:
    assert answer(model, sources).columns.tolist() == list(OUTPUTS)
    assert len(answer(model, sources)) == 0


def test_a_later_request_compiles_nothing_anew(model: PyFuncModel) -> None:
    def compiled() -> dict[object, Any]:
        return dict(model.unwrap_python_model()._service.predictor.model._compiled)

    answer(model, SOURCES)
    before = compiled()
    answer(model, ["K AO F R"] * 30)
    assert compiled() == before


@pytest.mark.parametrize(
    ("sources", "params", "message"),
    [
        (["F AO", 3], {}, "source 2 is not a string but 3"),
        (["F AO", None], {}, "source 2 is not a string but None"),
        (pd.DataFrame({"source": ["F AO", None]}), {}, "source 2 is not a string but nan"),
        (pd.Series([1, 2]), {}, "source 1 is not a string but 1"),
        ("F AO", {}, "the sources must be a list of strings or a table of one column, not 'F AO'"),
        (
            pd.DataFrame({"source": ["F"], "city": ["K"]}),
            {},
            "there are 2 columns ('source', 'city'), but there must be one, the sources",
        ),
        (pd.DataFrame([["F", "K"]], columns=["twice", "twice"]), {}, "there are 2 columns ('twice', 'twice')"),
        ([{"source": "F"}, {"sorce": "K"}], {}, "there are 2 columns ('source', 'sorce')"),
        ({"a": ["F"], "b": ["K"]}, {}, "there are 2 columns ('a', 'b')"),
        (np.array([["F", "K"]]), {}, "there are 2 columns (0, 1)"),
        (pd.DataFrame(index=[0]), {}, "there is no column"),
        (["F AO", " "], {}, "source 2 is empty"),
        (["F\tAO"], {}, "source 1, 'F\\tAO', has a tab, line break or NUL in it"),
        (["\ud800"], {}, "source 1, '\\ud800', has bytes in it that are not Unicode text"),
        (["F AO", "F F F F F F"], {}, "source 2 has 6 symbols, at most 5 are possible"),
        (["F"] * 50_001, {}, "50,001 strings are too many for one request: with beam width 2 at most 50,000"),
        (
            ["F"] * 1_001,
            {"n_best": 100},
            "1,001 strings are too many for one request: with beam width 100 at most 1,000",
        ),
        (["F"], {"n_best": 0}, "n_best is 0, but must be a whole number from 1 to 100"),
        (["F"], {"n_best": 101}, "n_best is 101, but must be a whole number from 1 to 100"),
        (["F"], {"n_best": None}, "n_best is None, but must be a whole number from 1 to 100"),
        (["F"], {"n_best": "3"}, "Can not safely convert `<class 'str'>` to `DataType.long`"),
        (["F"], {"beam_width": 1000}, "beam_width is 1000, but must be a whole number from 1 to 100"),
        (["F"], {"order": "best"}, "order is 'best', but must be one of greedy, beam, rerank"),
    ],
)
def test_what_cannot_be_used_is_told_and_not_guessed_at(
    model: PyFuncModel, sources: Any, params: dict[str, Any], message: str
) -> None:
    with pytest.raises(MlflowException) as raised:
        answer(model, sources, **params)
    assert message in raised.value.message
    assert raised.value.get_http_status_code() == 400


def test_the_signature_says_what_comes_out_and_what_can_be_asked_for_and_an_example_what_goes_in(
    model: PyFuncModel,
) -> None:
    signature = model.metadata.signature
    assert signature.inputs is None  # by any schema MLflow would drop columns, and here they are an error
    names = ["source", "rank", "prediction", "log_probability", "confidence", "unknown"]
    assert signature.outputs.input_names() == names
    params = {param.name: param.default for param in signature.params.params}
    assert params == {"n_best": 1, "beam_width": None, "order": "rerank", "alignment": False, "listed": False}
    assert model.input_example == ["F AO"]


def third_party_imports(folder: Path) -> set[str]:
    """The packages that modules import, by the names that pip knows them by."""
    found = set()
    for module in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.split(".")[0])
    distributions = packages_distributions()
    return {name for package in found - {"pipeline"} for name in distributions.get(package, [])}


def test_its_requirements_are_what_its_modules_import_at_exact_versions(folder: Path) -> None:
    lines = (folder / "requirements.txt").read_text(encoding="utf-8").split()
    names = {line.split("==")[0] for line in lines}
    assert lines == [f"{line.split('==')[0]}=={version(line.split('==')[0])}" for line in lines]
    by_fitting_and_logs_alone = {"scikit-learn", "scipy", "threadpoolctl", "rich"}
    with_others = {"mlflow", "mlflow-tracing", "pydantic_core"}
    assert names == third_party_imports(folder) - by_fitting_and_logs_alone - with_others


def test_it_carries_the_modules_that_predict_and_no_others(folder: Path) -> None:
    package = folder / "code" / "pipeline"
    names = {path.relative_to(package).as_posix() for path in package.rglob("*")}
    assert {"__init__.py", "prediction/predictor.py", "model/search.py", "reranking/features.py"} <= names
    others = {"cli.py", "tracking", "training/phase.py", "stages", "publishing", "batch", "sweeps", "__pycache__"}
    assert not others & names


PREDICT = """
import json, sys, mlflow.pyfunc
found = mlflow.pyfunc.load_model(sys.argv[1]).predict(json.loads(sys.argv[2]), params={"n_best": 3})
import pipeline
print(json.dumps([pipeline.__file__, found.to_dict("list")]))
"""


def predict_in(python: Path, folder: Path, place: Path) -> tuple[str, pd.DataFrame]:
    """Where the package was found, and three predictions for each of `SOURCES`, by another interpreter."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [str(python), "-c", PREDICT, str(folder), json.dumps(SOURCES)]
    printed = subprocess.run(command, cwd=place, env=environment, stdout=subprocess.PIPE, check=True).stdout
    file, found = json.loads(printed.splitlines()[-1])
    return file, pd.DataFrame(found)


@pytest.mark.slow
def test_beside_an_installed_package_it_runs_its_own_modules(
    folder: Path, predictor: Predictor, tmp_path: Path
) -> None:
    file, found = predict_in(Path(sys.executable), folder, tmp_path)
    assert Path(file).is_relative_to(folder)
    pd.testing.assert_frame_equal(found, table(predictor, SOURCES, n_best=3))


@pytest.mark.slow
def test_it_predicts_the_same_in_a_fresh_environment_of_its_own_requirements(
    folder: Path, predictor: Predictor, tmp_path: Path
) -> None:
    venv.create(tmp_path / "fresh", with_pip=True)
    python = tmp_path / "fresh" / "bin" / "python"
    install = [str(python), "-m", "pip", "install", "--quiet", "--requirement", str(folder / "requirements.txt")]
    subprocess.run(install, check=True)
    file, found = predict_in(python, folder, tmp_path)
    assert Path(file).is_relative_to(folder)
    pd.testing.assert_frame_equal(found, table(predictor, SOURCES, n_best=3), rtol=1e-4)


@pytest.fixture(scope="module")
def address(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of the model, started as `make serve` starts it: without an activated environment."""
    place, url = tmp_path_factory.mktemp("server"), f"http://127.0.0.1:{(port := free_port())}"
    command = [sys.executable, "-m", "pipeline.cli", "serve", "--model", str(folder), "--port", str(port)]
    with running(command, place, f"{url}/ping", {"PATH": os.defpath, "PYTHONPATH": str(PROJECT)}):
        yield f"{url}/invocations"


def ask(address: str, body: str, kind: str = "application/json") -> tuple[int, Any]:
    """Status and answer of a request."""
    request = urllib.request.Request(address, body.encode(), {"Content-Type": kind})
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


@pytest.mark.slow
def test_over_http_strings_get_the_same_rows(address: str, predictor: Predictor) -> None:
    status, found = ask(address, json.dumps({"inputs": SOURCES, "params": {"n_best": 2}}))
    assert status == 200
    pd.testing.assert_frame_equal(pd.DataFrame(found["predictions"]), table(predictor, SOURCES, n_best=2))
    status, found = ask(address, "source\nF AO\nK\n", "text/csv")
    assert status == 200
    assert [row["source"] for row in found["predictions"]] == ["F AO", "K"]


@pytest.mark.slow
def test_requests_at_the_same_time_get_each_their_own_rows(address: str, predictor: Predictor) -> None:
    bodies = [json.dumps({"inputs": SOURCES, "params": {"n_best": 1 + number % 4}}) for number in range(12)]
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda body: ask(address, body), bodies))
    for number, (status, found) in enumerate(answers):
        assert status == 200
        expected = table(predictor, SOURCES, n_best=1 + number % 4)
        pd.testing.assert_frame_equal(pd.DataFrame(found["predictions"]), expected)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ('{"inputs": ["F AO", 3]}', "source 2 is not a string"),
        ('{"inputs": ["F AO", null]}', "source 2 is not a string"),
        ('{"inputs": "F AO"}', "inputs: the sources must be a list of strings"),
        ('{"inputs": [["F", "AO"]]}', "inputs: there are 2 columns (0, 1)"),
        ('{"inputs": [""]}', "source 1 is empty"),
        ('{"inputs": ["F F F F F F"]}', "source 1 has 6 symbols, at most 5 are possible"),
        ('{"inputs": ["F"], "params": {"n_best": 0}}', "n_best is 0, but must be a whole number from 1 to 100"),
        ('{"inputs": ["F"], "params": {"n_best": 2.5}}', "n_best is 2.5, but must be a whole number from 1 to 100"),
        (
            '{"inputs": ["F"], "params": {"n_bset": 3}}',
            "there is no parameter 'n_bset', only n_best, beam_width, order",
        ),
        ('{"inputs": ["F"], "params": {"order": "best"}}', "must be one of greedy, beam, rerank"),
        ('{"dataframe_records": [{"source": "F", "city": "K"}]}', "there are 2 columns ('source', 'city')"),
        ('["F AO"]', "the body: input should be an object"),
        ("F AO", "Invalid JSON"),
    ],
)
def test_over_http_what_cannot_be_used_is_status_400_with_a_reason(address: str, body: str, reason: str) -> None:
    status, found = ask(address, body)
    assert status == 400
    assert reason in found["message"]
