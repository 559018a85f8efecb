"""params.yaml: what is right loads, and everything that is wrong is named, all at once."""

import functools
import json
import math
from contextlib import suppress
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter
from ruamel.yaml import YAML

from pipeline.config.params import RESERVED, ConfigError, Model, Strategy, changed, flatten, load_params, parse_params
from pipeline.config.problems import renamed
from tests.conftest import PROJECT, changed_params, shipped_params

SHIPPED = (PROJECT / "params.yaml").read_text(encoding="utf-8")
CONTENT = json.dumps(shipped_params())
SHIPPED_PARAMS = load_params(PROJECT / "params.yaml")
OPTIONAL = {field.name for field in fields(Strategy) if field.default is not MISSING}
TASKS = "strategies.tandem.tasks"
NAMES = sorted(flatten(SHIPPED_PARAMS))


def problems(content: Any) -> list[str]:
    """The sentences of the error, without its first line."""
    with pytest.raises(ConfigError) as error:
        parse_params(content)
    first, *rest = str(error.value).split("\n  ")
    assert first == f"params.yaml has {len(rest)} problem(s):"
    return rest


def loaded(tmp_path: Path, content: bytes) -> str:
    """What is said about a file."""
    path = tmp_path / "params.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as error:
        load_params(path)
    return str(error.value).replace(f"{tmp_path}/", "")


def test_the_shipped_parameters_load() -> None:
    params = load_params(PROJECT / "params.yaml")
    assert params.seeds == (0, 1, 2)
    assert params.strategies["tandem"].tasks == ("paired", "autoencode", "synthetic")
    assert params.strategies["two_stage"].is_pretrained


def test_every_parameter_has_its_dotted_name() -> None:
    names = flatten(load_params(PROJECT / "params.yaml"))
    content = shipped_params()
    for strategy in content["strategies"].values():
        strategy |= {field.name: None for field in fields(Strategy) if field.name not in strategy}
    written = {
        f"{section}.{key}"
        for section, keys in content.items()
        if isinstance(keys, dict) and section != "strategies"
        for key in keys
    }
    written |= {f"strategies.{name}.{key}" for name, strategy in content["strategies"].items() for key in strategy}
    assert set(names) == written | {"seeds"}


def test_what_a_strategy_learns_from_besides_pairs_are_its_ingredients() -> None:
    ingredients = {name: set(strategy.ingredients) for name, strategy in SHIPPED_PARAMS.strategies.items()}
    assert ingredients == {
        "supervised": set(),
        "augmented": {"synthetic"},
        "two_stage": {"pretrained", "synthetic"},
        "alternating": {"autoencode"},
        "tandem": {"autoencode", "synthetic"},
    }


def test_changes_reach_three_levels_and_add_whole_strategies() -> None:
    mine = {"tasks": ["paired"], "steps": 7}
    params = changed(SHIPPED_PARAMS, {"strategies.tandem.steps": 2000, "strategies.mine": mine})
    assert params.strategies["tandem"].steps == 2000
    assert params.strategies["mine"].finetune_steps == 0
    assert flatten(params)["strategies.mine.tasks"] == ["paired"]
    assert (
        changed(SHIPPED_PARAMS, {f"strategies.mine.{key}": value for key, value in mine.items()}).strategies["mine"]
        == (params.strategies["mine"])
    )


def test_a_change_below_what_is_not_a_section_is_unknown() -> None:
    with pytest.raises(ConfigError, match=r"seeds\.first is unknown: seeds is not a section"):
        changed(SHIPPED_PARAMS, {"seeds.first": 1})


@pytest.mark.parametrize("name", ["Tandem", "2nd", "a-b", "", "x" * 41, "a.b", "č", *RESERVED])
def test_a_strategy_has_a_name_that_nothing_else_has(name: str) -> None:
    content = shipped_params()
    content["strategies"][name] = content["strategies"]["tandem"]
    (problem,) = problems(content)
    reason = "the project uses this name" if name in RESERVED else "use a letter, then a-z, 0-9 and _, 40 in all"
    assert problem.startswith(f"strategies.{name} cannot have this name: {reason}")


