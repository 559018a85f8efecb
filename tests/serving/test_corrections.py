"""Corrections over HTTP: appended to a file whole, in normal form, and never for a page of another site."""

import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pipeline.prediction.requests import Service
from pipeline.serving.application import HOST, JSON, LARGEST_BODY, application
from pipeline.serving.corrections import MOST, CorrectionFile
from pipeline.tracking.models import load_model
from tests.conftest import Call
from tests.serving.test_protocol import listening
from tests.support.small_project import MAX_SYMBOLS, save_small_model


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Service:
    return load_model(str(save_small_model(tmp_path_factory.mktemp("project"))))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "corrections.tsv"


@pytest.fixture
def port(service: Service, file: Path) -> Iterator[int]:
    with listening(application(service, CorrectionFile(file))) as port:
        yield port


def send(port: int, content: Any, **headers: str) -> tuple[int, Any]:
    """Status and content of the answer; a header's name has an underscore for a hyphen."""
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    named = {"Content-Type": JSON} | {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(f"http://{HOST}:{port}/corrections", body, named)
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)["message"]


def correction(source: str = "F AO", target: str = "for") -> dict[str, Any]:
    return {"corrections": [{"source": source, "target": target}]}


def test_corrections_are_appended_in_normal_form_one_to_a_line(port: int, file: Path) -> None:
    assert file.read_bytes() == b""  # it is there from the start
    several = {"corrections": [{"source": " F  AO ", "target": "cafe\u0301"}, {"source": "K", "target": "k"}]}
    assert send(port, several) == (201, {"corrections": 2})
    assert send(port, correction("R", "r"), Origin=f"http://{HOST}:{port}") == (201, {"corrections": 1})
    assert file.read_text(encoding="utf-8") == "F AO\tcafé\nK\tk\nR\tr\n"


def test_what_is_in_the_file_stays_and_an_open_last_line_is_ended(service: Service, file: Path) -> None:
    file.write_text("K\tk", encoding="utf-8")
    CorrectionFile(file).append([("F", "f")], service.predictor)
    assert file.read_text(encoding="utf-8") == "K\tk\nF\tf\n"


def test_concurrent_corrections_are_all_kept_whole(port: int, file: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda number: send(port, correction("F AO", f"{number:05}")), range(40)))
    assert {status for status, _ in answers} == {201}
    assert sorted(file.read_text().splitlines()) == sorted(f"F AO\t{number:05}" for number in range(40))


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://elsewhere.example"},
        {"Origin": "null"},  # a file, or a sandboxed frame
        {"Origin": f"http://{HOST}:1"},  # another server on this machine
        {"Host": "elsewhere.example"},  # a name that somebody points at this machine
        {"Host": "elsewhere.example", "Origin": "http://elsewhere.example"},
        {"Host": "127.0.0.1.elsewhere.example", "Origin": "http://127.0.0.1.elsewhere.example"},
    ],
)
def test_a_page_of_another_site_corrects_nothing(port: int, file: Path, headers: dict[str, str]) -> None:
    status, reason = send(port, correction(), **headers)
    assert status == 403
    assert reason.startswith(f"corrections are taken from the page at http://{HOST} alone, not from ")
    assert file.read_bytes() == b""


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "text/csv", ""])
def test_a_form_of_another_site_corrects_nothing(port: int, file: Path, kind: str) -> None:
    assert send(port, correction(), Content_Type=kind)[0] == 415
    assert file.read_bytes() == b""


def after_a_good_one(source: str, target: Any) -> dict[str, Any]:
    return {"corrections": [{"source": "K", "target": "k"}, {"source": source, "target": target}]}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"{", 'Invalid JSON: .*a request is {"corrections": '),
        ({"corrections": [], "file": "other.tsv"}, "there is no 'file' in a request"),
        ({"corrections": []}, "there are 0 corrections, but there must be 1 to 1,000"),
        ({"corrections": [{"source": "F", "target": "f"}] * (MOST + 1)}, "there are 1,001 corrections"),
        ({"corrections": [{"source": "F"}]}, "corrections.0.target: field required"),
        (after_a_good_one("F", 3), "corrections.1.target: input should be a valid string"),
        (after_a_good_one("F", " "), r"the target of correction 2, ' ', is empty"),
        (after_a_good_one("F", "f\tg"), "the target of correction 2, .* has a tab, line break or NUL in it"),
        (after_a_good_one("F\nK", "f"), "the source of correction 2, .* has a tab, line break or NUL in it"),
        (after_a_good_one("F", "f\x07"), "the target of correction 2, .* has a control character in it"),
        (after_a_good_one("F", "f" * (MAX_SYMBOLS + 1)), "the target of correction 2, .* has 6 symbols, at most 5"),
        (after_a_good_one("F " * 6, "f"), "the source of correction 2, .* has 6 symbols, at most 5 are possible"),
        (b'{"corrections": [{"source": "F", "target": "\\ud800"}]}', "Invalid JSON: .*hex escape"),
    ],
)
def test_what_is_no_correction_is_refused_whole_with_a_reason(port: int, file: Path, content: Any, reason: str) -> None:
    status, message = send(port, content)
    assert status == 400
    assert re.search(reason, message), message
    assert file.read_bytes() == b""


def test_a_body_that_is_too_large_is_refused(port: int, file: Path) -> None:
    assert send(port, b" " * (LARGEST_BODY + 1))[0] == 413
    assert file.read_bytes() == b""


def test_a_full_disk_is_named_and_nothing_half_written_stays(service: Service) -> None:
    with listening(application(service, CorrectionFile(Path("/dev/full")))) as port:
        assert send(port, correction()) == (507, "full cannot be written to: No space left on device")


def test_without_a_file_there_is_nothing_to_send_corrections_to(service: Service) -> None:
    with listening(application(service)) as port:
        assert send(port, correction())[0] == 404


def test_a_file_that_cannot_be_written_is_named_before_a_model_is_loaded(call: Call, tmp_path: Path) -> None:
    for path, reason in ((tmp_path, "Is a directory"), (tmp_path / "no" / "a.tsv", "No such file or directory")):
        code, output, error = call("serve", "--model=nowhere", f"--corrections={path}")
        assert (code, output) == (2, "")
        assert error == f"error: --corrections {path} cannot be written to ({reason}): give another file\n"
