"""Parameters written into params.yaml."""

import shutil
from pathlib import Path

import pytest

from pipeline.config.edit import apply
from pipeline.config.params import ConfigError, load_params
from tests.conftest import PROJECT


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return Path(shutil.copy(PROJECT / "params.yaml", tmp_path))


def test_the_best_is_written_into_params_and_every_other_line_stays(file: Path) -> None:
    before = file.read_text(encoding="utf-8").splitlines()
    best = {"prepare.pairs": 500, "strategies.tandem.tasks": ["paired", "autoencode"], "model.dropout": 0.25}
    assert apply(best, file) == {
        "prepare.pairs": (2000, 500),
        "model.dropout": (0.3, 0.25),
        "strategies.tandem.tasks": (["paired", "autoencode", "synthetic"], ["paired", "autoencode"]),
    }
    after = file.read_text(encoding="utf-8").splitlines()
    changed = [new for old, new in zip(before, after, strict=True) if old != new]
    assert [line.split("#")[0].rstrip() for line in changed] == [
        "  pairs: 500",
        "  dropout: 0.25",
        "    tasks: [paired, autoencode]",
    ]
    assert changed[0].endswith("# training pairs; null takes all")
    again = load_params(file)
    assert (again.prepare.pairs, again.model.dropout, len(again.strategies["tandem"].tasks)) == (500, 0.25, 2)


def test_a_default_that_is_missing_in_the_file_is_added_to_its_section(file: Path) -> None:
    before = file.read_text(encoding="utf-8").splitlines()
    assert apply({"strategies.tandem.start": "pretrained"}, file) == {
        "strategies.tandem.start": ("scratch", "pretrained")
    }
    after = file.read_text(encoding="utf-8").splitlines()
    assert [line for line in after if line not in before] == ["    start: pretrained"]
    assert len(after) == len(before) + 1
    assert load_params(file).strategies["tandem"].is_pretrained


def test_null_can_be_the_best_too(file: Path) -> None:
    assert apply({"prepare.pairs": None}, file) == {"prepare.pairs": (2000, None)}
    assert load_params(file).prepare.pairs is None


def test_without_changes_the_file_is_not_touched(file: Path) -> None:
    before = file.stat().st_mtime_ns
    assert apply({"prepare.pairs": 2000}, file) == {}
    assert file.stat().st_mtime_ns == before


def test_parameters_that_contradict_others_in_the_file_are_not_written(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    with pytest.raises(ConfigError, match=r"model\.units is 65"):
        apply({"model.units": 65}, file)
    assert file.read_text(encoding="utf-8") == text