@pytest.mark.parametrize("number", [0, 13])
def test_there_are_1_to_12_strategies(number: int) -> None:
    content = shipped_params()
    content["strategies"] = {f"s{index}": {"tasks": ["paired"], "steps": 1} for index in range(number)}
    (problem,) = problems(content)
    assert problem.endswith("but must be a section of 1 to 12 strategies, each with tasks and steps")


OLD = """\
pretrain:
  updates: 1000
supervised:
  updates: 1000
two_stage:
  objective: frozen_decoder
  updates: 500
  finetune: 500
tandem:
  schedule: [paired, autoencode, synthetic]
  start: scratch
  updates: 1000
  finetune: 0
decoding: {order: rerank, beam: 8, neighbours: 8, ensemble: true, seed: 0}
"""


def test_a_file_of_an_earlier_version_gets_one_list_of_new_names(tmp_path: Path) -> None:
    yaml = YAML(typ="safe", pure=True)
    content = {**shipped_params(), **yaml.load(OLD)}
    del content["strategies"]
    content["matcher"]["updates"] = content["matcher"].pop("steps")
    path = tmp_path / "params.yaml"
    yaml.dump(content, path)
    with pytest.raises(ConfigError) as error:
        load_params(path)
    _, *sentences = str(error.value).split("\n  ")
    assert sorted(sentence.partition(": ")[2] for sentence in sentences) == [
        "decoding.beam has a new name: decoding.beam_width",
        "matcher.updates has a new name: matcher.steps",
        "pretrain.updates has a new name: pretrain.steps",
        "supervised.updates has a new name: strategies.supervised.steps",
        "tandem.finetune has a new name: strategies.tandem.finetune_steps",
        "tandem.schedule has a new name: strategies.tandem.tasks",
        "tandem.start has a new name: strategies.tandem.start",
        "tandem.updates has a new name: strategies.tandem.steps",
        "two_stage.finetune has a new name: strategies.two_stage.steps "
        "(with the tasks of these steps in strategies.two_stage.tasks)",
        "two_stage.objective has a new name: strategies.two_stage.objective",
        "two_stage.updates has a new name: strategies.two_stage.frozen_steps",
    ]


def test_old_names_are_found_by_dotted_name_too() -> None:
    named = {"tandem.updates": {"low": 1, "high": 2}, "two_stage.start": [1], "tandem": 3, "model.units": [1]}
    assert renamed(named) == {
        "tandem.updates": "strategies.tandem.steps",
        "two_stage.start": "strategies.two_stage.start",
        "tandem": "strategies.tandem",
    }


