"""Training the siamese matcher, and measuring how well it tells true pairs from wrong ones.

The model is `matcher`, the wrong pairs are from `negatives`.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from pipeline.config import params as config
from pipeline.data.examples import Example
from pipeline.errors import UserError
from pipeline.matcher.negatives import Hard, Negatives, accepted_by_source
from pipeline.matcher.network import Matcher, Vectors, closed
from pipeline.model.backend import keras, tf
from pipeline.training.batches import BatchStream

WARMUP = 50  # steps over which the learning rate rises from zero
CLIP_NORM = 1.0  # of the gradient, over all weights
ROWS_AT_ONCE, CELLS_AT_ONCE = 256, 2**26  # at most, in comparing some sources with a whole list of targets


class MatchingStream:
    """Endless batches of pairs with wrong targets; batch k depends on the data, the seed and k alone.

    A batch is B sources, then their B targets, then `negatives` wrong targets for each, drawn from its own (from all
    targets where it has none). Every source is compared with all targets of the batch.
    """

    def __init__(
        self, matcher: Matcher, examples: Sequence[Example], hard: Hard, batch_size: int, negatives: int, seed: int
    ) -> None:
        own = [example.target for example in examples]
        strings = list(dict.fromkeys([*own, *(word for row in hard for word in row)]))
        self._targets = matcher.alphabet.targets(strings)
        self._sources = matcher.alphabet.sources([example.source for example in examples])
        places = {string: place for place, string in enumerate(strings)}
        everything = np.arange(len(strings))
        self._own = np.array([places[target] for target in own])
        self._hard = [np.array([places[word] for word in row]) if row else everything for row in hard]
        self._negatives, self._seed = negatives, seed
        self._rows = BatchStream(self._sources, matcher.alphabet.targets(own), batch_size, seed)
        accepted = accepted_by_source(examples)
        groups = {source: group for group, source in enumerate(accepted)}
        self._group = np.array([groups[example.source] for example in examples])
        self._right = np.unique(
            [
                groups[source] * len(strings) + places[target]
                for source, some in accepted.items()
                for target in some
                if target in places
            ]
        )

    def __getitem__(self, k: int) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
        """Batch k: ids int32 [B + B + B * negatives, W], and bool [B, B + B * negatives], where a target is wrong."""
        rows = self._rows.rows(k)
        rng = np.random.default_rng((self._seed, k))
        drawn = [rng.choice(self._hard[row], self._negatives) for row in rows]
        targets = np.concatenate([self._own[rows], *drawn])
        pairs = self._group[rows][:, None] * len(self._targets) + targets
        return _stacked(closed(self._sources, rows), closed(self._targets, targets)), ~np.isin(pairs, self._right)


@dataclass(frozen=True)
class Look:
    """What stood after an evaluation, a row of history.csv.

    loss: mean since the last look. dev_score: what the evaluation gave. seconds: in training and evaluation, since its
    start. best: whether the score is the highest so far.
    """

    step: int
    loss: float
    dev_score: float
    learning_rate: float
    seconds: float
    best: bool

    def row(self) -> dict[str, float]:
        """The look under the names that history.csv uses."""
        return {name: value for name, value in vars(self).items() if name != "best"}


def train_matcher(
    matcher: Matcher, stream: MatchingStream, settings: config.Matcher, evaluate: Callable[[], float]
) -> Iterator[Look]:
    """Train `matcher` in place; at the end it holds the weights for which `evaluate` was highest.

    Stops after `settings.steps` batches, or when `settings.patience` looks in a row brought nothing better.
    """
    train_batch = _compile_step(matcher, settings)
    losses: list[float] = []
    best, best_weights, looks_without_progress = -math.inf, matcher.siamese.get_weights(), 0
    started = time.perf_counter()
    for step in range(1, settings.steps + 1):
        ids, wrong = stream[step - 1]
        rate = settings.learning_rate * min(1.0, step / WARMUP)
        rate *= (1.0 + math.cos(math.pi * (step - 1) / settings.steps)) / 2.0
        loss = float(train_batch(ids, wrong, rate))
        if not math.isfinite(loss):
            raise UserError(
                f"the matcher's loss became {loss} at step {step}: "
                f"lower matcher.learning_rate (now {settings.learning_rate})"
            )
        losses.append(loss)
        if step % settings.evaluate_every and step != settings.steps:
            continue
        reached = evaluate()
        better = reached > best
        if better:
            best, best_weights = reached, matcher.siamese.get_weights()
        looks_without_progress = 0 if better else looks_without_progress + 1
        yield Look(step, float(np.mean(losses)), reached, rate, time.perf_counter() - started, better)
        losses.clear()
        if looks_without_progress == settings.patience:
            break
    matcher.siamese.set_weights(best_weights)


def _compile_step(matcher: Matcher, settings: config.Matcher) -> Callable[..., Any]:
    variables = matcher.siamese.trainable_variables
    optimizer = keras.optimizers.Adam(settings.learning_rate)
    optimizer.build(variables)
    similarity = matcher.similarity

    ids_spec, wrong_spec = tf.TensorSpec([None, None], tf.int32), tf.TensorSpec([None, None], tf.bool)

    @tf.function(input_signature=[ids_spec, wrong_spec, tf.TensorSpec([], tf.float32)], autograph=False)
    def step(ids: tf.Tensor, wrong: tf.Tensor, rate: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            embeddings = similarity.direction(matcher.trunk(ids, training=True))
            B = tf.shape(wrong)[0]
            cosines = tf.matmul(embeddings[:B], embeddings[B:], transpose_b=True)
            loss = contrastive_loss(similarity.logits(cosines), wrong)
        gradients = tape.gradient(loss, [variable.value for variable in variables])
        gradients, _ = tf.clip_by_global_norm(gradients, CLIP_NORM)
        optimizer.learning_rate.assign(rate)
        optimizer.apply(gradients, variables)
        return loss

    return step


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
    cosines, labels = _cosines(matcher, examples, negatives.all)
    if labels.all():
        return
    fit = LogisticRegression(C=1e6, class_weight="balanced").fit(cosines[:, None], labels)
    matcher.similarity.log_scale.assign(math.log(max(float(fit.coef_[0, 0]), 1e-3)))
    matcher.similarity.shift.assign(float(fit.intercept_[0]))


def separation(matcher: Matcher, examples: Sequence[Example], negatives: Negatives) -> dict[str, float]:
    """ROC AUC of true pairs against wrong ones: `roc_auc` over all, and against each kind of which there are some."""
    kinds = {
        "roc_auc": negatives.all,
        "roc_auc_neighbours": negatives.neighbours,
        "roc_auc_candidates": negatives.candidates,
    }
    areas = {}
    for name, hard in kinds.items():
        cosines, labels = _cosines(matcher, examples, hard)
        if not labels.all():
            areas[name] = float(roc_auc_score(labels, cosines))
    return areas


def retrieval(matcher: Matcher, examples: Sequence[Example], targets: Sequence[str]) -> dict[str, float]:
    """How high the right target stands among all `targets`: mean reciprocal rank, and the share within 1 and 5."""
    ranks = right_ranks(matcher, examples, targets)
    return {
        "mean_reciprocal_rank": float(np.mean(1.0 / ranks)),
        "recall_at_1": float(np.mean(ranks <= 1)),
        "recall_at_5": float(np.mean(ranks <= 5)),
    }


def right_ranks(matcher: Matcher, examples: Sequence[Example], targets: Sequence[str]) -> NDArray[np.int64]:
    """1 + the number of wrong targets that are at least as similar as the best right one, int64 [examples]."""
    pool = list(dict.fromkeys(targets))
    places = {target: place for place, target in enumerate(pool)}
    embeddings = matcher.embed_targets(pool)
    sources = matcher.embed_sources([example.source for example in examples])
    ranks = []
    at_once = min(ROWS_AT_ONCE, max(1, CELLS_AT_ONCE // max(1, len(pool))))
    for start in range(0, len(examples), at_once):
        cosines = sources[start : start + at_once] @ embeddings.T
        for row, example in zip(cosines, examples[start : start + at_once], strict=True):
            right = [places[target] for target in example.accepted if target in places]
            if not right:
                raise ValueError(f"no accepted target of {example.source!r} is in the list")
            ranks.append(
                1 + np.count_nonzero(row >= row[right].max()) - np.count_nonzero(row[right] == row[right].max())
            )
    return np.array(ranks, dtype=np.int64)


def _cosines(matcher: Matcher, examples: Sequence[Example], hard: Hard) -> tuple[Vectors, NDArray[np.bool_]]:
    """Of every true pair, then of every wrong one; and which are true."""
    rows = np.repeat(np.arange(len(examples)), [len(row) for row in hard])
    sources = matcher.embed_sources([example.source for example in examples])
    right = matcher.embed_targets([example.target for example in examples])
    wrong = matcher.embed_targets([word for row in hard for word in row])
    cosines = np.concatenate([np.sum(sources * right, axis=1), np.sum(sources[rows] * wrong, axis=1)])
    return cosines, np.arange(len(cosines)) < len(examples)


def _stacked(above: NDArray[np.int32], below: NDArray[np.int32]) -> NDArray[np.int32]:
    """Two padded matrices as one."""
    width = max(above.shape[1], below.shape[1])
    return np.concatenate([np.pad(part, ((0, 0), (0, width - part.shape[1]))) for part in (above, below)])
