"""The key of a comparison: what makes another one, and what does not."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.config.params import Params, changed, load_params
from pipeline.keys import comparison_key
from tests.conftest import PROJECT

DIGEST = "0123456789abcdef"


@pytest.fixture
def params() -> Params:
    return load_params(PROJECT / "params.yaml")


def test_a_key_is_16_hexadecimal_digits_and_the_same_for_the_same_inputs(params: Params) -> None:
    key = comparison_key(params, DIGEST)
    assert len(key) == 16
    assert int(key, 16) >= 0
    assert comparison_key(load_params(PROJECT / "params.yaml"), DIGEST) == key


@pytest.mark.parametrize(
    "changes",
    [{"tandem.steps": 7}, {"seeds": [0]}, {"evaluate.resamples": 100}, {"prepare.hold_out_targets": False}],
    ids=lambda changes: next(iter(changes)),
)
def test_another_parameter_is_another_comparison(params: Params, changes: dict[str, object]) -> None:
    assert comparison_key(changed(params, changes), DIGEST) != comparison_key(params, DIGEST)


def test_other_data_are_another_comparison(params: Params) -> None:
    assert comparison_key(params, "other") != comparison_key(params, DIGEST)


@pytest.mark.parametrize(
    "changes",
    [{"tracking.experiment": "other"}, {"prepare.on_bad_row": "skip"}, {"prepare.pairs": 7}],
    ids=lambda changes: next(iter(changes)),
)
def test_a_parameter_whose_effect_shows_in_the_data_or_nowhere_is_not(
    params: Params, changes: dict[str, object]
) -> None:
    assert comparison_key(changed(params, changes), DIGEST) == comparison_key(params, DIGEST)


def test_deciding_code_is_in_the_key_and_code_that_shows_or_prepares_is_not(tmp_path: Path) -> None:
    package = tmp_path / "pipeline"
    shutil.copytree(PROJECT / "pipeline", package, ignore=shutil.ignore_patterns("__pycache__"))
    program = (
        "from pathlib import Path; from pipeline.config.params import load_params;"
        "from pipeline.keys import comparison_key;"
        f"print(comparison_key(load_params(Path({str(PROJECT / 'params.yaml')!r})), 'digest'))"
    )

    def key_after_appending_to(*names: str) -> str:
        for name in names:
            with (package / name).open("a") as module:
                module.write("# changed\n")
        return subprocess.run(
            [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, check=True
        ).stdout.decode()

    before = key_after_appending_to()
    shown = ("cli.py", "tracking/runs.py", "reporting/figures.py", "stages/publish.py")
    assert key_after_appending_to(*shown, "reading/corpus.py", "reading/raw.py", "stages/prepare.py") == before
    assert key_after_appending_to("data/alphabet.py") != before
