"""MLflow's protocol: its own clients get from a served model what its own server answers with the same model."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from threading import Thread
from typing import Any

import mlflow.pyfunc
import numpy as np
import pandas as pd
import pytest
import uvicorn
from mlflow.pyfunc import scoring_server
from mlflow.pyfunc.scoring_server.client import ScoringServerClient

from pipeline.errors import UserError
from pipeline.serving.application import CSV, HOST, JSON, application, listener_at, read_csv, read_json
from pipeline.tracking.models import load_model
from tests.support.servers import free_port
from tests.support.small_project import SOURCES, save_small_model


@contextmanager
def listening(application: Any) -> Iterator[int]:
    """The port at which an application answers meanwhile."""
    server = uvicorn.Server(uvicorn.Config(application, log_level="error", lifespan="off"))
    with listener_at(port := free_port()) as listener:
        thread = Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            yield port
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_small_model(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="module")
def served(folder: Path) -> Iterator[int]:
    """The port of a served model."""
    with listening(application(load_model(str(folder)))) as port:
        yield port


@pytest.fixture(scope="module")
def mlflows(folder: Path) -> Iterator[int]:
    """The port of the same model behind MLflow's own server."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("_MLFLOW_IS_IN_SERVING_ENVIRONMENT", "true")  # which the server sets; undone afterwards
        with listening(scoring_server.init(mlflow.pyfunc.load_model(str(folder)))) as port:
            yield port


def post(port: int, body: str | bytes, kind: str = JSON) -> tuple[int, Any]:
    """Status of the answer, and its predictions as a table or its message."""
    content = body.encode() if isinstance(body, str) else body
    request = urllib.request.Request(f"http://{HOST}:{port}/invocations", content, {"Content-Type": kind})
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, pd.DataFrame(json.load(response)["predictions"])
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)["message"]


FRAME = pd.DataFrame({"source": SOURCES})


@pytest.mark.parametrize(
    "data",
    [
        FRAME,
        FRAME.rename(columns={"source": "any name"}),
        pd.DataFrame({0: SOURCES}, index=list("wxyz")),
        FRAME.head(0),
        pd.DataFrame(),
        SOURCES,
        np.array(SOURCES),
        np.array(SOURCES)[:, np.newaxis],
        json.dumps({"inputs": {"source": SOURCES}}),
        json.dumps({"inputs": [{"source": source} for source in SOURCES]}),
        json.dumps({"instances": SOURCES}),
        json.dumps({"instances": [{"source": source} for source in SOURCES]}),
        json.dumps({"instances": [[source] for source in SOURCES]}),
        json.dumps({"dataframe_records": FRAME.to_dict(orient="records")}),
        json.dumps({"dataframe_records": []}),
        json.dumps({"dataframe_split": {"data": SOURCES}}),
        json.dumps({"dataframe_split": {"columns": ["source"], "index": None, "data": [["F AO"]]}, "params": None}),
    ],
    ids=lambda data: data[:40] if isinstance(data, str) else type(data).__name__,
)
def test_a_client_of_mlflow_gets_the_predictions_of_mlflows_server(served: int, mlflows: int, data: Any) -> None:
    params = None if isinstance(data, str) else {"n_best": 2}
    ours, theirs = (ScoringServerClient(HOST, port).invoke(data, params=params) for port in (served, mlflows))
    assert len(ours["predictions"]) == len(theirs["predictions"])
    pd.testing.assert_frame_equal(pd.DataFrame(ours["predictions"]), pd.DataFrame(theirs["predictions"]))


