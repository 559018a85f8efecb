"""The speed benchmark: that its competitors do the same work, and that it counts and shows what it should."""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import commands, keras_rival, ours, predict_start, sampling, speed
from benchmarks.speed_report import report
from benchmarks.throughput import words
from benchmarks.workload import (
    ARRAYS,
    TASKS,
    Arrays,
    arrays_of,
    batches_of,
    load_arrays,
    operations_of,
    save_arrays,
    sources_to_decode,
    training_operations,
)
from pipeline.config.options import Symbols
from pipeline.config.params import Params
from pipeline.data.alphabet import PADDING
from pipeline.data.corpus import Corpus
from pipeline.data.examples import Example
from pipeline.data.prepared import Prepared, write_prepared
from pipeline.errors import UserError
from pipeline.model.backend import keras, tf
from pipeline.model.network import Network
from pipeline.training.batches import Batch
from pipeline.training.loop import masked_cross_entropy
from pipeline.training.strategies import Task
from pipeline.training.trainer import new_network
from tests.conftest import PROJECT, changed_params, shipped_params, small_model

SMALL = {"model.units": 16, "model.projection": 8, "model.dropout": 0.0, "training.batch_size": 8}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """Pairs and targets of very different lengths, so that batches have padding."""
    rng = np.random.default_rng(0)
    words = ["".join(rng.choice(list("abcdefgh"), size=rng.integers(1, 9))) for _ in range(160)]
    pairs = [Example(" ".join(word.upper()), word) for word in words[:100]]
    folder = tmp_path_factory.mktemp("data") / "prepared"
    corpus = Corpus(pairs[:60], pairs[60:70], pairs[70:], words[100:], 0, None, "made up")
    write_prepared(folder, corpus, Symbols.SPACES, Symbols.CHARACTERS)
    return Prepared.open(folder)


@pytest.fixture(scope="module")
def params() -> Params:
    return changed_params(SMALL)


@pytest.fixture(scope="module")
def network(params: Params, prepared: Prepared) -> Network:
    """Every weight is random, biases too, and so large that what is written depends on what is read."""
    network = new_network(params.model, prepared, seed=0)
    rng = np.random.default_rng(1)
    network.set_weights([rng.normal(scale=1.0, size=weight.shape) for weight in network.get_weights()])
    return network


@pytest.fixture(scope="module")
def arrays(network: Network) -> Arrays:
    return arrays_of(network)


def batches(params: Params, prepared: Prepared) -> Iterator[tuple[Task, Batch]]:
    found = list(batches_of(prepared, params, range(8)))
    assert any((batch.source_ids == PADDING).any() for batch in found)
    return zip(TASKS * 4, found, strict=True)


def our_logits(network: Network, task: Task, batch: Batch) -> Any:
    model = network.autoencoder if task is Task.AUTOENCODE else network.predictor
    return model((batch.source_ids, batch.target_ids))


def written(network: Network, prepared: Prepared, beam: int | None) -> list[list[str]]:
    """The candidates of each source that the pipeline writes."""
    found = ours.our_decoder(network, beam)(sources_to_decode(prepared)).ids
    return [[prepared.target_alphabet.decode(ids) for ids in row] for row in found]


def test_pytorch_has_the_same_network(params: Params, prepared: Prepared, network: Network, arrays: Arrays) -> None:
    torch = pytest.importorskip("torch")
    from benchmarks import torch_rival

    rival = torch_rival.TorchNetwork(params.model, len(prepared.source_alphabet), len(prepared.target_alphabet))
    rival.load(arrays)
    for task, batch in batches(params, prepared):
        logits = our_logits(network, task, batch)
        encode = rival.encode_targets if task is Task.AUTOENCODE else rival.encode_sources
        source_ids, target_ids = (torch.from_numpy(ids).long() for ids in (batch.source_ids, batch.target_ids))
        theirs = rival(encode(source_ids), target_ids).detach().numpy()
        np.testing.assert_allclose(theirs, logits, atol=1e-5)
        loss = float(masked_cross_entropy(logits, batch.target_ids))
        assert torch_rival.loss_of(rival, task, batch).item() == pytest.approx(loss, rel=1e-5)