def test_an_old_name_beside_the_new_ones_is_named_with_all_other_problems() -> None:
    content = shipped_params()
    content["tandem"] = {"updates": 5}
    content["two_stage"] = 3
    content["strategies"]["tandem"]["steps"] = 0
    assert problems(content) == [
        "strategies.tandem.steps is 0, but must be a whole number of at least 1 and at most 1,000,000,000,000",
        "tandem.updates has a new name: strategies.tandem.steps",
        "two_stage has a new name: strategies.two_stage",
    ]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("model.cell", "rnn", "model.cell is 'rnn', but must be 'lstm' or 'gru'"),
        ("model.units", 0, "model.units is 0, but must be a whole number of at least 1 and at most 65,536"),
        ("model.units", "128", "model.units is '128', but must be a whole number"),
        ("model.units", True, "model.units is true, but must be a whole number"),
        ("model.units", 10**400, "model.units is 1000000"),
        ("model.dropout", 1.0, "model.dropout is 1.0, but must be a number of at least 0 and below 1"),
        ("model.dropout", "0.1", "model.dropout is '0.1', but must be a number"),
        ("noise.rate", 10**400, "noise.rate is 1000000"),
        ("training.learning_rate", math.nan, "training.learning_rate is nan, but must be a number above 0 and at most"),
        ("training.clip_norm", math.inf, "training.clip_norm is inf, but must be a number above 0 and at most"),
        (TASKS, ["autoencode"], f"{TASKS} is ['autoencode'], but must contain 'paired' at least once"),
        (TASKS, "paired", f"{TASKS} is 'paired', but must be a list, not empty and of at most 100"),
        (TASKS, ["paired", "x"], f"{TASKS}.1 is 'x', but must be 'paired', 'autoencode', 'synthetic' or 'pseudo'"),
        ("strategies.tandem", 3, "strategies.tandem is 3, but must be a section with tasks, steps, start"),
        ("strategies.tandem.frozen_steps", 5, "strategies.tandem.frozen_steps is 5, but needs `start: pretrained`"),
        ("decoding.order", "best", "decoding.order is 'best', but must be 'greedy', 'beam' or 'rerank'"),
        ("prepare.pairs", 0, "prepare.pairs is 0, but must be a whole number of at least 1 and at most 1,000,"),
        ("prepare.pairs", "all", "and at most 1,000,000,000,000 or null"),
        ("prepare.resamples", 0, "prepare.resamples is 0, but must be a whole number of at least 1 and at most 1,000"),
        ("prepare.sample", 1, "prepare.sample is 1, but must be below prepare.resamples"),
        ("prepare.sample", -1, "prepare.sample is -1, but must be a whole number of at least 0"),
        (
            "prepare",
            {**shipped_params()["prepare"], "pairs": None, "resamples": 2},
            "prepare.resamples is 2, but must be 1 with prepare.pairs: null, which takes all pairs",
        ),
        ("prepare.hold_out_targets", "no", "prepare.hold_out_targets is 'no', but must be true or false"),
        ("data.pairs", 3, "data.pairs is 3, but must be the path of a file or null"),
        ("data.pairs", "data/raw/x.tsv", "data.pairs is 'data/raw/x.tsv', but must be null with data.source: cmudict"),
        ("data.source", "files", "data.pairs is null, but data.source: files needs a file"),
        ("data.source_symbols", "characters", "data.source_symbols is 'characters', but data.source: cmudict has"),
        ("seeds", [1, 1], "seeds is [1, 1], but must not list a seed twice"),
        ("seeds", [], "seeds is [], but must be a list, not empty"),
        ("model", 3, "model is 3, but must be a section with cell, decoder, bridge"),
        ("model.units", 7, "model.units is 7, but must be even: each of the two directions gets half"),
        (
            "model",
            {**shipped_params()["model"], "decoder": "repeat", "bridge": "attention"},
            "model.bridge is 'attention', but must be 'vector' with model.decoder: repeat",
        ),
        (
            "strategies.two_stage.objective",
            "embedding",
            "strategies.two_stage.objective is 'embedding', but needs model.bridge: vector",
        ),
        (
            "strategies.tandem.tasks",
            ["paired", "pseudo"],
            "strategies.tandem.teacher is null, but must name a strategy if `pseudo` is among the tasks, and only then",
        ),
        (
            "strategies.tandem.teacher",
            "augmented",
            "strategies.tandem.teacher is 'augmented', but must name a strategy",
        ),
        (
            "strategies.mine",
            {"tasks": ["paired", "pseudo"], "steps": 1, "teacher": "nobody"},
            "but has a teacher that is none of them",
        ),
        ("tracking.model", "a/b", "tracking.model is 'a/b', but must be text of 1 to 200 characters without / : '"),
        ("tracking.experiment", "a\0b", "tracking.experiment is 'a\\x00b', but must be text of 1 to 200 characters"),
        ("tracking.experiment", "", "tracking.experiment is '', but must be text of 1 to 200 characters"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(name: str, value: Any, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        changed_params({name: value})
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("section", "key", "message"),
    [
        ("model", "unts", "model.unts is unknown: did you mean model.units?"),
        ("model", "max_symbols", "model.max_symbols is unknown: did you mean prepare.max_symbols?"),
        ("noise", "colour", "noise.colour is unknown: noise has kind, rate"),
        (None, "trainng", "trainng is unknown: did you mean training?"),
        (None, "xyz", "xyz is unknown: params.yaml has seeds, data, prepare"),
    ],
)
def test_an_unknown_name_is_told_the_nearest_or_what_there_is(section: str | None, key: str, message: str) -> None:
    content = shipped_params()
    (content[section] if section else content)[key] = 1
    assert message in problems(content)[0]


def test_a_misspelt_name_is_one_mistake_and_not_a_missing_one_as_well() -> None:
    content = shipped_params()
    content["model"]["unts"] = content["model"].pop("units")
    content["evaluat"] = content.pop("evaluate")
    assert problems(content) == [
        "evaluat is unknown, and evaluate is missing: did you mean that?",
        "model.unts is unknown, and model.units is missing: did you mean that?",
    ]


def test_what_is_missing_is_told_with_what_it_must_be() -> None:
    content = shipped_params()
    del content["noise"]
    del content["decoding"]["beam_width"]
    assert problems(content) == [
        "decoding.beam_width is missing: it must be a whole number of at least 1 and at most 100",
        "noise is missing: it must be a section with kind, rate",
    ]


def test_every_kind_of_problem_in_one_file_is_reported_at_once_with_its_line(tmp_path: Path) -> None:
    text = """\
    seeds: [1, 1]
    data: {source: cmudict, pairs: data/raw/x.tsv, targets: null, sources: null, dev: null, test: null,
      rows: words, source_symbols: spaces, target_symbols: words}
    prepare: {pairs: 1, resamples: 1, sample: 1, dev: 0, dev: 2, test: 1, targets: null, sources: null,
      hold_out_targets: true, on_bad_row: skip, strict: false, max_symbols: .nan, seed: 0}
    model: {cell: rnn, decoder: repeat, bridge: attention, tie_weights: true, bidirectional: true, units: 7,
      layers: !!python/name:os.system 1, projection: 4, embedding: 4, drpout: 0.1}
    noise: &noise {kind: none, rate: 0.0}
    training: 5
    checkpoints: {seconds: 1}
    pretrain: *noise
    strategies:
      supervised: {tasks: [paired], steps: 10, objective: embedding}
      two_stage: {tasks: [paired], finetune_steps: -1}
      tandem: {tasks: [synthetic], steps: 1, frozen_steps: 1}
      prepare: {tasks: [paired], steps: 10}
    decoding: {order: greedy, beam: 1, neighbours: 0, ensemble: false, seed: 0, extra: 1}
    matcher: {encoder: lstm, projection: 4, units: 5, embedding: 4, dropout: 0.1, steps: 1, batch_size: 2,
      learning_rate: 0.1, neighbours: 0, candidates: 0, negatives: 0, evaluate_every: 1, patience: 1}
    tracking: {experiment: "x\\0", model: x}
    """
    first, *rest = loaded(tmp_path, text.encode()).split("\n  ")
    starts = [
        "line 1: evaluate is missing: it must be a section with resamples, confidence, seed",
        "line 1: seeds is [1, 1], but must not list a seed twice",
        "line 2: data.pairs is 'data/raw/x.tsv', but must be null with data.source: cmudict",
        "line 3: data.target_symbols is 'words', but must be 'characters' or 'spaces'",
        "line 4: prepare.dev appears twice, first in line 4",
        "line 4: prepare.sample is 1, but must be below prepare.resamples",
        "line 5: prepare.max_symbols is nan, but must be a whole number",
        "line 6: model.bridge is 'attention', but must be 'vector'",
        "line 6: model.cell is 'rnn'",
        "line 6: model.units is 7, but must be even",
        "line 7: model.drpout is unknown, and model.dropout is missing",
        "line 7: model.layers has the tag tag:yaml.org,2002:python/name:os.system",
        "line 9: training is 5, but must be a section",
        "line 11: pretrain is an alias",
        "line 13: strategies.supervised.objective is 'embedding', but needs model.bridge: vector",
        "line 14: strategies.two_stage.finetune_steps is -1",
        "line 14: strategies.two_stage.steps is missing",
        "line 15: strategies.tandem.frozen_steps is 1, but needs `start: pretrained`",
        "line 15: strategies.tandem.tasks is ['synthetic'], but must contain 'paired'",
        "line 16: strategies.prepare cannot have this name",
        "line 17: decoding.beam has a new name",
        "line 17: decoding.extra is unknown: decoding has",
        "line 18: matcher.units is 5, but must be even",
        "line 19: matcher.candidates is 0, but must be above 0",
        "line 20: tracking.experiment is 'x\\x00', but must be text",
    ]
    assert [sentence[: len(start)] for sentence, start in zip(rest, starts, strict=True)] == starts
    assert first == f"params.yaml has {len(starts)} problem(s):"


@pytest.mark.parametrize("name", ["pairs", "targets", "sources", "dev", "test"])
@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/etc/passwd", "must lie below data/raw"),
        ("../x.tsv", "must lie below data/raw"),
        ("data/raw/../../x.tsv", "must lie below data/raw"),
        ("pairs.tsv", "must lie below data/raw"),
        ("data/raw/a\0b", "a file's name must not have control characters"),
        ("data/raw/a\nb", "a file's name must not have control characters"),
    ],
)
def test_own_files_must_lie_where_dvc_watches(name: str, path: str, reason: str) -> None:
    own = {"data.source": "files", "data.pairs": "data/raw/pairs.tsv", "data.targets": "data/raw/targets.txt"}
    with pytest.raises(ConfigError, match=rf"data\.{name} is .*{reason}"):
        changed_params({**own, f"data.{name}": path})


