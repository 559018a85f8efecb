"""The key of a comparison: which inputs make another one, and which do not."""

import pytest

from pipeline.config.params import Params, changed, load_params
from pipeline.runs.groups import comparison_key
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
    [
        {"strategies.tandem.steps": 7},
        {"seeds": [0]},
        {"training.device": "gpu"},
        {"evaluate.resamples": 100},
        {"prepare.hold_out_targets": True},
    ],
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
