"""Nothing that is read is run, nothing is written outside the project, and no text is taken for markup or a command."""

import io
import json
import pickle
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import psutil
import pytest
from markdown_it import MarkdownIt

from pipeline.config.options import Symbols
from pipeline.config.params import changed, load_params
from pipeline.data.alphabet import Alphabet
from pipeline.errors import UserError
from pipeline.prediction.bundle import BUNDLE
from pipeline.report.page import page
from pipeline.report.tables import comparison, escape
from pipeline.tracking.models import load_model
from pipeline.tracking.publish import publish
from tests.conftest import PROJECT, Call
from tests.report.test_page import Document, maps
from tests.support.made_up import report, rewrites, several
from tests.support.reported_project import make_reported_project
from tests.support.servers import tandem_ui
from tests.support.small_project import make_project, save_small_model
from tests.support.stored import runs

HOSTILE = [
    "<script>alert(1)</script>",
    "</title></style></svg><script src=//a.b></script>",
    "\"><img src=x onerror='alert(2)'>",
    "' onmouseover='alert(3)",
    "]]><b>x</b>",
    "--><iframe srcdoc=x>",
    "&lt;script&gt;",
    "javascript:alert(4)",
    "[click](javascript:alert(5))",
    "![x](https://a.b/c.png)",
    "<https://a.b>",
    "https://a.b www.a.b e@a.b",
    "| a | b |",
    "`${7*7}` {{7*7}} $\\frac{1}{",
    "\x1b[2J\x1b]0;title\x07\x9b2J",
    "a\tb\r\nc\u2028d",
]
PLAIN = [f"word {number}" for number in range(len(HOSTILE))]


class Evil:
    """Whoever unpickles it makes a file."""

    def __init__(self, made: Path) -> None:
        self._made = made

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self._made,)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model's folder."""
    return save_small_model(tmp_path_factory.mktemp("project"))


@pytest.fixture
def model(saved: Path, tmp_path: Path) -> Path:
    """A copy of it, to be spoilt."""
    return Path(shutil.copytree(saved, tmp_path / "model"))


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """The file that is there once code was run."""
    return tmp_path / "code was run"


def poisoned(path: Path, made: Path) -> bytes:
    """A file of the kind of `path` with a pickle in it that makes `made`."""
    content = io.BytesIO()
    if path.suffix == ".npz":
        np.savez(content, any=np.array([Evil(made)], dtype=object))
    elif path.suffix == ".h5":
        with h5py.File(content, "w") as file:
            file["pickle"] = np.void(pickle.dumps(Evil(made)))
    else:
        content.write(pickle.dumps(Evil(made)))
    return content.getvalue()


def test_the_pickles_of_these_tests_run_when_they_are_loaded(made: Path) -> None:
    pickle.loads(poisoned(Path("any.json"), made))
    assert made.exists()
    made.unlink()
    np.load(io.BytesIO(poisoned(Path("any.npz"), made)), allow_pickle=True)["any"]
    assert made.exists()


def test_no_file_of_a_model_is_unpickled(model: Path, made: Path) -> None:
    files = [path for path in (model / "artifacts" / BUNDLE).rglob("*") if path.is_file()]
    assert {path.suffix for path in files} >= {".h5", ".npz", ".json"}
    refused = set()
    for path in files:
        kept = path.read_bytes()
        path.write_bytes(poisoned(path, made))
        try:
            load_model(str(model))
        except UserError:
            refused.add(path)
        path.write_bytes(kept)
        assert not made.exists(), path
    assert len(refused) >= len(files) - 2  # what is only carried along, history and environment, is not looked at
    load_model(str(model))


def test_weights_that_are_pickles_are_refused(model: Path, made: Path) -> None:
    (weights,) = model.rglob("*.weights.h5")
    with h5py.File(weights, "r+") as file:
        names: list[str] = []
        file.visititems(lambda name, found: names.append(name) if isinstance(found, h5py.Dataset) else None)
        for name in names:
            del file[name]
            file[name] = np.void(pickle.dumps(Evil(made)))
    assert len(names) > 5
    with pytest.raises(UserError, match="holds no trained network"):
        load_model(str(model))
    assert not made.exists()