def test_a_section_that_is_made_by_itself_is_checked_as_well() -> None:
    with pytest.raises(ValueError, match=r"units\n +must be even: each of the two directions gets half"):
        TypeAdapter(Model).validate_json(json.dumps(shipped_params()["model"] | {"units": 7}))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "params.yaml must be a mapping of sections such as `model:`, not NoneType"),
        (b"- 1", "params.yaml must be a mapping of sections such as `model:`, not list"),
        (b"a: 1\nb: [", "params.yaml, line 2: cannot be read as YAML"),
        (b"a: 1\nb: c: d", "params.yaml, line 2: cannot be read as YAML: mapping values are not allowed here"),
        (b"a: 1\n--- 2", "params.yaml, line 2: cannot be read as YAML: but found another document"),
        (b"a: 1\nb: \0", "params.yaml, line 2: cannot be read as YAML: the character U+0000 is not allowed"),
        (b"a: 1\nb: \xff", "params.yaml, line 2: not UTF-8 text"),
        (b"a: \xed\xa0\x80", "params.yaml, line 1: not UTF-8 text"),
        (SHIPPED.encode("utf-16"), "params.yaml, line 1: not UTF-8 text"),
        (b"a: &a [*a]", "line 1: a.0 is an alias (*), which is not supported"),
        (b"{" * 5000, "mappings and lists more than 10 deep within each other"),
        (b"".join(b" " * i + b"a:\n" for i in range(60)), "more than 10 deep within each other"),
        (b"a: 1\n? [b]\n: 2", "params.yaml has a key in line 2 that is not a name"),
        (b"1: 2", "line 1: 1 is unknown: params.yaml has seeds"),
        (b'"\\ud800": 2', "has a key in line 1 that is not printable text"),
        (b"a: *b", "params.yaml, line 1: cannot be read as YAML: found undefined alias"),
        (b"#" * 100_001, "params.yaml has more than 100,000 bytes"),
    ],
)
def test_what_is_no_parameter_file_is_a_clear_error(tmp_path: Path, content: bytes, message: str) -> None:
    assert message in loaded(tmp_path, content)


