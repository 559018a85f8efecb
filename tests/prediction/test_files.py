"""Batch prediction: every row once and in order, what is finished is kept, and workers and nodes may be lost."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.config.params import Order
from pipeline.errors import UserError
from pipeline.prediction import files as batch
from pipeline.prediction import shards
from pipeline.prediction.bundle import bundle_digest, write_bundle
from pipeline.prediction.engines import Start, run_here
from pipeline.prediction.files import SCHEMA, Summary, predict_shards, write_file
from pipeline.prediction.predictor import PredictionOptions, Predictor
from pipeline.prediction.shards import Slice, find_shards
from pipeline.tracking.models import model_bundle
from tests.conftest import PATIENCE, PROJECT, Call
from tests.support.clusters import two_nodes
from tests.support.small_project import MAX_SYMBOLS, RUNS, make_project, save_small_model

SYMBOLS = ("F", "AO", "R", "K")
SOURCES = [" ".join(SYMBOLS[(row // 4**place) % 4] for place in range(1 + row % 5)) for row in range(60)]

Predict = Callable[..., Summary]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    make_project(folder)
    return folder


class StoppingEngine:
    """This process, in which a job can be stopped after some results."""

    def __init__(self) -> None:
        self.stop_after: int | None = None
        self.predicted: list[tuple[str, int]] = []  # slices: names of shards, and where they start

    def __call__(self, start: Start, tasks: Iterable[Slice]) -> Iterator[Slice]:
        for piece in run_here(start, tasks):
            self.predicted.append((piece.shard.name, piece.start))
            yield piece
            if len(self.predicted) == self.stop_after:
                raise KeyboardInterrupt


@pytest.fixture(scope="module")
def predictors() -> dict[object, Predictor]:
    """Predictors are kept from test to test: compiling one takes a second."""
    return {}


@pytest.fixture
def engine(predictors: dict[object, Predictor], monkeypatch: pytest.MonkeyPatch) -> StoppingEngine:
    load = Predictor.load

    def load_once(folder: Path, order: Order) -> Predictor:
        key = order, bundle_digest(folder, order)
        if key not in predictors:
            predictors[key] = load(folder, order)
        return predictors[key]

    monkeypatch.setattr(Predictor, "load", load_once)
    return StoppingEngine()


@pytest.fixture
def predict(project: Path, tmp_path: Path, engine: StoppingEngine, monkeypatch: pytest.MonkeyPatch) -> Predict:
    """Predict for what a pattern below `tmp_path` names, in this process, into the folder `out` there."""
    monkeypatch.chdir(project)

    def run(
        pattern: str,
        order: Order = Order.BEAM,
        n_best: int = 1,
        beam_width: int = 2,
        column: str | None = None,
        **shown: Any,
    ) -> Summary:
        bundle = tmp_path / "bundle"
        shutil.rmtree(bundle, ignore_errors=True)
        write_bundle(bundle, RUNS[-1])
        options = PredictionOptions(order, 1 if order is Order.GREEDY else beam_width, n_best, **shown)
        matching = find_shards(f"{tmp_path}/{pattern}")
        return predict_shards(matching, tmp_path / "out", bundle, options, engine, column)

    return run


def write(path: Path, sources: list[str] = SOURCES) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{source}\n" for source in sources), encoding="utf-8")
    return path


def table(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return rows


def files(folder: Path) -> dict[str, int]:
    """All files below a folder, with when they were written."""
    found = (path for path in folder.rglob("*.parquet") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.stat().st_mtime_ns for path in found}


def test_every_source_gets_its_prediction_in_order(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    write(tmp_path / "a.txt")
    options = PredictionOptions(Order.BEAM, 2)
    write_bundle(tmp_path / "bundle", RUNS[-1])
    given = (find_shards(f"{tmp_path}/a.txt"), tmp_path / "out", tmp_path / "bundle", options)
    assert predict_shards(*given, run_here) == Summary(1, 0, 60, 0)
    found = table(tmp_path / "out" / "a.parquet")
    assert [row["source"] for row in found] == SOURCES
    expected = [row[0] for row in Predictor.load(tmp_path / "bundle").predict(SOURCES, options)]
    assert [row["prediction"] for row in found] == [one.text for one in expected]
    assert [row["log_probability"] for row in found] == pytest.approx([one.log_probability for one in expected])
    assert [row["confidence"] for row in found] == pytest.approx([one.confidence for one in expected])
    assert {(row["rank"], row["error"]) for row in found} == {(1, None)}


def test_n_best_gives_several_ranked_rows(predict: Predict, tmp_path: Path) -> None:
    write(tmp_path / "a.txt", ["F AO", "K"])
    predict("a.txt", n_best=2)
    found = table(tmp_path / "out" / "a.parquet")
    assert [(row["source"], row["rank"]) for row in found] == [("F AO", 1), ("F AO", 2), ("K", 1), ("K", 2)]
    assert found[0]["log_probability"] >= found[1]["log_probability"]


@pytest.mark.parametrize("order", list(Order))
def test_on_request_each_row_has_its_alignment(predict: Predict, tmp_path: Path, order: Order) -> None:
    write(tmp_path / "a.txt", ["F AO", "F\tK", "K"])
    predict("a.txt", order)
    assert "alignment" not in pq.read_schema(tmp_path / "out" / "a.parquet").names
    with pytest.raises(UserError, match="was made with alignment False, not True"):
        predict("a.txt", order, alignment=True)
    shutil.rmtree(tmp_path / "out")
    predict("a.txt", order, alignment=True)
    found = table(tmp_path / "out" / "a.parquet")
    assert [row["alignment"] is None for row in found] == [False, True, False]
    for row in (found[0], found[2]):
        assert len(row["alignment"]) == len(row["prediction"])
        places = [place for piece in row["alignment"] for place in piece]
        assert places == list(range(len(row["source"].split()) if row["prediction"] else 0))


@pytest.mark.parametrize("copy", [False, True])
def test_unsure_predictions_are_left_and_counted(predict: Predict, tmp_path: Path, copy: bool) -> None:
    write(tmp_path / "a.txt", ["F ZH", "F AO", "F\tK", "K  AO"])
    predict("a.txt", Order.RERANK, n_best=2)
    before = table(tmp_path / "out" / "a.parquet")
    shutil.rmtree(tmp_path / "out")
    shown: dict[str, Any] = {"at_least": 0.5, "copy": copy, "alignment": True}
    assert predict("a.txt", Order.RERANK, n_best=2, **shown) == Summary(1, 0, 4, 1, unsure=1)
    assert predict("a.txt", Order.RERANK, n_best=2, **shown) == Summary(1, 1, 4, 1, unsure=1)
    found = table(tmp_path / "out" / "a.parquet")
    assert [row["confidence"] for row in found] == [row["confidence"] for row in before]
    assert [row["prediction"] for row in found[1:]] == [row["prediction"] for row in before[1:]]
    assert found[0]["prediction"] == ("F ZH" if copy else "") != before[0]["prediction"]
    assert len(found[0]["alignment"]) == len(found[0]["prediction"])


def test_the_reranker_chooses_where_the_last_repro_did(predict: Predict, tmp_path: Path) -> None:
    write(tmp_path / "a.txt", ["F AO"])
    predict("a.txt", order=Order.RERANK)
    assert table(tmp_path / "out" / "a.parquet")[0]["prediction"] == "for"  # the pairs say so, the network does not


def test_what_cannot_be_used_costs_its_own_row_alone(predict: Predict, tmp_path: Path) -> None:
    sources = ["F AO", None, " ", "F\tK", "F " * MAX_SYMBOLS + "F", "K\0", "K"]
    pq.write_table(pa.table({"source": pa.array(sources, pa.string())}), tmp_path / "a.parquet")
    assert predict("a.parquet") == Summary(1, 0, 7, 5)
    found = table(tmp_path / "out" / "a.parquet")
    assert [row["error"] for row in found] == [
        None,
        "is null",
        "is empty",
        "has a tab, line break or NUL in it",
        f"has {MAX_SYMBOLS + 1} symbols, at most {MAX_SYMBOLS} are possible",
        "has a tab, line break or NUL in it",
        None,
    ]
    assert [row["source"] for row in found] == sources
    assert [row["prediction"] is None for row in found] == [row["error"] is not None for row in found]
    assert {row["rank"] for row in found} == {1}


@pytest.mark.parametrize("size", [1, 40, 100, 10_000])
def test_however_a_shard_is_cut_its_file_is_the_same(
    size: int, predict: Predict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "a.txt", SOURCES[:20])
    predict("a.txt", order=Order.GREEDY)
    whole = pq.read_table(tmp_path / "out" / "a.parquet")
    monkeypatch.setattr(shards, "SLICE_BYTES", size)
    shutil.rmtree(tmp_path / "out")
    assert predict("a.txt", order=Order.GREEDY) == Summary(1, 0, 20, 0)
    cut = pq.read_table(tmp_path / "out" / "a.parquet")
    assert cut.drop(["log_probability", "confidence"]) == whole.drop(["log_probability", "confidence"])
    for name in ("log_probability", "confidence"):  # batches differ, and with them rounding
        assert cut[name].to_pylist() == pytest.approx(whole[name].to_pylist(), abs=1e-5)
    assert not (tmp_path / "out" / batch.WORKSPACE).exists()


def test_finished_files_are_kept_and_a_changed_shard_is_predicted_again(predict: Predict, tmp_path: Path) -> None:
    write(tmp_path / "in" / "a.txt")
    write(tmp_path / "in" / "b" / "c.txt", ["F AO"])
    assert predict("in/**/*.txt") == Summary(2, 0, 61, 0)
    before = files(tmp_path / "out")
    assert predict("in/**/*.txt") == Summary(2, 2, 61, 0)
    assert files(tmp_path / "out") == before
    write(tmp_path / "in" / "b" / "c.txt", ["K", "F"])
    assert predict("in/**/*.txt") == Summary(2, 1, 62, 0)
    after = files(tmp_path / "out")
    assert {name for name in before if before[name] != after[name]} == {"b/c.parquet"}


def test_finished_slices_are_kept(
    predict: Predict, engine: StoppingEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "SLICE_BYTES", 100)
    write(tmp_path / "a.txt")
    write(tmp_path / "b.txt", ["F"])
    engine.stop_after = 2
    with pytest.raises(KeyboardInterrupt):
        predict("*.txt")
    kept = files(tmp_path / "out" / batch.WORKSPACE)
    assert sorted(kept) == ["a.parquet/000000000000000.parquet", "a.parquet/000000000000100.parquet"]

    engine.predicted, engine.stop_after = [], None
    summary = predict("*.txt")
    assert (summary.sources, summary.unusable) == (61, 0)
    assert engine.predicted[0] == ("a", 200)
    assert engine.predicted[-1] == ("b", 0)
    assert [row["source"] for row in table(tmp_path / "out" / "a.parquet")] == SOURCES


def test_a_shard_whose_slices_are_all_finished_is_joined(
    predict: Predict, engine: StoppingEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "SLICE_BYTES", 10)
    write(tmp_path / "a.txt", SOURCES[:4])
    with monkeypatch.context() as killed:
        killed.setattr(batch.Job, "join", lambda *_: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            predict("a.txt")
    engine.predicted = []
    assert predict("a.txt") == Summary(1, 0, 4, 0)
    assert not engine.predicted
    assert [row["source"] for row in table(tmp_path / "out" / "a.parquet")] == SOURCES[:4]


def test_other_settings_and_other_files_are_refused(predict: Predict, tmp_path: Path) -> None:
    write(tmp_path / "a.txt", ["F"])
    predict("a.txt")
    with pytest.raises(
        UserError, match=r"a.parquet was made with beam_width 2, not 3: give another --output, or delete"
    ):
        predict("a.txt", beam_width=3)
    with pytest.raises(UserError, match=r"a.parquet was made with order beam, not greedy, beam_width 2, not 1"):
        predict("a.txt", order=Order.GREEDY)
    (tmp_path / "out" / "a.parquet").write_bytes(b"mine")
    with pytest.raises(UserError, match=r"a.parquet exists and is no file of predictions"):
        predict("a.txt")
    assert (tmp_path / "out" / "a.parquet").read_bytes() == b"mine"


HOSTILE_NAMES = [
    "$(touch a)",
    "`touch b`; touch c",
    "-rf",
    "d\\..\\e",
    "<img src=x onerror=alert(1)>",
    "f\ng",
    "\x1b[2J",
]


def test_whatever_shards_are_called_their_predictions_lie_in_the_output(predict: Predict, tmp_path: Path) -> None:
    for name in HOSTILE_NAMES:
        write(tmp_path / "in" / f"{name}.txt", ["F"])
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    assert predict("in/*.txt").shards == len(HOSTILE_NAMES)
    made = {path for path in tmp_path.rglob("*") if path.is_file()} - before
    written = {path for path in made if not path.is_relative_to(tmp_path / "bundle")}
    assert written == {tmp_path / "out" / f"{name}.parquet" for name in HOSTILE_NAMES} | {tmp_path / "out" / ".lock"}
    assert predict("in/*.txt").finished_before == len(HOSTILE_NAMES)


def test_another_model_is_refused(predict: Predict, project: Path, tmp_path: Path) -> None:
    write(tmp_path / "a.txt", ["F"])
    predict("a.txt")
    write_bundle(tmp_path / "other", RUNS[0])
    with pytest.raises(UserError, match=r"a.parquet was made with another model: give another --output"):
        predict_shards(
            find_shards(f"{tmp_path}/a.txt"),
            tmp_path / "out",
            tmp_path / "other",
            PredictionOptions(Order.BEAM, 2),
            run_here,
        )


def test_nothing_is_predicted_before_all_shards_were_looked_at(predict: Predict, tmp_path: Path) -> None:
    write(tmp_path / "a.txt", ["F"])
    pq.write_table(pa.table({"word": ["F"]}), tmp_path / "b.parquet")
    with pytest.raises(UserError, match=r"b.parquet has no column 'source'"):
        predict("[ab].*")
    assert not files(tmp_path / "out")


def test_one_process_at_a_time_writes_to_a_folder(predict: Predict, tmp_path: Path) -> None:
    from filelock import FileLock

    write(tmp_path / "a.txt", ["F"])
    (tmp_path / "out").mkdir()
    with FileLock(tmp_path / "out" / batch.LOCK), pytest.raises(UserError, match="another process is predicting into"):
        predict("a.txt")


def test_a_file_that_was_not_finished_is_not_there(tmp_path: Path) -> None:
    def batches() -> Iterator[pa.RecordBatch]:
        yield pa.RecordBatch.from_pylist([{"source": "F", "rank": 1}], SCHEMA)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_file(tmp_path / "a.parquet", {}, batches(), tmp_path / "work")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_what_killed_processes_left_is_removed(predict: Predict, tmp_path: Path) -> None:
    write(tmp_path / "in" / "a.txt", ["F"])
    predict("in/*.txt")
    (tmp_path / "out" / batch.WORKSPACE).mkdir()
    (tmp_path / "out" / batch.WORKSPACE / "left.unfinished").touch()
    assert predict("in/*.txt").finished_before == 1
    assert not (tmp_path / "out" / batch.WORKSPACE).exists()


def test_an_order_decides_which_files_of_a_bundle_decide_predictions(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    write_bundle(tmp_path / "logged", RUNS[-1])
    write_bundle(tmp_path / "greedy", RUNS[-1], Order.GREEDY)
    logged, greedy = (bundle_digest(tmp_path / name, Order.GREEDY) for name in ("logged", "greedy"))
    assert logged == greedy  # so that a file says the same of a run and its logged model
    assert bundle_digest(tmp_path / "logged", Order.RERANK) != logged


def tandem(folder: Path, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "pipeline.cli", "predict", *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=pipe, stderr=pipe, text=True)


def finished(job: subprocess.Popen[str]) -> str:
    output, error = job.communicate(timeout=PATIENCE)
    assert job.returncode == 0, error
    assert "Traceback" not in error
    return output


@pytest.mark.slow
def test_a_cluster_that_loses_a_worker_and_a_node_predicts_every_row_once_as_one_process_does(
    project: Path, tmp_path: Path
) -> None:
    many = [f"{source} {other}" for source in SOURCES for other in SOURCES] * 60
    for name in ("a.txt", "b.txt"):
        write(tmp_path / "in" / name, many)
    pq.write_table(pa.table({"source": many[:1000]}), tmp_path / "in" / "c.parquet")
    asked = ("--input", f"{tmp_path}/in/*", "--order", "greedy")
    unusable = sum(len(source.split()) > MAX_SYMBOLS for source in [*many, *many, *many[:1000]])
    summary = f"3 shards are predicted: {2 * len(many) + 1000:,} sources, of which {unusable:,} could not be used"
    summary += " (column error says why)\n"
    assert finished(tandem(project, *asked, "--output", tmp_path / "local")) == summary
    out = tmp_path / "ray"
    with two_nodes() as cluster:
        job = tandem(project, *asked, "--output", out, "--engine", "ray", "--address", cluster.address)
        deadline = time.monotonic() + PATIENCE
        while not files(out) or not (workers := cluster.workers(0)):
            assert job.poll() is None, job.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        workers[0].kill()
        time.sleep(0.5)
        assert job.poll() is None
        cluster.kill(0)
        assert finished(job) == summary
        before = files(out)
        assert sorted(before) == ["a.parquet", "b.parquet", "c.parquet"]
        again = tandem(project, *asked, "--output", out, "--engine", "ray", "--address", cluster.address)
        assert finished(again) == summary.replace("predicted:", "predicted, 3 of them before:")
        assert files(out) == before
    for name, sources in (("a", many), ("b", many), ("c", many[:1000])):
        mine, theirs = (pq.read_table(tmp_path / folder / f"{name}.parquet") for folder in ("local", "ray"))
        assert mine["source"].to_pylist() == sources
        assert mine.drop(["log_probability", "confidence"]) == theirs.drop(["log_probability", "confidence"])
    assert not (out / batch.WORKSPACE).exists()


@pytest.mark.slow
def test_ray_on_this_machine_predicts_with_a_logged_model_as_one_process_does(project: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="needs Ray: python -m pip install '.[cluster]'")
    model = save_small_model(tmp_path)
    write(tmp_path / "a.txt", [*SOURCES, "K K K K K K"])
    asked = ("--model", model, "--input", tmp_path / "a.txt", "--n-best", "2")
    summary = "1 shards are predicted: 61 sources, of which 1 could not be used (column error says why)\n"
    assert finished(tandem(project, *asked, "--output", tmp_path / "ray", "--engine", "ray")) == summary
    found = find_shards(str(tmp_path / "a.txt"))
    with model_bundle(str(model)) as bundle:
        predict_shards(found, tmp_path / "local", bundle, PredictionOptions(Order.RERANK, 2, 2), run_here)
    assert pq.read_table(tmp_path / "ray" / "a.parquet") == pq.read_table(tmp_path / "local" / "a.parquet")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--output", "out"], "--output needs --input with the name of a file, or a pattern"),
        (["--output", "out", "--input", "-"], "--output needs --input with the name of a file, or a pattern"),
        (["--output", "out", "--input", "x.txt"], "--input x.txt matches no file"),
        (["--output", "out", "--input", "x.txt", "--address", "y"], "give --engine ray as well"),
        (["--input", "x.txt", "--engine", "ray"], "are for prediction into files: give --output as well"),
    ],
)
def test_a_mistake_at_the_command_line_is_a_sentence(
    arguments: list[str], message: str, project: Path, monkeypatch: pytest.MonkeyPatch, call: Call
) -> None:
    monkeypatch.chdir(project)
    code, _, error = call("predict", *arguments)
    assert code == 2
    assert message in error