def test_an_architecture_with_a_layer_of_code_is_refused(model: Path) -> None:
    (architecture,) = [path for path in model.rglob("*.json") if '"units"' in path.read_text(encoding="utf-8")]
    content = json.loads(architecture.read_text(encoding="utf-8"))
    content["model"]["cell"] = {"class_name": "Lambda", "config": {"function": "lambda x: x"}}
    architecture.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(UserError, match="holds no trained network"):
        load_model(str(model))


def test_code_that_a_model_names_is_not_run(model: Path, made: Path, call: Call) -> None:
    code = f"from pathlib import Path\nPath({str(made)!r}).touch()\n"
    for module in (model / "evil.py", model / "code" / "evil.py", *(model / "code" / "pipeline").rglob("*.py")):
        module.write_text(code, encoding="utf-8")
    card = model / "MLmodel"
    own = re.sub(
        r"^    (loader_module|model_code_path):.*$\n", "", card.read_text(encoding="utf-8"), flags=re.MULTILINE
    )
    named = "  python_function:\n    loader_module: evil\n    model_code_path: evil.py\n    python_model: evil.pkl\n"
    card.write_text(own.replace("  python_function:\n", named), encoding="utf-8")
    assert "loader_module: evil" in card.read_text(encoding="utf-8")
    status, output, _ = call("predict", "F AO", "--model", str(model))
    assert (status, output.splitlines()[1].split("\t")[2]) == (0, "for")
    assert not made.exists()


def test_a_card_that_names_python_objects_is_refused(model: Path, made: Path, call: Call) -> None:
    with (model / "MLmodel").open("a", encoding="utf-8") as card:
        card.write(f'more: !!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path ["{made}"]]\n')
    code, output, error = call("predict", "F AO", "--model", str(model))
    assert (code, output) == (2, "")
    assert error.startswith("error: no model of this project can be loaded from ")
    assert "Traceback" not in error
    assert not made.exists()


@pytest.mark.parametrize("place", ["../elsewhere", "/elsewhere"])
def test_a_model_whose_files_lie_elsewhere_is_refused(model: Path, place: str) -> None:
    elsewhere = model.parent / "elsewhere"
    shutil.copytree(model / "artifacts" / BUNDLE, elsewhere)
    card = model / "MLmodel"
    named = place.replace("/elsewhere", str(elsewhere)) if place.startswith("/") else place
    card.write_text(card.read_text(encoding="utf-8").replace(f"path: artifacts/{BUNDLE}", f"path: {named}"))
    with pytest.raises(UserError, match="lies outside of it"):
        load_model(str(model))


def test_parameters_that_name_python_objects_are_refused(cold_project: Path, made: Path) -> None:
    text = (PROJECT / "params.yaml").read_text(encoding="utf-8")
    for tag in ("!!python/object/apply:os.system", "!!python/name:os.system", "!!python/object/new:os.system"):
        (cold_project / "params.yaml").write_text(
            re.sub("^  experiment: tandem", f'  experiment: {tag} ["touch {made}"]', text, flags=re.MULTILINE)
        )
        with pytest.raises(UserError, match=r"params\.yaml"):
            load_params()
    assert not made.exists()


def everything(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


@pytest.mark.slow
def test_whatever_an_experiment_is_called_nothing_is_written_outside_the_project(project: Path) -> None:
    make_reported_project(project)
    outside = everything(project.parent) - everything(project)
    names = {"tracking.experiment": "../../<script>alert('1')</script>", "tracking.model": "<b>..<i>"}
    assert publish(changed(load_params(), names))
    assert everything(project.parent) - everything(project) == outside
    own = {".dvc", "data", "mlartifacts", "mlflow.db", "models", "params.yaml", "reports"}
    assert {path.name for path in project.iterdir()} == own
    assert len(runs(project, "comparison")) == 1


def test_a_hostile_text_adds_no_element_and_no_attribute_to_the_page() -> None:
    def shown(words: list[str]) -> tuple[str, Document]:
        results = several(("supervised", "tandem"), words)
        text = page(report(results, noise=rewrites(*words), attention=maps(*words[:4])))
        return text, Document(text)

    (_, plain), (text, hostile) = shown(PLAIN), shown(HOSTILE)
    assert set(hostile.tags) <= set(plain.tags)
    assert {name for name, _ in hostile.attributes} <= {name for name, _ in plain.attributes}
    for word in HOSTILE[:-2]:
        assert word in hostile.in_bdi  # it is shown, as it is
        carrying = {name for name, value in hostile.attributes if word in value}
        assert carrying <= {"aria-label"}
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f]", text)
    assert "default-src 'none'" in dict(hostile.attributes)["content"] or "default-src 'none'" in text


