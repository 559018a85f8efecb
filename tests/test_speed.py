"""The speed benchmark: that its competitors do the same work, and that it counts and shows what it should."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter

from benchmarks import commands, keras_rival, speed, workload
from benchmarks.throughput import words
from benchmarks.timing import Round
from benchmarks.workload import (
    TASKS,
    Arrays,
    arrays_of,
    batches_of,
    operations_of,
    sources_to_decode,
    training_operations,
)
from pipeline.config.options import Symbols
from pipeline.config.params import Params, changed, load_params
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
from tests.conftest import changed_params, small_model
from tests.support.clones import copy_files, leave_out

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
    found = workload.our_decoder(network, beam)(sources_to_decode(prepared)).ids
    return [[prepared.target_alphabet.decode(ids) for ids in row] for row in found]


def test_pytorch_has_the_same_network(params: Params, prepared: Prepared, network: Network, arrays: Arrays) -> None:
    torch = pytest.importorskip("torch")
    from benchmarks import torch_rival

    rival = torch_rival.TorchNetwork(params.model, len(prepared.source_alphabet), len(prepared.target_alphabet))
    rival.load(arrays)
    for task, batch in batches(params, prepared):
        logits = our_logits(network, task, batch)
        source_ids, target_ids = (torch.from_numpy(ids).long() for ids in (batch.source_ids, batch.target_ids))
        theirs = rival(rival.encode(task, source_ids), target_ids).detach().numpy()
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
    models = shared.models(symbols[0])
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
    theirs = torch_rival.decode(rival, sources_to_decode(prepared), network.sizes.longest_output, beam)
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
    shared.models(symbols[0])
    shared.load(arrays)
    loop = keras_rival.PredictLoop(shared, symbols[0])
    sources, longest = sources_to_decode(prepared), network.sizes.longest_output
    for row in (0, 15, 29):
        ids = sources.padded(np.array([row]))
        theirs = loop.beam(ids, longest, beam or 1)
        assert prepared.target_alphabet.decode(theirs) == written(network, prepared, beam)[row][0]


def test_a_round_of_our_training_is_of_the_batches_that_all_get(params: Params, prepared: Prepared) -> None:
    do_round = workload.training(params, prepared.folder, 3)
    done = do_round().done
    # The first three pairs of batches went to warm up, but for the last batch of targets.
    used = list(batches_of(prepared, params, range(5, 11)))
    assert done["symbols"] == sum(np.count_nonzero(batch.target_ids) for batch in used)
    assert done["operations"] == operations_of(params.model, len(prepared.target_alphabet), used)


def test_kernels_of_a_step_are_timed_by_kind(params: Params, prepared: Prepared) -> None:
    found = workload.kernels(params, prepared.folder, 2)()
    kinds = [found.done[kind] for kind in (*workload.KERNELS, workload.OTHER_KERNELS)]
    assert min(kinds) > 0
    assert sum(kinds) < found.seconds
    assert (found.done["batches"], found.done["kernels"] > 4 * 100) == (4, True)


@pytest.mark.slow
def test_every_competitor_trains_and_decodes_as_it_is_asked_to(
    params: Params, prepared: Prepared, tmp_path: Path
) -> None:
    pytest.importorskip("torch")
    from benchmarks import torch_rival

    expected = [np.count_nonzero(batch.target_ids) for batch in batches_of(prepared, params, range(4, 8))]
    assert torch_rival.training(params, prepared.folder, 2)().done["symbols"] == sum(expected)
    assert keras_rival.training(params, prepared.folder, 1)().done["symbols"] >= 2 * 2 * 8  # a symbol and END a string
    workload.save_trained(params, prepared.folder, 2, tmp_path)()
    for beam in (None, 2):
        strings = len(prepared.test)
        assert workload.decoding(prepared.folder, tmp_path, beam, 2)().done == {"strings": 2 * strings}
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
    assert training_operations(model, 5, S=2, T=3) == 6 * (24 + 72 + 12 + 24 + 24 + 6 + 15)


def test_operations_count_every_string_as_long_as_the_longest_of_its_batch() -> None:
    model, symbols = small_model(), 9
    padded = Batch(np.array([[5, 5, 5], [5, 0, 0]], np.int32), np.full((2, 4), 5, np.int32))
    assert operations_of(model, symbols, [padded, padded]) == 4 * training_operations(model, symbols, S=3, T=4)


def test_synthetic_words_are_distinct_letters_and_the_same_for_a_seed() -> None:
    made = b"".join(words(300_000, seed=0))
    found = made.decode().splitlines()
    assert len(set(found)) == len(found) == 300_000
    assert all(word.isascii() and word.isalpha() and word.islower() for word in found)
    assert 9 < sum(map(len, found)) / len(found) < 10
    assert b"".join(words(300_000, seed=0)) == made != b"".join(words(300_000, seed=1))


def test_preparing_is_measured() -> None:
    first, second = commands.prepare_costs(changed_params({}), [2000, 6000])
    assert (first["targets"], second["targets"]) == (2000, 6000)
    assert min(first["seconds"], first["cpu_seconds"]) > 0
    assert first["peak_bytes"] > 2**20


def test_a_command_that_fails_is_told_with_what_it_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"exit code 4:\n.*no luck"):
        commands.run([sys.executable, "-c", "print('no luck'); raise SystemExit(4)"], tmp_path)
    cost = commands.run([sys.executable, "-c", "import os; assert os.environ['USED']"], tmp_path, {"USED": "1"})
    assert cost.peak_bytes > 2**20


@pytest.mark.slow
def test_a_repro_is_timed_with_something_and_with_nothing_to_do(tmp_path: Path) -> None:
    copy_files(tmp_path)
    leave_out(tmp_path, "augmented", "two_stage", "alternating", "tandem")
    small = {"seeds": [0], "prepare.pairs": 300, "prepare.dev": 50, "prepare.test": 60, "prepare.targets": 500}
    small |= {"model.units": 16, "matcher.units": 8, "training.evaluate_every": 10, "evaluate.resamples": 200}
    small |= {f"{name}.steps": 20 for name in ("pretrain", "matcher", "strategies.supervised")}
    params = changed(load_params(tmp_path / "params.yaml"), {"training.dev_steps": 0, **small})
    costs = commands.repro_costs(tmp_path, params)
    assert 0 < costs["nothing_seconds"] < costs["total_seconds"]


def measured() -> dict[str, Any]:
    """Two rounds of everything, in figures that can be worked out by hand."""

    def rounds(*rates: float, **shares: float) -> list[Round]:
        return [Round({"symbols": rate, "strings": rate, **shares}, 1.0) for rate in rates]

    case = {"units": 128, "cores": 1}
    speeds = {
        "ours": rounds(3000.0, 5000.0, operations=6e9),
        "torch": rounds(1000.0, 2500.0),
        "keras": rounds(10.0, 10.0),
    }
    peak = [Round({"operations": 1e10}, 1.0, others=1.5), Round({"operations": 2e10}, 1.0)]
    spent = {"products": 0.01, "copies": 0.02, workload.OTHER_KERNELS: 0.03, "operations": 3e8}
    kernels = [Round({**spent, "batches": 2.0, "kernels": 2000.0}, 0.08)]
    costs = [{"targets": size, "seconds": size / 100, "cpu_seconds": 1.25, "peak_bytes": 2**29} for size in (100, 1000)]
    requests = {"request_2": [0.2, 0.2, 0.2], "request_10": [0.2, 0.1, 0.2]}
    done = {"targets": 1000, "sources": 10, "index_seconds": 2.0, "search_seconds": 0.5}
    cases: dict[str, Any] = {
        "training": [{**case, "rounds": {**speeds, "peak": peak}}],
        "kernels": [{"units": 128, "rounds": {"ours": kernels, "peak": peak}}],
        "decoding": [{**case, "beam": 5, "rounds": speeds}],
        "prepare": costs,
        "matcher": [{"rounds": {"ours": [Round(done, 2.5)]}}],
        "noise": [{"rounds": {"ours": rounds(100.0, 300.0)}}],
        "bulk": [{"rounds": {"ours": rounds(1.0, 1.0, reading_seconds=0.02)}}],
        "starts": [{"import": [4.0, 4.0, 5.0], "predict": [1.0, 2.0, 5.0], "serve": [8.0, 8.0, 8.0], **requests}],
        "repro": [{"total_seconds": 12.0, "cpu_seconds": 20.0, "nothing_seconds": 2.25}],
    }
    return {
        "machine": {"cores": 2, "processor": "a processor", "versions": {"python": "3.11"}},
        "rounds": 2,
        "cases": {"": cases, "avx2.": {"training": cases["training"]}},
        **speed.figures(cases),
        **{f"avx2.{name}": value for name, value in speed.figures({"training": cases["training"]}).items()},
    }


def test_the_report_shows_medians_and_shares() -> None:
    lines = [" ".join(line.split()) for line in speed.report(measured()).splitlines()]
    # 4,000 symbols a second; 3 and 2 times PyTorch, 300 and 500 times the loop; 30% of the peak.
    assert "| 128 units | 1 | 4,000 | 2.50 (2.00 to 3.00) | 400 (300 to 500) | 30 |" in lines
    assert "| beam 5, 128 units | 1 | 4,000 | 2.50 (2.00 to 3.00) | 400 (300 to 500) |" in lines
    assert "| 128 units | 40.00 | 5.00 | 10.00 | 15.00 | 10.00 | 10.00 | 1,000 |" in lines
    assert "| 1,000 | 10.0 | 1.2 | 0.50 |" in lines
    whole = " ".join(lines)
    assert "takes 2.0 seconds to embed 1,000 targets and 50.0 milliseconds to search them for a source" in whole
    assert "rewrites 200 strings per second and core" in whole
    assert "`dvc repro` took 12.0 seconds, and 2.2 with nothing to do" in whole
    assert "During 2 of 22 rounds other processes needed the same cores" in whole


def test_figures_have_names_that_do_not_change() -> None:
    found = speed.figures(measured()["cases"][""])
    assert found["training.128.one_core.vs_keras"] == 400
    assert found["training.128.one_core.share_of_peak"] == 0.3
    assert found["decoding.128.beam.one_core.vs_torch"] == 2.5
    assert (found["predict.cpu_seconds"], found["predict.vs_import"]) == (2.0, 0.5)
    assert (found["serve.vs_import"], found["serve.second_vs_tenth"]) == (2.0, 1.0)
    assert (found["repro.seconds"], found["repro.cpu_seconds"]) == (12.0, 20.0)


def test_the_report_shows_goals_and_says_which_figures_fall_short_of_them() -> None:
    lines = [" ".join(line.split()) for line in speed.report(measured()).splitlines()]
    assert "| training.128.one_core.vs_keras | 400.00 | at least 3.3 | met |" in lines
    assert "| avx2.training.128.one_core.vs_keras | 400.00 | at least 3.3 | met |" in lines
    assert "| predict.vs_import | 0.50 | at most 1.4 | met |" in lines
    assert "| serve.vs_import | 2.00 | at most 1.6 | falls short |" in lines
    assert "| training.bulk.reading_share | 0.02 | at most 0.03 | met |" in lines


def test_parts_are_measured_alone_and_every_round_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    small = {"prepare.pairs": 300, "prepare.dev": 50, "prepare.test": 60, "prepare.targets": 100}
    Path("params.yaml").write_bytes(TypeAdapter(Params).dump_json(changed_params(small)))
    speed.main(["--only", "noise", "--rounds", "2", "--out", "new/speed.json"])
    for cases in json.loads(Path("new/speed.json").read_text())["cases"].values():
        (noise,) = cases["noise"]
        assert [one["done"] for one in noise["rounds"]["ours"]] == [{"strings": 100}] * 2
    assert "Medians of 2 rounds" in capsys.readouterr().out
