"""Files of models that were cut off, changed or replaced: each is named, and none is taken for what it is not."""

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.data.alphabet import SOURCE_ALPHABET, TARGET_ALPHABET, Alphabet
from pipeline.errors import UserError
from pipeline.model.inference import TrainedModel
from pipeline.reranking.features import ARRAYS, FEATURES_METADATA, TO_PREDICT, FeatureExtractor
from pipeline.reranking.reranker import Reranker
from pipeline.runs.folders import RunMetadata, load_history, run_folder
from pipeline.runs.groups import RERANKERS, RerankMetadata
from tests.support.small_project import RUNS, make_project

REPLACEMENTS = (b"", b"[]", b"3", b"null", b"{}", b"\xff", b"\0", b"[" * 100_000)
VALUES: tuple[Any, ...] = (None, "x", [], {}, [[]], 1e999, 10**400)
RUN = run_folder("tandem", 0)
ALPHABETS = (SOURCE_ALPHABET, TARGET_ALPHABET)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    make_project(folder)
    return folder


@pytest.fixture(scope="module")
def trained(project: Path) -> TrainedModel:
    return TrainedModel.load(project / RUN)


def readers(project: Path, trained: TrainedModel | None = None) -> dict[Path, Callable[[], object]]:
    """What reads each file; networks go into one that is built already."""
    network = lambda: TrainedModel.load(project / RUN, instead_of=trained)  # noqa: E731
    return {
        RUN / "network.json": network,
        RUN / "network.weights.h5": network,
        **{RUN / name: network for name in ALPHABETS},
        RUN / "run.json": lambda: RunMetadata.load(project / RUN),
        RUN / "history.csv": lambda: load_history(project / RUN),
        RERANKERS / "tandem" / "metadata.json": lambda: RerankMetadata.load(project / RERANKERS / "tandem"),
        TO_PREDICT / ARRAYS: lambda: FeatureExtractor.load(project / TO_PREDICT),
        TO_PREDICT / FEATURES_METADATA: lambda: FeatureExtractor.load(project / TO_PREDICT),
        RUNS[-1].reranker: lambda: Reranker.load(project / RUNS[-1].reranker),
    }


FILES = list(readers(Path()))
WHOLE_OR_NOT_AT_ALL = [RUN / name for name in ("network.json", "network.weights.h5", *ALPHABETS)]


def damaged(content: bytes) -> Iterator[bytes]:
    """Replaced, cut off, and for JSON each value replaced or left out."""
    yield from REPLACEMENTS
    for part in (1, len(content) // 4, len(content) // 2, len(content) - 3):
        yield content[:part]
    if content.startswith(b"{"):
        for *section, key in keys(json.loads(content)):
            for value in VALUES:
                changed = json.loads(content)
                place = changed
                for name in section:
                    place = place[name]
                place[key] = value
                yield json.dumps(changed).encode()


def keys(tree: Any, before: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, value in tree.items() if isinstance(tree, dict) else ():
        yield (*before, key)
        yield from keys(value, (*before, key))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_damaged_file_loads_or_is_named(project: Path, trained: TrainedModel, file: Path) -> None:
    path, read = project / file, readers(project, trained)[file]
    whole, refused = path.read_bytes(), 0
    try:
        for content in damaged(whole):
            path.write_bytes(content)
            try:
                read()
            except UserError as error:
                refused += 1
                assert str(path.parent) in str(error)  # noqa: PT017
    finally:
        path.write_bytes(whole)
    assert refused >= (1 if file.suffix == ".csv" else len(REPLACEMENTS))  # much is a table of no rows


@pytest.mark.parametrize("file", WHOLE_OR_NOT_AT_ALL, ids=lambda file: file.name)
def test_no_changed_bit_makes_another_model(project: Path, trained: TrainedModel, file: Path) -> None:
    path, read = project / file, readers(project, trained)[file]
    whole, rng = path.read_bytes(), random.Random(0)
    predicted = trained.predict(["F AO"])
    try:
        for _ in range(60):
            changed = bytearray(whole)
            changed[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
            path.write_bytes(changed)
            try:
                loaded = read()
            except UserError:
                continue
            assert isinstance(loaded, TrainedModel)
            assert loaded.predict(["F AO"]) == predicted
    finally:
        path.write_bytes(whole)


def test_alphabets_of_another_network_are_not_taken(project: Path, tmp_path: Path) -> None:
    for file in (project / RUN).iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    alphabet = Alphabet.load(tmp_path / TARGET_ALPHABET)
    Alphabet(alphabet.kind, (*alphabet.symbols, "z")).save(tmp_path / TARGET_ALPHABET)
    with pytest.raises(UserError, match="are not those of its network"):
        TrainedModel.load(tmp_path)