def test_pytorch_has_the_same_gradients_and_none_for_what_holds_states_at_padding(
    params: Params, prepared: Prepared, network: Network, arrays: Arrays
) -> None:
    pytest.importorskip("torch")
    from benchmarks import torch_rival

    rival = torch_rival.TorchNetwork(params.model, len(prepared.source_alphabet), len(prepared.target_alphabet))
    rival.load(arrays)
    for task, batch in batches(params, prepared):
        rival.zero_grad()
        torch_rival.loss_of(rival, task, batch).backward()
        with tf.GradientTape() as tape:
            loss = masked_cross_entropy(our_logits(network, task, batch), batch.target_ids)
        lent = network.decoder.trainable_variables[0].value
        theirs = rival.target_table.weight.grad.numpy()
        np.testing.assert_allclose(theirs, tf.convert_to_tensor(tape.gradient(loss, lent)), atol=1e-5)
        encoder = rival.encoder_b if task is Task.AUTOENCODE else rival.encoder_a
        for kernel in (encoder.lstm.weight_ih_l0, encoder.lstm.weight_ih_l0_reverse):
            assert not kernel.grad[:, -1].any()
            assert kernel.grad[:, :-1].any()


def test_the_keras_loop_has_the_same_network(
    params: Params, prepared: Prepared, network: Network, arrays: Arrays
) -> None:
    symbols = (len(prepared.source_alphabet), len(prepared.target_alphabet))
    shared = keras_rival.SharedLayers(params.model, symbols[1])
    models = [shared.joined(symbols[side], symbols[1], side) for side in range(2)]
    shared.load(arrays)
    for task, batch in batches(params, prepared):
        side = int(task is Task.AUTOENCODE)
        inputs = keras_rival.one_hot(batch.source_ids, symbols[side])
        previous = keras_rival.one_hot(keras_rival.before(batch.target_ids), symbols[1])
        expected = keras.ops.softmax(our_logits(network, task, batch))
        real = batch.target_ids != PADDING
        np.testing.assert_allclose(models[side]([inputs, previous])[real], expected[real], atol=1e-5)


@pytest.mark.parametrize("beam", [None, 3])
def test_pytorch_writes_the_same_strings(
    params: Params, prepared: Prepared, network: Network, arrays: Arrays, beam: int | None
) -> None:
    pytest.importorskip("torch")
    from benchmarks import torch_rival

    rival = torch_rival.TorchNetwork(params.model, len(prepared.source_alphabet), len(prepared.target_alphabet))
    rival.load(arrays)
    longest = torch_rival.longest_output(prepared)
    assert longest == network.sizes.longest_output
    theirs = torch_rival.decode(rival, sources_to_decode(prepared), longest, beam)
    expected = written(network, prepared, beam)
    assert len({candidates[0] for candidates in expected}) > 2
    assert [[prepared.target_alphabet.decode(ids) for ids in row] for row in theirs] == expected


@pytest.mark.filterwarnings("ignore:You are using a softmax over axis -1")  # attention to a string of one symbol
@pytest.mark.parametrize("beam", [None, 3])
def test_the_predict_loop_writes_the_same_strings(
    params: Params, prepared: Prepared, network: Network, arrays: Arrays, beam: int | None
) -> None:
    symbols = (len(prepared.source_alphabet), len(prepared.target_alphabet))
    shared = keras_rival.SharedLayers(params.model, symbols[1])
    for side in range(2):
        shared.joined(symbols[side], symbols[1], side)
    shared.load(arrays)
    loop = keras_rival.PredictLoop(shared, params.model.units, *symbols)
    sources, longest = sources_to_decode(prepared), network.sizes.longest_output
    for row in (0, 15, 29):
        ids = sources.padded(np.array([row]))
        theirs = loop.beam(ids, longest, beam) if beam else loop.greedy(ids, longest)
        assert prepared.target_alphabet.decode(theirs) == written(network, prepared, beam)[row][0]


def test_weights_survive_the_file_that_competitors_read(arrays: Arrays, tmp_path: Path) -> None:
    save_arrays(arrays, tmp_path / ARRAYS)
    read = load_arrays(tmp_path / ARRAYS)
    assert read.keys() == arrays.keys()
    for part, some in arrays.items():
        for array, same in zip(some, read[part], strict=True):
            np.testing.assert_array_equal(array, same)


def test_a_round_of_our_training_is_of_the_batches_that_all_get(params: Params, prepared: Prepared) -> None:
    do_round = ours.training(params, prepared.folder, 3)
    done = do_round().done
    # The first three pairs of batches went to warm up, but for the last batch of targets.
    used = list(batches_of(prepared, params, range(5, 11)))
    assert done["symbols"] == sum(np.count_nonzero(batch.target_ids) for batch in used)
    assert done["operations"] == operations_of(params.model, len(prepared.target_alphabet), used)["operations"]