def test_on_request_a_prediction_has_its_alignment_and_whether_it_is_listed_as_from_mlflows_server(
    served: int, mlflows: int
) -> None:
    asked = {"n_best": 2, "alignment": True, "listed": True}
    ours, theirs = (ScoringServerClient(HOST, port).invoke(SOURCES, params=asked) for port in (served, mlflows))
    for row, other in zip(ours["predictions"], theirs["predictions"], strict=True):
        assert (row["alignment"], row["listed"]) == (other["alignment"], other["listed"])
        assert row["listed"] is (row["prediction"] in ("fork", "for", "ko"))
        assert len(row["alignment"]) == len(row["prediction"])
    assert [row["alignment"] for row in ours["predictions"] if row["prediction"] == "for"] == 2 * [[[0], [1], []]]
    without = post(served, json.dumps({"inputs": SOURCES}))[1]
    assert "alignment" not in without.columns


def test_a_frame_of_two_columns_is_an_error_that_names_them(served: int) -> None:
    with pytest.raises(Exception, match=r"there are 2 columns \('source', 'city'\), but there must be one"):
        ScoringServerClient(HOST, served).invoke(FRAME.assign(city="K"))


def test_mlflows_server_names_two_columns_as_well(mlflows: int) -> None:
    with pytest.raises(Exception, match=r"there are 2 columns \('source', 'city'\), but there must be one"):
        ScoringServerClient(HOST, mlflows).invoke(FRAME.assign(city="K"))


def test_a_client_that_waits_for_the_server_finds_it_and_the_version_of_mlflow(served: int) -> None:
    client = ScoringServerClient(HOST, served)
    client.wait_server_ready()
    assert client.get_version() == version("mlflow")
    with urllib.request.urlopen(f"http://{HOST}:{served}/health", timeout=60) as response:
        assert response.status == 200


@pytest.mark.parametrize("kind", [CSV, "text/csv; charset=utf-8", "text/csv;charset=UTF-8"])
@pytest.mark.parametrize("header", ["source", "any name", "0", "F AO"])
def test_the_first_row_of_csv_is_a_header_as_for_mlflow(served: int, mlflows: int, header: str, kind: str) -> None:
    body = "\n".join([header, *SOURCES, ""])
    (status, ours), (_, theirs) = post(served, body, kind), post(mlflows, body, kind)
    assert status == 200
    assert ours["source"].tolist() == SOURCES
    pd.testing.assert_frame_equal(ours, theirs)


def test_pandas_csv_of_one_column_is_a_request(served: int) -> None:
    assert post(served, FRAME.to_csv(index=False), CSV)[1]["source"].tolist() == SOURCES


@pytest.mark.parametrize("spelling", ["utf-8", "UTF-8", '"utf-8"', "'UTF-8'", "utf8", "UTF_8"])
def test_a_charset_may_be_spelt_in_any_way(served: int, spelling: str) -> None:
    assert post(served, "source\nF AO\n", f"Text/CSV; Charset={spelling} ;")[0] == 200
    assert post(served, '{"inputs": ["F AO"]}', f"application/json;charset={spelling}")[0] == 200


def test_the_content_type_says_whether_csv_has_a_header(served: int) -> None:
    for kind, sources in (("present", ["K"]), ("absent", ["F AO", "K"]), ('"Absent"', ["F AO", "K"])):
        status, found = post(served, "F AO\nK\n", f"{CSV}; charset=utf-8; header={kind}")
        assert (status, found["source"].tolist()) == (200, sources)
    assert len(post(served, "source\n", f"{CSV}; header=present")[1]) == 0


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("", "the content type is '', but must be application/json or text/csv"),
        ("text/plain; charset=utf-8", "the content type is 'text/plain', but must be application/json or text/csv"),
        ("text/csv; charset=latin-1", "the charset is 'latin-1', but must be utf-8"),
        ("application/json; charset=utf-16", "the charset is 'utf-16', but must be utf-8"),
        ("text/csv; header=maybe", "the parameter header is 'maybe', but must be present or absent"),
        ("application/json; header=present", "application/json has no parameter 'header', only charset"),
        ("text/csv; delimiter=tab", "text/csv has no parameter 'delimiter', only charset and header"),
    ],
)
def test_a_wrong_content_type_is_told_what_is_wrong_with_it(served: int, kind: str, reason: str) -> None:
    assert post(served, b"", kind) == (415, reason)


