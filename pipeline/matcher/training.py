"""Training a siamese matcher on the common loop, and measuring how well it tells true pairs from wrong ones.

The model is left to `network`, wrong targets to `negatives`.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from pipeline.config import params as config
from pipeline.data.examples import Example
from pipeline.data.prepared import Prepared
from pipeline.matcher.negatives import Hard, Negatives, accepted_by_source, all_of, edit_neighbours, wrong_candidates
from pipeline.matcher.network import Index, Matcher, Vectors, closed
from pipeline.model.backend import keras, tf
from pipeline.model.inference import TrainedModel
from pipeline.training.batches import BatchStream, Ids
from pipeline.training.loop import Score, Steps, TrainingLoop
from pipeline.training.strategies import Phase, Task

WARMUP = 49  # steps over which the learning rate rises from zero
CLIP_NORM = 1.0  # of the gradient, over all weights
RANK = "mean_reciprocal_rank"  # of the right target, the measure by which training stops
ROWS_AT_ONCE, CELLS_AT_ONCE = 256, 2**26  # at most, in comparing some sources with a whole list of targets

# Unpaired targets that are searched, at most: by an evaluation on the development data, and for the metrics.
EVALUATION_TARGETS, METRIC_TARGETS = 10_000, 200_000


class MatchingBatch(NamedTuple):
    """B sources, then their B targets, then C - B wrong targets, each a row of `ids`, int32 [B + C, W].

    wrong: bool [B, C], whether target j is wrong for source i. Every source is compared with all targets.
    """

    ids: Ids
    wrong: NDArray[np.bool_]

    @property
    def symbols(self) -> int:
        """Symbols of sources and targets, START and END included and padding not."""
        return int(np.count_nonzero(self.ids))


class MatchingStream:
    """Endless batches of pairs with wrong targets; batch k depends on the data, the seed and k alone.

    Each pair of a batch comes with `negatives` wrong targets, drawn from its own (from all targets if it has none).
    """

    def __init__(
        self, matcher: Matcher, examples: Sequence[Example], hard: Hard, batch_size: int, negatives: int, seed: int
    ) -> None:
        own = [example.target for example in examples]
        strings = list(dict.fromkeys([*own, *(word for row in hard for word in row)]))
        self._targets = matcher.alphabet.targets(strings)
        self._sources = matcher.alphabet.sources([example.source for example in examples])
        places, everything = {string: place for place, string in enumerate(strings)}, np.arange(len(strings))
        self._own = np.array([places[target] for target in own])
        self._hard = [np.array([places[word] for word in row]) if row else everything for row in hard]
        self._negatives, self._seed = negatives, seed
        self._rows = BatchStream(self._sources, matcher.alphabet.targets(own), batch_size, seed)
        accepted = accepted_by_source(examples)
        groups = {source: group for group, source in enumerate(accepted)}
        self._group = np.array([groups[example.source] for example in examples])
        right = [(groups[source], places[word]) for source, some in accepted.items() for word in some if word in places]
        self._right = np.unique(np.array(right) @ [len(strings), 1])

    def __getitem__(self, k: int) -> MatchingBatch:
        """Batch number k of the stream, k >= 0."""
        rows, rng = self._rows.rows(k), np.random.default_rng((self._seed, k))
        drawn = [rng.choice(self._hard[row], self._negatives) for row in rows]
        targets = np.concatenate([self._own[rows], *drawn])
        pairs = self._group[rows][:, None] * len(self._targets) + targets
        parts = closed(self._sources, rows), closed(self._targets, targets)
        width = max(part.shape[1] for part in parts)
        ids = np.concatenate([np.pad(part, ((0, 0), (0, width - part.shape[1]))) for part in parts])
        return MatchingBatch(ids, ~np.isin(pairs, self._right))


@dataclass(frozen=True)
class MatchingData:
    """What a matcher is trained and measured on: the examples of each split, their wrong targets, unpaired targets."""

    splits: Mapping[str, Sequence[Example]]  # train, dev and test
    negatives: Mapping[str, Negatives]  # of each split
    unpaired: Sequence[str]

    @classmethod
    def collect(cls, prepared: Prepared, predictor: TrainedModel, settings: config.Matcher, seed: int) -> Self:
        """Draw unpaired targets; find wrong ones for each example among all targets and in what `predictor` writes."""
        targets, rows = prepared.targets, np.arange(len(prepared.targets))
        if len(rows) > METRIC_TARGETS:
            rows = np.random.default_rng(seed).permutation(len(rows))[:METRIC_TARGETS]
        unpaired = [
            prepared.target_alphabet.decode(targets.ids[start:end])
            for start, end in zip(targets.offsets[rows], targets.offsets[rows + 1], strict=True)
        ]
        splits = {"train": prepared.train, "dev": prepared.dev, "test": prepared.test}
        listed, kind = [*(example.target for example in prepared.train), *unpaired], prepared.target_alphabet.kind
        negatives = {
            name: {
                "neighbours": edit_neighbours(examples, listed, settings.neighbours, kind, np.random.default_rng(seed)),
                "candidates": wrong_candidates(examples, predictor, settings.candidates),
            }
            for name, examples in splits.items()
        }
        return cls(splits, negatives, unpaired)

    def measure(self, matcher: Matcher, split: str) -> dict[str, float]:
        """`separation` and `retrieval` on a split, the latter among its targets and the unpaired ones."""
        examples = self.splits[split]
        listed = [*(example.target for example in examples), *self.unpaired]
        return {**separation(matcher, examples, self.negatives[split]), **retrieval(matcher, examples, listed)}


def new_training(
    settings: config.Matcher, prepared: Prepared, data: MatchingData, seed: int
) -> tuple[Matcher, TrainingLoop]:
    """A new matcher, and the loop that trains it until it ranks dev targets no better. All randomness is `seed`'s."""
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    matcher = Matcher(settings, prepared.source_alphabet, prepared.target_alphabet)
    train, dev, negatives = data.splits["train"], data.splits["dev"], data.negatives["train"]
    stream = MatchingStream(matcher, train, all_of(negatives), settings.batch_size, settings.negatives, seed)
    listed = [*(example.target for example in dev), *data.unpaired[:EVALUATION_TARGETS]]
    return matcher, matcher_loop(matcher, stream, settings, lambda: retrieval(matcher, dev, listed)[RANK])


