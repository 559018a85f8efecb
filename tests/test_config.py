"""params.yaml: what is right loads, and everything that is wrong is named."""

from pathlib import Path
from typing import Any

import pytest

from pipeline.config import ConfigError, ScheduledTask, flatten, load_params, parse_params
from tests.conftest import PROJECT, changed_params, shipped_params


def test_the_shipped_parameters_load() -> None:
    params = load_params(PROJECT / "params.yaml")
    assert params.seeds == (0, 1, 2)
    assert params.tandem.schedule[0] is ScheduledTask.PAIRED


def test_every_parameter_has_its_dotted_name() -> None:
    names = flatten(load_params(PROJECT / "params.yaml"))
    content = shipped_params()
    written = {f"{section}.{key}" for section, keys in content.items() if isinstance(keys, dict) for key in keys}
    assert set(names) == written | {"seeds"}


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("model.cell", "rnn", "model.cell: input should be 'lstm' or 'gru', not 'rnn'"),
        ("model.unts", 3, "model.unts is unknown"),
        ("model.units", 0, "model.units: input should be greater than or equal to 1, not 0"),
        ("model.units", "128", "model.units: input should be a valid integer, not '128'"),
        ("model.units", True, "model.units: input should be a valid integer, not True"),
        ("model.dropout", 1.0, "model.dropout: input should be less than 1, not 1.0"),
        ("training.learning_rate", float("nan"), "training.learning_rate"),
        ("tandem.schedule", ["autoencode"], "tandem.schedule must contain 'paired' at least once"),
        ("tandem.schedule", "paired", "tandem.schedule: input should be a valid array, not 'paired'"),
        ("decoding.order", "best", "decoding.order: input should be 'greedy', 'beam' or 'rerank', not 'best'"),
        ("decoding.beam", 0, "decoding.beam: input should be greater than or equal to 1, not 0"),
        ("seeds", [1, 1], "seeds names a seed twice: [1, 1]"),
        ("seeds", [], "seeds"),
        ("data.pairs", "data/raw/x.tsv", "data.pairs must be null with data.source: cmudict"),
        ("model.units", 7, "model.bidirectional gives half to each direction"),
        ("model.decoder", "repeat", "model.bridge: attention needs model.decoder: autoregressive"),
        ("two_stage.objective", "embedding", "two_stage.objective: embedding needs model.bridge: vector"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(name: str, value: Any, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        changed_params({name: value})
    assert message in str(error.value)


def test_all_problems_are_reported_at_once() -> None:
    content = shipped_params()
    content["model"]["cell"] = "rnn"
    content["prepare"]["dev"] = 0
    del content["evaluate"]
    content["extra"] = 1
    with pytest.raises(ConfigError, match="has 4 problem") as error:
        parse_params(content)
    for key in ("model.cell", "prepare.dev", "evaluate is missing", "extra is unknown"):
        assert key in str(error.value)


@pytest.mark.parametrize("path", ["/etc/passwd", "../x.tsv", "data/raw/../../x.tsv", "pairs.tsv"])
def test_own_files_must_lie_where_dvc_watches(path: str) -> None:
    with pytest.raises(ConfigError, match="must lie below data/raw"):
        changed_params({"data.source": "files", "data.pairs": path, "data.targets": "data/raw/targets.txt"})


@pytest.mark.parametrize("text", [b"", b"- 1", b"a: [", b"\xff\xfe\x00", b"a: &a [*a]", b"{" * 5000, b"1: 2"])
def test_what_is_no_parameter_file_is_a_clear_error(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes(text)
    with pytest.raises(ConfigError, match=r"params\.yaml"):
        load_params(path)


def test_numbers_are_read_as_dvc_reads_them(tmp_path: Path) -> None:
    text = (PROJECT / "params.yaml").read_text(encoding="utf-8")
    path = tmp_path / "params.yaml"
    path.write_text(text.replace("clip_norm: 1.0", "clip_norm: 1e-3"), encoding="utf-8")
    assert load_params(path).training.clip_norm == 0.001


def test_a_missing_file_says_where_to_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="run this from the project's folder"):
        load_params(tmp_path / "params.yaml")