@pytest.mark.slow
def test_every_competitor_trains_and_decodes_as_it_is_asked_to(
    params: Params, prepared: Prepared, tmp_path: Path
) -> None:
    pytest.importorskip("torch")
    from benchmarks import torch_rival

    expected = [np.count_nonzero(batch.target_ids) for batch in batches_of(prepared, params, range(4, 8))]
    assert torch_rival.training(params, prepared.folder, 2)().done["symbols"] == sum(expected)
    assert keras_rival.training(params, prepared.folder, 1)().done["symbols"] >= 2 * 2 * 8  # a symbol and END a string
    ours.save_trained(params, prepared.folder, 2, tmp_path)()
    for beam in (None, 2):
        strings = len(prepared.test)
        assert ours.decoding(prepared.folder, tmp_path, beam, 2)().done == {"strings": 2 * strings}
        assert torch_rival.decoding(params, prepared.folder, tmp_path, beam, 2)().done == {"strings": 2 * strings}
        assert keras_rival.decoding(params, prepared.folder, tmp_path, beam, 1)().done == {"strings": 1}


def test_a_few_sources_stand_for_all_by_their_length(prepared: Prepared) -> None:
    everything, some = sources_to_decode(prepared), sources_to_decode(prepared, 3)
    lengths = everything.lengths(np.arange(len(everything)))
    assert some.lengths(np.arange(3)).tolist() == [lengths[5], lengths[15], lengths[25]]


def test_operations_are_counted_as_by_hand() -> None:
    # One string of two source and three target symbols, P = 1, H = 2 (one unit a direction), V = 5. Multiplications:
    # encoder 2 directions x 4 gates x (2 x 1 input + 1 x 1 recurrent) = 24; decoder 4 gates x 2 units x 3 steps x
    # (1 + 2) = 72; query 3 x 2 x 2 = 12; scores and means 2 x 3 x 2 x 2 = 24; attended 3 x 4 x 2 = 24; dense
    # 3 x 2 x 1 = 6; output 3 x 1 x 5 = 15. Twice for the additions, and three times for forward and backward.
    model = small_model(units=2, projection=1)
    assert training_operations(model, 5, np.array([2]), np.array([3])) == 6 * (24 + 72 + 12 + 24 + 24 + 6 + 15)


def test_real_symbols_need_fewer_operations_than_padded_ones_and_as_many_where_there_is_no_padding() -> None:
    model, symbols = small_model(), 9
    full = Batch(np.full((2, 3), 5, np.int32), np.full((2, 4), 5, np.int32))
    padded = Batch(np.array([[5, 5, 5], [5, 0, 0]], np.int32), full.target_ids)
    without, with_padding = (operations_of(model, symbols, [batch]) for batch in (full, padded))
    assert without["needed"] == without["operations"] == with_padding["operations"] > with_padding["needed"]
    twice = operations_of(model, symbols, [full, full])
    assert twice == {name: 2 * count for name, count in without.items()}


def test_synthetic_words_are_distinct_letters_and_the_same_for_a_seed() -> None:
    made = b"".join(words(300_000, seed=0))
    found = made.decode().splitlines()
    assert len(set(found)) == len(found) == 300_000
    assert all(word.isascii() and word.isalpha() and word.islower() for word in found)
    assert 8 < sum(map(len, found)) / len(found) < 10
    assert b"".join(words(300_000, seed=0)) == made != b"".join(words(300_000, seed=1))


def test_preparing_is_measured_with_targets_held_out() -> None:
    first, second = commands.prepare_costs(changed_params({}), [2000, 6000])
    assert (first["targets"], first["held_out"]) == (
        2000,
        800,
    )  # all 2,000 are targets of pairs, two fifths dev and test
    assert (second["targets"], second["held_out"]) == (6000, 2000)  # there are 5,000 pairs
    assert min(first["seconds"], first["cpu_seconds"]) > 0
    assert first["peak_bytes"] > 2**20


def test_the_slope_is_one_where_seconds_are_proportional_and_two_where_they_are_squared() -> None:
    sizes = [1, 10, 100]
    assert commands.slope(sizes, [3, 30, 300]) == pytest.approx(1)
    assert commands.slope(sizes, [3, 300, 30000]) == pytest.approx(2)
    assert commands.slope([5], [1.0]) is None


def test_a_command_that_fails_is_told_with_what_it_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"exit code 4:\n.*no luck"):
        commands.run([sys.executable, "-c", "print('no luck'); raise SystemExit(4)"], tmp_path)
    cost, said = commands.run([sys.executable, "-c", "import os; print(os.getcwd())"], tmp_path, {"UNUSED": "1"})
    assert said.strip() == str(tmp_path)
    assert cost.peak_bytes > 2**20


