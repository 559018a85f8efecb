"""Exported models: in a process without this package they predict as the project does."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from pipeline.config.options import Symbols
from pipeline.config.params import Bridge, Order
from pipeline.data.alphabet import SPECIALS, Alphabet, save_alphabets
from pipeline.errors import UserError
from pipeline.model.backend import keras, tf
from pipeline.model.inference import TrainedModel
from pipeline.model.network import Network, Sizes, save_network
from pipeline.prediction.export import export_model
from pipeline.prediction.predictor import Predictor
from pipeline.runs.groups import RunGroup
from pipeline.text import one_spaced
from tests.conftest import PATIENCE, PROJECT, Call, small_model
from tests.support.small_project import SOURCES, make_project, save_small_model

# Nothing but tensorflow: neither Keras nor this package can be imported.
LOAD = """if True:
    import json, sys
    sys.modules["keras"] = sys.modules["pipeline"] = None
    import tensorflow as tf
    answers = {}
    for name, signature in tf.saved_model.load(sys.argv[1]).signatures.items():
        found = signature(sources=tf.constant(json.loads(sys.argv[2])))
        texts = [[text.decode() for text in row] for row in found["predictions"].numpy()]
        answers[name] = [texts, found["log_probabilities"].numpy().tolist()]
    print(json.dumps(answers))
