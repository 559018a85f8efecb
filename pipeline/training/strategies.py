"""The network that each strategy starts from."""

from pathlib import Path

from pipeline.config.params import Model, Params
from pipeline.data.prepared import Prepared
from pipeline.model.backend import keras, tf
from pipeline.model.network import Network, Sizes, load_network
from pipeline.runs.folders import MODELS, PRETRAIN, needs_pretraining, run_folder


def start(strategy: str, params: Params, prepared: Prepared, seed: int, models: Path = MODELS) -> Network:
    """The network that a strategy starts from: with the weights of `seed`, the same for each, or pretrained.

    From here on, all randomness follows from `seed`.
    """
    if not needs_pretraining(strategy, params):
        return new_network(params.model, prepared, seed)
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    return load_network(run_folder(PRETRAIN, seed, models))


def new_network(model: Model, prepared: Prepared, seed: int) -> Network:
    """An untrained network; an output has room for half as much again as the longest target seen."""
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    longest_output = prepared.longest_target * 3 // 2 + 1
    return Network(model, Sizes(len(prepared.source_alphabet), len(prepared.target_alphabet), longest_output))