def test_aliases_that_stand_for_billions_of_values_cost_nothing(tmp_path: Path) -> None:
    rows = [b"a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    rows += [b"a%d: &a%d [%s]" % (i, i, b", ".join([b"*a%d" % (i - 1)] * 10)) for i in range(1, 40)]
    assert "line 2: a1.0 is an alias (*), which is not supported" in loaded(tmp_path, b"\n".join(rows))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("units: 128", "units: 1" + "0" * 5000, "model.units has 5,001 characters, at most 1,000 are possible"),
        ("units: 128", "units: 0x" + "f" * 900, "model.units is 0x"),
        ("units: 128", "units: 2024-01-01", "model.units is '2024-01-01', but must be a whole number"),
        ("units: 128", "units: 2024-99-99", "model.units is '2024-99-99', but must be a whole number"),
        ("units: 128", "units: !!int x", "model.units is 'x', which cannot be read"),
        ("units: 128", "units: !!binary aGVsbG8=", "model.units has the tag tag:yaml.org,2002:binary"),
        ("units: 128", "units: !own 1", "model.units has the tag !own"),
        ("rate: 0.2", "rate: -.inf", "noise.rate is -inf, but must be a number of at least 0 and at most 1"),
        ("experiment: tandem", 'experiment: "\\ud800"', "tracking.experiment is '\\ud800', but must be text without"),
    ],
)
def test_a_value_that_no_parameter_can_have_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    said = loaded(tmp_path, SHIPPED.replace(old, new, 1).encode())
    line = SHIPPED[: SHIPPED.index(old)].count("\n") + 1
    assert said.startswith(f"params.yaml has 1 problem(s):\n  line {line}: {message.replace('is 0x', 'is ')}")