class MatchingSteps(Steps):
    """The step of a matcher: it lowers the contrastive loss of a batch of a `MatchingStream`."""

    def __init__(self, matcher: Matcher, settings: config.Training) -> None:
        super().__init__(matcher.siamese, settings)

        def losses_of(ids: tf.Tensor, wrong: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            embeddings = matcher.similarity.direction(matcher.trunk(ids, training=True))
            B = tf.shape(wrong)[0]
            cosines = tf.matmul(embeddings[:B], embeddings[B:], transpose_b=True)
            loss = contrastive_loss(matcher.similarity.logits(cosines), wrong)
            return loss, loss

        self.compiled[Task.PAIRED] = self.compile(losses_of, self.model.trainable_variables, tf.bool)


def matcher_loop(
    matcher: Matcher, stream: MatchingStream, settings: config.Matcher, evaluate: Callable[[], float]
) -> TrainingLoop:
    """The loop that trains `matcher` until `evaluate`, its mean reciprocal rank on dev, rises no more."""
    shared = {name: getattr(settings, name) for name in ("batch_size", "learning_rate", "evaluate_every", "patience")}
    shared |= {"warmup": WARMUP, "decay": config.Decay.COSINE, "clip_norm": CLIP_NORM, "l2": 0.0, "dev_steps": 0}
    schedule = config.Training(device=config.Device.CPU, threads=1, workers=1, **shared)

    def score() -> Score:
        rank = evaluate()
        return Score({f"dev_{RANK}": rank}, (rank,))

    phase, steps = Phase([Task.PAIRED], Task.PAIRED, settings.steps), MatchingSteps(matcher, schedule)
    return TrainingLoop(steps, phase, {Task.PAIRED: stream}, schedule, score, section="matcher")


def contrastive_loss(logits: tf.Tensor, wrong: tf.Tensor) -> tf.Tensor:
    """Cross-entropy in nats of choosing target i for source i among all targets, plus source i for target i.

    logits: float32 [B, C], C >= B, target i of source i in column i. wrong: bool [B, C]; what is not wrong is no
    alternative. Source: van den Oord et al. 2018, "Representation learning with contrastive predictive coding",
    equation 4, in both directions.
    """
    B = tf.shape(logits)[0]
    alternatives = tf.logical_or(wrong, tf.eye(B, tf.shape(logits)[1]) > 0)
    masked = tf.where(alternatives, logits, -1e9)
    right = tf.range(B)
    targets = tf.nn.sparse_softmax_cross_entropy_with_logits(right, masked)
    sources = tf.nn.sparse_softmax_cross_entropy_with_logits(right, tf.transpose(masked[:, :B]))
    return tf.reduce_mean(targets) + tf.reduce_mean(sources)


def calibrate(matcher: Matcher, examples: Sequence[Example], negatives: Negatives) -> None:
    """Set scale and shift so that a similarity is the probability of a pair to be true, were half of such pairs true.

    Fitted by logistic regression; embeddings and the order of pairs stay as they are. Source: Platt 1999,
    "Probabilistic outputs for support vector machines".
    """
    cosines, labels = _cosines(matcher, examples, all_of(negatives))
    if labels.all():
        return
    fit = LogisticRegression(C=1e6, class_weight="balanced").fit(cosines[:, None], labels)
    matcher.similarity.log_scale.assign(math.log(max(float(fit.coef_[0, 0]), 1e-3)))
    matcher.similarity.shift.assign(float(fit.intercept_[0]))


def separation(matcher: Matcher, examples: Sequence[Example], negatives: Negatives) -> dict[str, float]:
    """ROC AUC of true pairs against wrong ones: `roc_auc` over all, and against each kind of which there are some."""
    kinds = {"roc_auc": all_of(negatives)} | {f"roc_auc_{kind}": hard for kind, hard in negatives.items()}
    pairs = {name: _cosines(matcher, examples, hard) for name, hard in kinds.items()}
    return {
        name: float(roc_auc_score(labels, cosines)) for name, (cosines, labels) in pairs.items() if not labels.all()
    }


def retrieval(matcher: Matcher, examples: Sequence[Example], targets: Sequence[str]) -> dict[str, float]:
    """How high the right target stands among all `targets`: mean reciprocal rank, and the share within 1 and 5."""
    ranks = right_ranks(matcher, examples, targets)
    recalls = {f"recall_at_{rank}": float(np.mean(ranks <= rank)) for rank in (1, 5)}
    return {RANK: float(np.mean(1.0 / ranks)), **recalls}


def right_ranks(matcher: Matcher, examples: Sequence[Example], targets: Sequence[str]) -> NDArray[np.int64]:
    """1 + the number of wrong targets at least as similar as the best right one of the list, int64 [examples]."""
    index = Index(matcher, targets)
    places = {target: place for place, target in enumerate(index.targets)}
    sources = matcher.embed_sources([example.source for example in examples])
    ranks = []
    at_once = min(ROWS_AT_ONCE, max(1, CELLS_AT_ONCE // len(places)))
    for start in range(0, len(examples), at_once):
        cosines = sources[start : start + at_once] @ index.embeddings.T
        for row, example in zip(cosines, examples[start : start + at_once], strict=True):
            right = row[[places[target] for target in example.accepted if target in places]]
            ranks.append(1 + np.count_nonzero(row >= right.max()) - np.count_nonzero(right == right.max()))
    return np.array(ranks, dtype=np.int64)


def _cosines(matcher: Matcher, examples: Sequence[Example], hard: Hard) -> tuple[Vectors, NDArray[np.bool_]]:
    """Of every true pair, then of every wrong one; and which are true."""
    rows = np.repeat(np.arange(len(examples)), [len(row) for row in hard])
    sources = matcher.embed_sources([example.source for example in examples])
    right = matcher.embed_targets([example.target for example in examples])
    wrong = matcher.embed_targets([word for row in hard for word in row])
    cosines = np.concatenate([np.sum(sources * right, axis=1), np.sum(sources[rows] * wrong, axis=1)])
    return cosines, np.arange(len(cosines)) < len(examples)
