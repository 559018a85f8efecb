"""What each task of a plan trains on: its batches of prepared data, corrupted where the task says so."""

import numpy as np

from pipeline.config.params import NoiseKind, Params
from pipeline.data.alignment import same_symbols
from pipeline.data.alphabet import PADDING, SPECIALS, UNKNOWN
from pipeline.data.prepared import Prepared
from pipeline.errors import UserError
from pipeline.training.batches import BatchStream, Corruption, Ids
from pipeline.training.noise import LearnedNoise, UniformNoise
from pipeline.training.plans import Plan, Task

# Made-up pairs come in another order than the autoencoder's targets, or both would see the same ones at the same time.
SYNTHETIC_SEED = 2**31


def streams(plan: Plan, prepared: Prepared, params: Params, seed: int) -> dict[Task, BatchStream]:
    """The batches of each task; pairs come in the same order whatever the strategy."""
    unpaired, size = prepared.targets, params.training.batch_size * params.training.workers
    found: dict[Task, BatchStream] = {}
    for task in set(plan.schedule):
        if task is Task.AUTOENCODE:
            found[task] = BatchStream(unpaired, unpaired, size, seed, autoencoder_noise(prepared, params))
        elif task is Task.SYNTHETIC:
            found[task] = BatchStream(unpaired, unpaired, size, seed + SYNTHETIC_SEED, learned_noise(prepared).sample)
        else:
            found[task] = BatchStream(prepared.train_sources, prepared.train_targets, size, seed)
    return found


def learned_noise(prepared: Prepared) -> LearnedNoise:
    """What the training pairs do to their targets."""
    same = same_symbols(prepared.source_alphabet, prepared.target_alphabet)
    return LearnedNoise.learn(prepared.train_sources, prepared.train_targets, same, len(prepared.source_alphabet))


def autoencoder_noise(prepared: Prepared, params: Params) -> Corruption | None:
    """Corruption of target ids to target ids, as `noise.kind` says."""
    match params.noise.kind:
        case NoiseKind.NONE:
            return None
        case NoiseKind.UNIFORM:
            return UniformNoise(params.noise.rate, len(prepared.target_alphabet)).corrupt
        case NoiseKind.LEARNED:
            return learned_target_noise(prepared)


def learned_target_noise(prepared: Prepared) -> Corruption:
    """Learned noise written in target symbols; a source symbol that no target has becomes unknown."""
    sources_of_targets = same_symbols(prepared.source_alphabet, prepared.target_alphabet)
    targets_of_sources = np.full(len(prepared.source_alphabet), UNKNOWN, dtype=np.int32)
    targets_of_sources[PADDING] = PADDING
    shared = np.flatnonzero(sources_of_targets >= SPECIALS)
    if not len(shared):
        raise UserError(
            "noise.kind: learned needs sources and targets that share symbols, and these have none in common: "
            "set noise.kind: uniform, and use what is learned from the pairs by 'synthetic' in tandem.schedule"
        )
    targets_of_sources[sources_of_targets[shared]] = shared
    learned = learned_noise(prepared)

    def corrupt(ids: Ids, rng: np.random.Generator) -> Ids:
        return targets_of_sources[learned.sample(ids, rng)]

    return corrupt
