"""What is printed: UTF-8 whatever the locale, and what happens if it cannot be written."""

import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import PROJECT
from tests.support.made_up import evaluation, several
from tests.support.small_project import make_project

ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
LOCALES = [ASCII, {"LC_ALL": "POSIX"}, *({"PYTHONIOENCODING": name} for name in ("ascii", "latin-1", "cp1252"))]
COMPARE = ("-m", "pipeline.cli", "compare")
REPORT = ("-m", "pipeline.stages.report")
FULL = Path("/dev/full")

needs_full = pytest.mark.skipif(not FULL.exists(), reason="no /dev/full, which is a full disk, on this system")


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all that `tandem compare` and stage `report` read."""
    folder = tmp_path_factory.mktemp("evaluated")
    (folder / "params.yaml").write_bytes((PROJECT / "params.yaml").read_bytes())
    reports = folder / "reports"
    evaluation(several(("two_stage", "tandem"), list("abcdefgh"))).save(
        reports / "evaluation", reports / "metrics.json"
    )
    (reports / "prepare.json").write_text('{"pairs": 9, "targets": 99, "dev": 7}', encoding="utf-8")
    return folder


def python(*arguments: str | bytes, folder: Path = PROJECT, **options: Any) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of Python, read as UTF-8; `environment` is added to that of now."""
    environment = os.environ | {"PYTHONPATH": str(PROJECT)} | options.pop("environment", {})
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    done = subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, check=False, **options)
    return done.returncode, (done.stdout or b"").decode(), (done.stderr or b"").decode()


def command(statement: str) -> tuple[str, str]:
    """Arguments for Python that run a statement as the body of a command."""
    explained = f"from pipeline.errors import explain_user_errors\n@explain_user_errors\ndef main():\n    {statement}"
    return "-c", f"import sys, logging\n{explained}\nmain()"


@pytest.mark.parametrize("locale", LOCALES, ids=str)
def test_a_command_prints_utf_8_whatever_the_locale(evaluated: Path, locale: dict[str, str]) -> None:
    code, output, error = python(*COMPARE, folder=evaluated, environment=locale)
    assert (code, error) == (0, "")
    assert "–" in output


def test_sources_are_utf_8_whatever_the_locale(tmp_path: Path) -> None:
    make_project(tmp_path)
    predict = ("-m", "pipeline.cli", "predict")
    for call in ({"input": "é F\n".encode()}, {"arguments": ["é F".encode()]}):
        arguments: Any = call.pop("arguments", [])
        code, output, error = python(*predict, *arguments, folder=tmp_path, environment=ASCII, **call)
        assert code == 0
        assert "'é F', has symbols that training never saw, é" in error
        assert output.splitlines()[1].startswith("é F\t1\t")


def test_worker_processes_print_utf_8_whatever_the_locale() -> None:
    work = "from pipeline.parallel import side_by_side; from tests.test_parallel import shown"
    code, output, error = python(*command(f"{work}; print(*side_by_side(shown, [7], 1))"), environment=ASCII)
    assert (code, error) == (0, "")
    assert output.splitlines() == ["≤ 7", "7"]


def test_progress_is_shown_on_a_terminal_of_any_encoding() -> None:
    ours, theirs = pty.openpty()
    statement = "from pipeline.stages import watched; print(*watched(['a', 'b'], '\\xe9valuer', 2))"
    code, output, _ = python(*command(statement), environment=ASCII, stderr=theirs)
    os.close(theirs)
    assert (code, output) == (0, "a b\n")
    assert "évaluer" in os.read(ours, 10_000).decode()
    os.close(ours)


def test_a_file_name_that_is_not_utf_8_is_shown_with_its_bytes_escaped(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_bytes((PROJECT / "params.yaml").read_bytes())
    code, _, error = python("-m", "pipeline.cli", "predict", "--input", b"caf\xe9.txt", folder=tmp_path)
    assert code == 2
    assert error.startswith(r"error: --input caf\udce9.txt matches no file")


@pytest.mark.parametrize("arguments", [COMPARE, REPORT, ("-m", "pipeline.cli", "--help")], ids=" ".join)
def test_a_reader_that_leaves_early_is_no_error(evaluated: Path, arguments: tuple[str, ...]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    assert python(*arguments, folder=evaluated, stdout=writing) == (0, "", "")
    os.close(writing)


@needs_full
def test_a_command_whose_output_finds_a_full_disk_fails_with_a_sentence(evaluated: Path) -> None:
    with FULL.open("wb") as full:
        code, _, error = python(*COMPARE, folder=evaluated, stdout=full)
    assert (code, error) == (2, "error: standard output cannot be written: No space left on device\n")


@needs_full
def test_a_stage_whose_output_finds_a_full_disk_does_its_work(evaluated: Path) -> None:
    page = evaluated / "reports" / "index.html"
    page.unlink(missing_ok=True)
    with FULL.open("wb") as full:
        code, _, error = python(*REPORT, folder=evaluated, stdout=full)
    assert (code, error) == (0, "warning: standard output cannot be written: No space left on device\n")
    assert page.exists()


@needs_full
def test_warnings_that_find_a_full_disk_stop_nothing() -> None:
    statement = "logging.getLogger('pipeline').warning('a' * 10**5); print('a' * 10**5, file=sys.stderr); print('done')"
    with FULL.open("wb") as full:
        assert python(*command(statement), stderr=full) == (0, "done\n", "")


def test_closed_streams_stop_nothing_and_send_nothing_elsewhere() -> None:
    statement = "logging.getLogger('pipeline').warning('a'); print('b', file=sys.stderr); print('c', flush=True)"
    call = [sys.executable, *command(statement)]
    for closing, output in ((">&-", b""), ("2>&-", b"c\n"), ("<&- >&- 2>&-", b"")):
        shell = ["sh", "-c", f'"$@" {closing}', "sh", *call]
        done = subprocess.run(shell, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
        assert (done.returncode, done.stdout) == (0, output)


def test_output_into_a_pipe_that_does_not_block_arrives_whole() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    process = subprocess.Popen([sys.executable, *command("print('a' * 10**6)")], cwd=PROJECT, stdout=writing)
    os.close(writing)
    with open(reading, "rb") as pipe:
        assert len(pipe.read()) == 10**6 + 1
    assert process.wait(60) == 0