BUSY = """
import os, time, subprocess, sys
end = time.process_time() + 0.5
while time.process_time() < end: pass
if os.fork():
    os.wait()
    subprocess.run([sys.executable, "-S", "-c", "import time; time.sleep(1)"])
else:
    end = time.process_time() + 0.5
    while time.process_time() < end: pass
    os._exit(0)
"""


def test_samples_tell_work_from_waiting_in_a_process_and_in_one_forked_from_it(tmp_path: Path) -> None:
    folder = tmp_path / "accounts"
    commands.run([sys.executable, "-c", BUSY], tmp_path, {**sampling.environment(folder), "DVC_STAGE": "busy"})
    found = [account.seconds for account in sampling.accounts(folder) if account.stage == "busy"]
    waited, forked = sorted(found, key=lambda seconds: -seconds[sampling.WAITING])
    assert waited[sampling.WAITING] > 0
    assert waited[sampling.WORK] > 0
    assert max(forked, key=lambda kind: forked[kind]) == sampling.WORK


def test_samples_tell_imports_whatever_is_imported(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text("import time\nend = time.time() + 0.5\nwhile time.time() < end: pass\n")
    folder = tmp_path / "accounts"
    environment = sampling.environment(folder)
    environment["PYTHONPATH"] += f"{os.pathsep}{tmp_path}"
    commands.run([sys.executable, "-c", "import slow"], tmp_path, environment)
    (account,) = sampling.accounts(folder)
    assert max(account.seconds, key=lambda kind: account.seconds[kind]) == sampling.IMPORTS


def test_the_python_before_the_real_one_notes_the_stage_and_passes_the_exit_code_on(tmp_path: Path) -> None:
    commands.write_python(tmp_path)
    command = [str(tmp_path / "python"), "-c", "import sys; sys.exit(int(sys.argv[1]))"]
    commands.run([*command, "0"], tmp_path, {"DVC_STAGE": "prepare"})
    with pytest.raises(UserError, match="exit code 3"):
        commands.run([*command, "3"], tmp_path, {"DVC_STAGE": "evaluate"})
    noted = [json.loads(line) for line in (tmp_path / commands.TIMES).read_text().splitlines()]
    assert [stage for stage, _ in noted] == ["prepare", "evaluate"]
    assert all(seconds > 0 for _, seconds in noted)


def test_trivial_stages_have_nothing_to_do_the_second_time(tmp_path: Path) -> None:
    commands.write_trivial_project(tmp_path / "floor", 2)
    _, first = commands.run(["dvc", "repro"], tmp_path / "floor")
    _, second = commands.run(["dvc", "repro"], tmp_path / "floor")
    assert first.count("Running stage") == 2
    assert "Running stage" not in second


@pytest.mark.slow
def test_every_stage_of_a_repro_is_accounted_for() -> None:
    small = {"seeds": [0, 1], "prepare.pairs": 300, "prepare.dev": 50, "prepare.test": 60, "prepare.targets": 500}
    small |= {"model.units": 16, "matcher.units": 8, "training.evaluate_every": 10, "evaluate.resamples": 200}
    strategies = ("supervised", "augmented", "two_stage", "alternating", "tandem")
    small |= {f"{name}.steps": 20 for name in ("pretrain", "matcher", *(f"strategies.{one}" for one in strategies))}
    found = commands.repro_costs(PROJECT, changed_params({**small, "strategies.two_stage.frozen_steps": 10}), rounds=1)
    stages = {cost["stage"]: cost for cost in found["stages"]}
    assert {"prepare", "pretrain", "supervised", "two_stage", "tandem", "evaluate"} <= stages.keys()
    assert all(0 <= cost["work"] <= cost["seconds"] for cost in stages.values())
    assert all(cost["work"] > 0 for stage, cost in stages.items() if stage != "publish")  # which is in MLflow all along
    assert sum(cost["seconds"] for cost in stages.values()) < found["total_seconds"]
    assert len(found["nothing_seconds"]) == len(found["floor_seconds"]) == 1


def measured() -> dict[str, Any]:
    """Two rounds of everything, in figures that can be worked out by hand."""

    def rounds(*rates: float, **shares: float) -> list[dict[str, Any]]:
        return [{"done": {"symbols": rate, "strings": rate, **shares}, "seconds": 1.0} for rate in rates]

    case = {"units": 128, "threads": 1, "copies": 1}
    speeds = {
        "ours": rounds(3000.0, 5000.0, operations=6e9, needed=5e9),
        "torch": rounds(1000.0, 2500.0, operations=4e9),
        "keras": rounds(10.0, 10.0),
    }
    peak = [
        {"done": {"operations": 1e10}, "seconds": 1.0, "others": 1.5},
        {"done": {"operations": 2e10}, "seconds": 1.0},
    ]
    costs = [{"targets": size, "seconds": size / 100, "cpu_seconds": 1.25, "peak_bytes": 2**29} for size in (100, 1000)]
    stage = {"stage": "tandem", "seconds": 10.0, "work": 9.0, "imports": 0.75, "mlflow": 0.25}
    done = {"targets": 1000, "sources": 10, "index_seconds": 2.0, "search_seconds": 0.5}
    return {
        "machine": {"cores": 2, "processor": "a processor", "versions": {"python": "3.11"}},
        "rounds": 2,
        "training": [{**case, "rounds": {**speeds, "peak": peak}}],
        "decoding": [{**case, "beam": 5, "rounds": speeds}],
        "prepare": costs,
        "matcher": [{"rounds": {"ours": [{"done": done, "seconds": 2.5}]}}],
        "noise": [{"rounds": {"for all at once": rounds(100.0, 300.0)}}],
        "repro": [
            {
                "stages": [stage],
                "total_seconds": 12.0,
                "dvc_seconds": 2.0,
                "nothing_seconds": [2.0, 2.5],
                "floor_seconds": [1.5, 1.0],
            }
        ],
    }


def test_the_report_shows_medians_and_shares() -> None:
    lines = [" ".join(line.split()) for line in report(measured()).splitlines()]
    # 4,000 symbols a second; 3 and 2 times PyTorch, 300 and 500 times the loop; peak 20, of which 30, 25 and 20%.
    training = "| 128 units | 1 | 4,000 | 2.50 (2.00 to 3.00) | 400 (300 to 500) | 20 | 30 | 25 | 20 |"
    assert training in lines
    assert "| beam 5, 128 units | 1 | 4,000 | 2.50 (2.00 to 3.00) | 400 (300 to 500) |" in lines
    assert "| 1,000 | 10.0 | 1.2 | 0.50 |" in lines
    assert "Seconds grow with targets to the power of 1.00." in lines
    assert "| tandem | 10.0 | 9.0 | 90 | 0.8 | 0.2 |" in lines
    whole = " ".join(lines)
    assert "(500 targets per second); searching it for 10 sources takes 0.5 seconds (50.0 milliseconds each)" in whole
    assert "on one core: 200 for all at once" in whole
    assert "it takes 2.25 seconds; 1 trivial stages take 1.25, 1.00 (0.50 to 1.50) less" in whole
    assert "During 1 of 14 rounds other processes needed the same cores" in whole


def test_a_report_can_be_printed_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "speed.json"
    path.write_text(json.dumps(measured()))
    speed.main(["--report", str(path)])
    assert capsys.readouterr().out.strip() == report(measured()).strip()


@pytest.mark.parametrize("content", [None, "{", "[]", "{}"])
def test_a_report_of_no_measurements_says_so(
    tmp_path: Path, content: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "speed.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(SystemExit, match="2"):
        speed.main(["--report", str(path)])
    assert f"error: {path}" in capsys.readouterr().err


def test_parts_are_measured_alone_and_every_round_is_written(
    prepared: Prepared, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "speed.json"
    params = ["--params", str(PROJECT / "params.yaml")]
    speed.main(["--only", "noise", "--rounds", "2", "--prepared", str(prepared.folder), "--out", str(out), *params])
    found = json.loads(out.read_text())
    (noise,) = found["noise"]
    assert {size: len(rounds) for size, rounds in noise["rounds"].items()} == {
        "in batches of 64": 2,
        "for all at once": 2,
    }
    assert all(one["done"] == {"strings": 60} for rounds in noise["rounds"].values() for one in rounds)
    assert capsys.readouterr().out.strip() == report(found).strip()


def test_an_architecture_that_the_competitors_do_not_have_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = shipped_params()
    content["model"]["cell"] = "gru"
    (tmp_path / "params.yaml").write_text(json.dumps(content))
    with pytest.raises(SystemExit, match="2"):
        speed.main(["--only", "training", "--params", str(tmp_path / "params.yaml")])
    assert "model.cell is gru" in capsys.readouterr().err


def test_the_start_of_predict_is_compared_without_the_import() -> None:
    medians = {predict_start.OURS: 5.0, predict_start.IMPORT: 4.0, predict_start.THEIRS: 8.0}
    text = predict_start.report(medians)
    assert "| tandem predict, the other version |              8.00 |               4.00 |" in text
    assert "this version takes 0.25 times the processor time of the other" in text
