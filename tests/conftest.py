"""What several test modules need: a small architecture and toy data."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter
from ruamel.yaml import YAML

from pipeline.config import Model, Params, Training, changed, load_params

PROJECT = Path(__file__).parent.parent


def shipped_params() -> dict[str, Any]:
    """The content of the project's params.yaml, to be changed at will."""
    content: dict[str, Any] = YAML(typ="safe", pure=True).load((PROJECT / "params.yaml").read_bytes())
    return content


def changed_params(changes: dict[str, Any]) -> Params:
    """The shipped parameters with some changed, by dotted name."""
    return changed(load_params(PROJECT / "params.yaml"), changes)


def small_model(**changes: Any) -> Model:
    """The shipped architecture with few units and no dropout."""
    content = shipped_params()["model"] | {"units": 12, "projection": 8, "embedding": 10, "dropout": 0.0} | changes
    return TypeAdapter(Model).validate_json(json.dumps(content))


def quick_training(**changes: Any) -> Training:
    """Settings for seconds of training on toy data."""
    content = shipped_params()["training"] | changes
    return TypeAdapter(Training).validate_json(json.dumps(content))


@pytest.fixture(autouse=True)
def _no_outside_tracking(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test writes to a tracking server or a DVC project that the environment names."""
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_NAME", "DVC_ROOT", "DVC_EXP_NAME"):
        monkeypatch.delenv(name, raising=False)