def test_a_byte_order_mark_and_windows_line_ends_are_no_part_of_the_content(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + SHIPPED.replace("\n", "\r\n").encode())
    assert load_params(path) == load_params(PROJECT / "params.yaml")


def test_numbers_are_read_as_dvc_reads_them(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(SHIPPED.replace("clip_norm: 1.0", "clip_norm: 1e-3"), encoding="utf-8")
    assert load_params(path).training.clip_norm == 0.001


def test_a_missing_file_says_where_to_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="run this from the project's folder"):
        load_params(tmp_path / "params.yaml")


def test_a_folder_in_its_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").mkdir()
    with pytest.raises(ConfigError, match=r"params\.yaml cannot be read: .*Is a directory"):
        load_params(tmp_path / "params.yaml")


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=60)
@example({"strategies.supervised.frozen_steps": 1, "strategies.supervised.start": None}, set())
@example({"strategies.supervised.objective": "embedding", "model.bridge": 1}, set())
@given(st.dictionaries(st.sampled_from(NAMES), values, min_size=1, max_size=5), st.sets(st.sampled_from(NAMES)))
def test_whatever_the_values_all_wrong_and_missing_names_are_reported_or_the_file_loads(
    changes: dict[str, Any], left_out: set[str]
) -> None:
    alone = {name: _loads({name: value}, set()) for name, value in changes.items()}
    together = _said(changes, left_out)
    for name in left_out:
        assert f"{name} is missing" in together or (name.startswith("strategies.") and name.split(".")[2] in OPTIONAL)
    for name, loads in alone.items():
        assert loads or name in together or name in left_out


@settings(max_examples=80)
@given(st.integers(0, len(SHIPPED)), st.integers(0, 20), st.binary(max_size=8) | st.text(max_size=8).map(str.encode))
def test_a_file_with_a_part_overwritten_loads_or_has_a_clear_error(
    tmp_path_factory: pytest.TempPathFactory, start: int, length: int, part: bytes
) -> None:
    raw = SHIPPED.encode()
    path = tmp_path_factory.getbasetemp() / "params.yaml"
    path.write_bytes(raw[:start] + part + raw[start + length :])
    with suppress(ConfigError):  # any other error fails
        load_params(path)


def _said(changes: dict[str, Any], left_out: set[str]) -> str:
    """The error about the shipped parameters with some changed and some left out; empty if they load."""
    content = json.loads(CONTENT)

    def place(name: str) -> tuple[dict[str, Any], str]:
        *sections, key = name.split(".")
        return functools.reduce(lambda section, inner: section[inner], sections, content), key

    for name, value in changes.items():
        section, key = place(name)
        section[key] = value
    for name in left_out:
        section, key = place(name)
        section.pop(key, None)
    try:
        parse_params(content)
    except ConfigError as error:
        return str(error)
    return ""


def _loads(changes: dict[str, Any], left_out: set[str]) -> bool:
    return not _said(changes, left_out)
