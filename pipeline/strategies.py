"""What each strategy does: the weights it starts from, and the phases it trains through.

Strategies are known by name. `pretrain` is none of its own: it is the first stage of `two_stage`, and where
`tandem.start` says so the start of `tandem`.
"""

from pathlib import Path

from pipeline.backend import keras, tf
from pipeline.config import Model, Params, Start
from pipeline.network import Network, Sizes, load_network
from pipeline.prepared import Prepared
from pipeline.training import Plan, Task

PRETRAIN = "pretrain"
STRATEGIES = ("supervised", "two_stage", "tandem")
MODELS = Path("models")


def run_folder(strategy: str, seed: int, models: Path = MODELS) -> Path:
    """Where a run is kept."""
    return models / strategy / str(seed)


def needs_pretraining(strategy: str, params: Params) -> bool:
    """Whether a strategy starts from the autoencoder of `pretrain`."""
    return strategy == "two_stage" or (strategy == "tandem" and params.tandem.start is Start.PRETRAINED)


def sections(strategy: str, params: Params) -> list[str]:
    """The sections of params.yaml that a strategy has to itself."""
    return [PRETRAIN, strategy] if needs_pretraining(strategy, params) else [strategy]


def phases(strategy: str, params: Params) -> list[Plan]:
    """What is trained, one phase after the other, each from the best weights of the one before."""
    match strategy:
        case "pretrain":
            plans = [Plan([Task.AUTOENCODE], Task.AUTOENCODE, params.pretrain.updates)]
        case "supervised":
            plans = [Plan([Task.PAIRED], Task.PAIRED, params.supervised.updates)]
        case "two_stage":
            objective = Task(params.two_stage.objective)
            plans = [
                Plan([objective], objective, params.two_stage.updates),
                Plan([Task.PAIRED], Task.PAIRED, params.two_stage.finetune),
            ]
        case "tandem":
            schedule = [Task(task) for task in params.tandem.schedule]
            plans = [
                Plan(schedule, Task.PAIRED, params.tandem.updates),
                Plan([Task.PAIRED], Task.PAIRED, params.tandem.finetune),
            ]
        case _:
            raise ValueError(f"there is no strategy {strategy!r}")
    return [plan for plan in plans if plan.updates]


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