@pytest.mark.parametrize(
    ("body", "header", "reason"),
    [
        (b",source\n0,F AO\n", None, r"there are 2 columns \('', 'source'\), but there must be one, the sources"),
        (b"source,city\nF,K\n", True, r"there are 2 columns \('source', 'city'\)"),
        (b"F\nF,K\n", False, "row 2 has 2 columns"),
        (b"F AO\n", None, "the only row, 'F AO', is taken for a header: .* send the content type text/csv; header=abs"),
        (b"", True, "the body is empty"),
    ],
)
def test_csv_that_is_not_a_column_is_told_where_it_is_not(body: bytes, header: bool | None, reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        read_csv(body, header)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"inputs": ["a", 3]}, "inputs: source 2 is not a string but 3"),
        ({"instances": ["a", None]}, "instances: source 2 is not a string but None"),
        ({"inputs": ["a", ["b"]]}, "inputs: source 2 is not a string but"),
        ({"inputs": [["a"], []]}, "inputs: source 2 is not a string but None"),
        ({"inputs": [{"source": "a"}, {}]}, "inputs: source 2 is not a string but None"),
        (
            {"inputs": {"source": "a"}},
            "inputs: the sources must be a list of strings or a table of one column, not 'a'",
        ),
        ({"inputs": {}}, "inputs: there is no column"),
        ({"instances": [{"a": "b", "c": "d"}]}, r"instances: there are 2 columns \('a', 'c'\)"),
        ({"dataframe_records": [{"a": "b"}, {"c": "d"}]}, r"dataframe_records: there are 2 columns \('a', 'c'\)"),
        ({"dataframe_records": {"a": ["b"]}}, "dataframe_records: input should be a valid array"),
        ({"dataframe_split": {"columns": ["a"]}}, "dataframe_split.data: field required"),
        (
            {"dataframe_split": {"columns": ["a", "b"], "data": []}},
            r"dataframe_split: there are 2 columns \('a', 'b'\)",
        ),
        ({"dataframe_split": {"columns": ["a"], "data": [["b", "c"]]}}, r"dataframe_split: there are 2 columns"),
        ({"dataframe_split": {"index": [0, 1], "data": [["a"]]}}, "index has 2 entries, but data has 1 rows"),
        ({"dataframe_split": {"data": [["a"]], "dtype": "str"}}, "there is no 'dataframe_split.dtype' in a request"),
        ({"inputs": ["a"], "dataframe_split": {"data": []}}, "inputs and dataframe_split cannot be together"),
        ({"inputs": ["a"], "signature_name": "x"}, "there is no 'signature_name' in a request"),
        ({"params": {}}, "there are no sources, give one of inputs, instances, dataframe_split, dataframe_records"),
    ],
)
def test_what_is_not_a_column_of_strings_is_told_where_it_is_not(content: Any, reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        read_json(json.dumps(content).encode())


def test_mlflow_models_predict_reads_what_a_client_sends(folder: Path, tmp_path: Path) -> None:
    expected = mlflow.pyfunc.load_model(str(folder)).predict(SOURCES)
    for kind, text in (
        ("csv", FRAME.to_csv(index=False)),
        ("json", json.dumps({"dataframe_split": FRAME.to_dict("split")})),
    ):
        asked, answer = tmp_path / f"asked.{kind}", tmp_path / "answer.json"
        asked.write_text(text, encoding="utf-8")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("_MLFLOW_IS_IN_SERVING_ENVIRONMENT", "true")
            scoring_server._predict(str(folder), str(asked), str(answer), kind)
        found = json.loads(answer.read_bytes())["predictions"]
        pd.testing.assert_frame_equal(pd.DataFrame(found), expected)