def test_a_hostile_text_makes_no_markup_of_the_markdown() -> None:
    strategies = tuple(text for text in HOSTILE if text.isprintable())
    made = report(several(strategies, PLAIN))
    text = comparison(made.metrics, made.costs)
    document = Document(MarkdownIt("commonmark", {"html": True}).enable("table").render(text))
    assert set(document.tags) <= {"h1", "h2", "p", "table", "thead", "tbody", "tr", "th", "td"}
    assert set(strategies) <= set(document.text)


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_text_is_one_cell_of_a_table(text: str) -> None:
    rendered = (
        MarkdownIt("commonmark", {"html": True})
        .enable("table")
        .render(f"| a | b |\n|---|---|\n| {escape(text)} | x |\n")
    )
    document = Document(rendered)
    assert set(document.tags) == {"table", "thead", "tbody", "tr", "th", "td"}
    assert len([data for data in document.text if data.strip()]) == 4


def test_what_a_model_predicts_can_neither_break_a_row_nor_command_a_terminal(model: Path, call: Call) -> None:
    (path,) = model.rglob("networks/*/target_alphabet.json")
    length = len(Alphabet.load(path).symbols)
    symbols = ("\x1b", "\t", "\n", "\r", "\x9b", "\x07", "\x08", *map(chr, range(1000, 1100)))[:length]
    Alphabet(Symbols.CHARACTERS, symbols).save(path)
    code, output, _ = call(
        "predict", "F AO", "\x1b[2JK", "--model", str(model), "--order=beam", "--n-best=9", "--beam=9"
    )
    assert code == 0
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f]", output)
    assert {line.count("\t") for line in output.splitlines()} == {5}
    assert "\N{REPLACEMENT CHARACTER}" in output


def test_what_is_said_of_a_mistake_cannot_command_a_terminal(call: Call) -> None:
    code, _, error = call("predict", "F AO", "--model", "\x1b]0;title\x07\x9b2J")
    assert code == 2
    assert "]0;title" in error
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f]", error)


def listening(process: psutil.Process) -> Iterator[str]:
    """The addresses at which a process and those that it started wait for connections."""
    for found in (process, *process.children(recursive=True)):
        yield from (one.laddr.ip for one in found.net_connections("inet") if one.status == psutil.CONN_LISTEN)


@pytest.mark.slow
def test_the_ui_listens_on_this_machine_only_and_starts_nothing_besides(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_project(project)
    monkeypatch.delenv("MLFLOW_SERVER_ENABLE_JOB_EXECUTION")  # which the fixture has set
    before = set(psutil.Process().children(recursive=True))
    with tandem_ui(project, tmp_path / "ui.log"):
        started = set(psutil.Process().children()) - before
        addresses = {address for process in started for address in listening(process)}
        programs = [" ".join(process.cmdline()) for one in started for process in (one, *one.children(recursive=True))]
    assert addresses == {"127.0.0.1"}
    assert not [program for program in programs if "mlflow.server.jobs" in program]


def test_every_server_of_the_project_is_told_to_listen_on_this_machine_only() -> None:
    sources = [path.read_text(encoding="utf-8") for path in (PROJECT / "pipeline").rglob("*.py")]
    assert not [text for text in sources if "0.0.0.0" in text or '"::"' in text]


def test_no_module_has_what_unpickles_or_runs_text() -> None:
    modules, calls = r"import (pickle|dill|cloudpickle|marshal|shelve|yaml)\b", r"(?<![.\w])(eval|exec)\("
    what = rf"{modules}|{calls}|allow_pickle=True|typ=.unsafe"
    sources = {path: path.read_text(encoding="utf-8") for path in (PROJECT / "pipeline").rglob("*.py")}
    assert not [path for path, text in sources.items() if re.search(what, text)]
    assert re.search(what, Path(__file__).read_text(encoding="utf-8"))
