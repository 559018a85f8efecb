"""Pseudo-pairs: what a trained predictor, the teacher, writes for sources without a target, to train a student with.

The sources are the unpaired ones of the data (self-training) or, if there are none, made up of unpaired targets
(distillation: the student then only learns to predict as its teacher does).

Source: Scudder 1965, "Probability of error of some adaptive pattern-recognition machines"; Kim and Rush 2016,
"Sequence-level knowledge distillation".
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipeline.data.prepared import Prepared
from pipeline.errors import UserError
from pipeline.prediction.predictor import Predictor
from pipeline.training.noise import learned_noise

MADE_UP = 20_000  # sources, if the data has none


def sources_to_predict(prepared: Prepared, seed: int) -> list[str]:
    """Different sources of which the training pairs do not say the target: the unpaired ones, or made-up ones."""
    sources = prepared.sources or made_up_sources(prepared, MADE_UP, seed)
    paired = {example.source for example in prepared.train}
    return [source for source in dict.fromkeys(sources) if source not in paired]


def made_up_sources(prepared: Prepared, count: int, seed: int) -> list[str]:
    """Sources as the training pairs would write random unpaired targets."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(len(prepared.targets), size=count)
    ids = learned_noise(prepared).sample(prepared.targets.padded(rows), rng)
    return [prepared.source_alphabet.decode(row.tolist()) for row in ids]


def write_pseudo_pairs(path: Path, teacher: Predictor, sources: Sequence[str], confidence: float) -> int:
    """Write each source with the teacher's prediction, where its confidence is at least so high; gives their number.

    confidence: in [0, 1]. Raises `UserError` if the teacher is nowhere so sure.
    """
    predictions = [row[0] for row in teacher.predict(sources)]
    pairs = [
        f"{source}\t{prediction.text}\n"
        for source, prediction in zip(sources, predictions, strict=True)
        if prediction.confidence >= confidence and prediction.text
    ]
    if not pairs:
        raise UserError(f"the teacher is nowhere as sure as {confidence}: lower `confidence` of the strategy")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(pairs), encoding="utf-8", newline="\n")
    return len(pairs)
