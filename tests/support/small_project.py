"""A project as `dvc repro` leaves it, made in a second: untrained networks, data, rerankers that trust the pairs."""

from dataclasses import replace
from pathlib import Path

import pytest
from mlflow.models import Model

from pipeline.config.options import Symbols
from pipeline.config.params import Decoding, Order
from pipeline.data.alphabet import save_alphabets
from pipeline.data.corpus import Corpus
from pipeline.data.examples import Example
from pipeline.data.prepared import PREPARED, Prepared, write_prepared
from pipeline.model.backend import keras
from pipeline.model.network import Network, Sizes, save_network
from pipeline.prediction.bundle import write_bundle
from pipeline.reranking.features import FEATURES, TO_PREDICT, FeatureExtractor
from pipeline.reranking.reranker import Reranker
from pipeline.runs.folders import RunMetadata, content_digest, run_folder
from pipeline.runs.groups import RERANKERS, RerankMetadata, RunGroup
from pipeline.tracking.flavor import save_model
from tests.conftest import PROJECT, small_model

PAIRS = (("F AO", "for"), ("K AO", "kor"), ("F", "f"), ("F AO R K", "fork"))
SOURCES = ["F AO", "K", "K AO F", "F AO"]
ACCURACIES = {("supervised", 0): 0.25, ("tandem", 0): 0.5, ("tandem", 1): 0.375}  # on dev
DEV_OF_100 = [str(item) for item in range(100)], [{"right"}] * 100
MAX_SYMBOLS = 5  # of a source
RUNS = tuple(RunGroup(strategy, (seed,)) for strategy, seed in ACCURACIES)
TRUSTS_PAIRS = Reranker(weights=tuple(100.0 * (name == "pair_share") for name in FEATURES))


def make_project(folder: Path, order: Order = Order.RERANK) -> None:
    """Write params.yaml, data/prepared and models/."""
    train = [Example(source, target) for source, target in PAIRS]
    corpus = Corpus(train, [Example("R AO", "dev")], [Example("R", "test")], ["fork", "for", "ko"], 0, None, "made up")
    write_prepared(folder / PREPARED, corpus, Symbols.SPACES, Symbols.CHARACTERS)
    prepared = Prepared.open(folder / PREPARED)
    FeatureExtractor.learn(prepared, held_out=False).save(folder / TO_PREDICT)
    decoding = Decoding(order=order, beam_width=2, neighbours=2, ensemble=False, seed=0)
    networks: dict[str, dict[int, str]] = {}
    for number, ((strategy, seed), accuracy) in enumerate(ACCURACIES.items()):
        keras.utils.set_random_seed(number)
        network = Network(small_model(), Sizes(len(prepared.source_alphabet), len(prepared.target_alphabet), 6))
        run = folder / run_folder(strategy, seed)
        save_network(network, run)
        save_alphabets(run, prepared.source_alphabet, prepared.target_alphabet)
        (run / "history.csv").write_text(f"step,dev_word_accuracy\n10,{accuracy}\n", encoding="utf-8")
        content = content_digest(run)
        RunMetadata(strategy, seed, content, prepared.digest, 1, 1, 1, 1, 1, accuracy, 0.5).save(run)
        networks.setdefault(strategy, {})[seed] = content
        (folder / RERANKERS / strategy).mkdir(parents=True, exist_ok=True)
        right = [item < 100 * (accuracy + 0.25) for item in range(100)]  # as if dev had 100 items
        reranker = replace(TRUSTS_PAIRS, accuracy=accuracy + 0.25).measured(right, *DEV_OF_100)
        reranker.save(folder / RunGroup(strategy, (seed,)).reranker)
        RerankMetadata(prepared.digest, networks[strategy], decoding).save(folder / RERANKERS / strategy)
    TRUSTS_PAIRS.save(folder / RunGroup("tandem", (0, 1)).reranker)
    shipped = (PROJECT / "params.yaml").read_text(encoding="utf-8")
    params = shipped.replace("max_symbols: 60", f"max_symbols: {MAX_SYMBOLS}")
    (folder / "params.yaml").write_text(params, encoding="utf-8")


def save_small_model(root: Path) -> Path:
    """A model of such a project, which is made in `root` as well, saved for MLflow; its folder."""
    make_project(root / "a project")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root / "a project")
        write_bundle(root / "bundle", RUNS[-1])
        save_model(root / "model", root / "bundle", "F AO", Model())
    return root / "model"