"""

Answers = list[list[tuple[str, float]]]


def answered(folder: Path, sources: list[str]) -> dict[str, Answers]:
    """The predictions of an exported model by signature, with log probabilities, in a process of its own."""
    command = [sys.executable, "-I", "-c", LOAD, str(folder), json.dumps(sources)]
    done = subprocess.run(command, cwd=folder, capture_output=True, check=True, text=True)
    answers = json.loads(done.stdout)
    return {name: [list(zip(*row, strict=True)) for row in zip(*found, strict=True)] for name, found in answers.items()}


def assert_same(answers: Answers, expected: Answers) -> None:
    assert [[text for text, _ in row] for row in answers] == [[text for text, _ in row] for row in expected]
    for row, other in zip(answers, expected, strict=True):
        assert [score for _, score in row] == pytest.approx([score for _, score in other], abs=1e-5)


def save_run(folder: Path, seed: int, kinds: tuple[Symbols, Symbols], **architecture: Any) -> Path:
    """A run with weights scaled up, so that the distributions are far from even."""
    separator = "" if kinds[0] is Symbols.CHARACTERS else "~"
    source = Alphabet(kinds[0], tuple(f"{one}{separator}" for one in "aä\N{CAT FACE} "[: 4 - len(separator)]))
    target = Alphabet(kinds[1], ("b", "ß", "\N{DOG FACE}") if kinds[1] is Symbols.CHARACTERS else ("b", "ßß"))
    keras.utils.set_random_seed(seed)
    network = Network(small_model(**architecture), Sizes(len(source), len(target), 5))
    network.set_weights([3 * weight for weight in network.get_weights()])
    save_network(network, folder)
    save_alphabets(folder, source, target)
    return folder


@pytest.mark.parametrize(
    ("bridge", "members", "kinds"),
    [
        (Bridge.ATTENTION, 1, (Symbols.CHARACTERS, Symbols.SPACES)),
        (Bridge.ATTENTION, 2, (Symbols.SPACES, Symbols.CHARACTERS)),
        (Bridge.MONOTONIC, 1, (Symbols.SPACES, Symbols.CHARACTERS)),
        (Bridge.MONOTONIC, 2, (Symbols.CHARACTERS, Symbols.SPACES)),
    ],
)
def test_it_predicts_as_the_model_whatever_its_bridge_members_and_symbols(
    tmp_path: Path, bridge: Bridge, members: int, kinds: tuple[Symbols, Symbols]
) -> None:
    runs = [save_run(tmp_path / str(seed), seed, kinds, bridge=bridge.value) for seed in range(members)]
    model = TrainedModel.load(*runs)
    sources = ["a", "aä\N{CAT FACE} a", "a~ ä~ \N{CAT FACE}~ a~", "a~ unknown ä~", "ää", "\N{CAT FACE}~"]
    export_model(model, tmp_path / "new" / "exported", beam_width=4, n_best=3)
    answers = answered(tmp_path / "new" / "exported", sources)
    for signature, width, n_best in (("serving_default", 4, 3), ("greedy", 1, 1)):
        expected = [[(one.text, one.log_probability) for one in row[:n_best]] for row in model.predict(sources, width)]
        assert len({text for row in expected for text, _ in row}) > 1
        assert_same(answers[signature], expected)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "my project"
    make_project(root)
    monkeypatch.chdir(root)
    return root


def test_the_command_exports_what_predict_predicts_in_the_order_beam(project: Path, call: Call) -> None:
    options = ["--ensemble", "--beam-width", "3", "--n-best", "2"]
    assert call("export", "exported", *options) == (0, "", "")
    printed = call("predict", *SOURCES, "--order", "beam", *options).output
    answers = answered(project / "exported", SOURCES)["serving_default"]
    assert [line.split("\t")[2:4] for line in printed.splitlines()[1:]] == [
        [text, f"{score:.4f}"] for row in answers for text, score in row
    ]


def test_a_saved_model_is_exported_too_with_the_beam_of_the_last_repro(tmp_path: Path, call: Call) -> None:
    model = save_small_model(tmp_path)
    assert call("export", str(tmp_path / "exported"), "--model", str(model)).code == 0
    predictor = Predictor.load(tmp_path / "bundle", Order.BEAM)
    rows = predictor.predict(SOURCES, predictor.options(n_best=2))
    expected = [[(one.text, one.log_probability) for one in row] for row in rows]
    assert_same(answered(tmp_path / "exported", SOURCES)["serving_default"], expected)


def test_white_space_decides_nothing_and_sources_may_be_empty(project: Path) -> None:
    export_model(Predictor.of_runs(RunGroup("tandem", (0,)), Order.BEAM).model, project / "exported", 3, 3)
    signature = tf.saved_model.load(project / "exported").signatures["serving_default"]
    spaces = [chr(point) for point in range(1, sys.maxunicode) if chr(point).isspace()]
    around = [f"{space}F{space} {space}AO{space}" for space in spaces]
    assert {one_spaced(source) for source in around} == {"F AO"}
    found = signature(sources=tf.constant(["F AO", *around, "F\N{ZERO WIDTH SPACE}AO"]))
    *same, other = found["log_probabilities"].numpy().tolist()
    assert same == [pytest.approx(same[0], abs=1e-5)] * len(same)
    assert other != pytest.approx(same[0], abs=1e-5)
    assert signature(sources=tf.constant(["", " "]))["predictions"].shape == (2, 3)


def test_if_there_are_fewer_strings_than_asked_for_the_rest_is_empty_and_impossible(tmp_path: Path) -> None:
    kinds = Symbols.CHARACTERS, Symbols.CHARACTERS
    run = save_run(tmp_path / "run", 0, kinds)
    keras.utils.set_random_seed(0)
    save_network(Network(small_model(), Sizes(4 + SPECIALS, 3 + SPECIALS, 1)), run)  # END or one of three symbols
    export_model(TrainedModel.load(run), tmp_path / "exported", 8, 8)
    (row,) = answered(tmp_path / "exported", ["a"])["serving_default"]
    assert sorted(text for text, _ in row[:4]) == ["", "b", "ß", "\N{DOG FACE}"]
    assert row[4:] == [("", -float("inf"))] * 4


def test_an_existing_folder_is_not_touched(project: Path, call: Call) -> None:
    (project / "exported").mkdir()
    assert call("export", "exported") == (2, "", "error: exported exists: name a new folder, or delete that one\n")
    assert not list((project / "exported").iterdir())


def test_a_file_that_is_too_large_for_the_disk_leaves_nothing_and_is_named(project: Path, tmp_path: Path) -> None:
    model = Predictor.of_runs(RunGroup("tandem", (0,)), Order.BEAM).model
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(UserError, match=r"exported cannot be written: .*"):
            export_model(model, tmp_path / "new" / "exported", 2, 2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert not list((tmp_path / "new").iterdir())


def test_a_killed_export_leaves_a_whole_folder_or_none(project: Path, call: Call) -> None:
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    process = subprocess.Popen([sys.executable, "-m", "pipeline.cli", "export", "1"], env=environment)
    end = time.monotonic() + PATIENCE
    while not list(project.glob(".1.*")) and time.monotonic() < end:
        assert process.poll() is None, "it ended before it began to write"
        time.sleep(0.05)
    process.kill()
    process.wait()
    if not (project / "1").exists():
        assert call("export", "1").code == 0
    assert answered(project / "1", ["F AO"])
