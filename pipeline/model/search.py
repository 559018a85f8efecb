"""Decoding: from source ids to the most likely target ids, greedily or with a beam, compiled and batched."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline.data.alphabet import END, PADDING, SPECIALS, START
from pipeline.data.store import Rows, StringStore
from pipeline.model.backend import tf
from pipeline.model.layers import States
from pipeline.model.network import Encoded, Joined

BATCH = 256  # strings decoded at once
FORCED_BATCH = 1024  # strings scored at once

T = TypeVar("T")

# Code without conditions or loops over tensors need not be rewritten by AutoGraph, which takes as long as tracing it.
as_it_is = tf.autograph.experimental.do_not_convert

Scoring = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
Search = Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]


@dataclass(frozen=True)
class Hypotheses:
    """What a search wrote for N sources, the most likely first: K hypotheses each.

    ids: int32 [N, K, T], up to END, padded with 0. log_probabilities: float32 [N, K], natural logarithms.
    """

    ids: NDArray[np.int32]
    log_probabilities: NDArray[np.float32]


def decode(search: Search, sources: StringStore) -> Hypotheses:
    """Run a compiled search over all sources, in batches of similar length, as many at once as there are cores."""

    def run(rows: Rows) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        ids, log_probabilities = search(sources.padded(rows))
        return ids.numpy(), log_probabilities.numpy()

    batches, places = by_length(run, BATCH, sources)
    width = max(ids.shape[2] for ids, _ in batches)
    padded = [np.pad(ids, ((0, 0), (0, 0), (0, width - ids.shape[2]))) for ids, _ in batches]
    return Hypotheses(np.concatenate(padded)[places], np.concatenate([scores for _, scores in batches])[places])


def greedy_search(members: Sequence[Joined], longest: int) -> Search:
    """Compile: source_ids int32 [B, S] -> ids int32 [B, 1, T], log probabilities float32 [B, 1].

    Writes the most likely symbol at each step, until every row has ended or `longest` symbols are written. members: one
    model, or several with the same alphabets, whose probabilities of each symbol are averaged.
    """

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.int32)])
    def search(source_ids: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        encoded = [member.encoder(source_ids) for member in members]
        states = _start(members, encoded)
        B = tf.shape(source_ids)[0]
        previous = tf.fill([B], START)
        ended = tf.zeros([B], tf.bool)
        scores = tf.zeros([B])
        written = tf.TensorArray(tf.int32, size=0, dynamic_size=True, element_shape=[None])
        step = 0
        while step < longest and not tf.reduce_all(ended):
            log_probabilities, states = _step(members, encoded, previous, states)
            # Chosen by the sum, as the beam does, so that rounding treats ties alike.
            totals = scores[:, None] + log_probabilities
            best = tf.argmax(totals, axis=1, output_type=tf.int32)
            scores = tf.where(ended, scores, tf.reduce_max(totals, axis=1))
            previous = tf.where(ended, PADDING, best)
            ended = tf.logical_or(ended, tf.equal(best, END))
            written = written.write(step, previous)
            step += 1
        return tf.transpose(written.stack())[:, None, :], scores[:, None]

    return search


def beam_search(members: Sequence[Joined], longest: int, beam_width: int) -> Search:
    """Compile: source_ids int32 [B, S] -> ids int32 [B, K, T], log probabilities float32 [B, K], K = beam_width.

    Keeps the K most likely hypotheses of each row at every step; one that has ended keeps its score. Stops when all
    have ended, or `longest` symbols are written. The most likely come first. If there are fewer than K different
    strings, the rest have a log probability of -inf. members: as for `greedy_search`.
    """

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.int32)])
    def search(source_ids: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        B, K = tf.shape(source_ids)[0], beam_width
        encoded = [member.encoder(source_ids) for member in members]
        encoded = [{**one, "vector": tf.repeat(one["vector"], K, axis=0)} for one in encoded]
        states = _start(members, encoded)
        previous = tf.fill([B * K], START)
        ended = tf.zeros([B, K], tf.bool)
        # At first there is one hypothesis, the empty one.
        scores = tf.tile(tf.constant([[0.0] + [-np.inf] * (K - 1)], tf.float32), [B, 1])
        written = tf.zeros([B, K, 0], tf.int32)
        step = 0
        while step < longest and not tf.reduce_all(ended):
            tf.autograph.experimental.set_loop_options(
                shape_invariants=[(written, tf.TensorShape([None, K, None])), (previous, tf.TensorShape([None]))]
            )
            log_probabilities, states = _step(members, encoded, previous, states)
            V = tf.shape(log_probabilities)[1]
            steps = tf.reshape(log_probabilities, [B, K, V])
            # A hypothesis that has ended goes on in one way, with padding and at no cost.
            only_padding = tf.where(tf.equal(tf.range(V), PADDING), 0.0, -np.inf)
            steps = tf.where(ended[:, :, None], only_padding, steps)
            scores, places = tf.math.top_k(tf.reshape(scores[:, :, None] + steps, [B, K * V]), K)
            parents, symbols = places // V, places % V
            ended = tf.logical_or(tf.gather(ended, parents, batch_dims=1), tf.equal(symbols, END))
            written = tf.concat([tf.gather(written, parents, batch_dims=1), symbols[:, :, None]], axis=2)
            rows = tf.reshape(parents + tf.range(B)[:, None] * K, [B * K])
            states = tf.nest.map_structure(lambda tensor, rows=rows: tf.gather(tensor, rows), states)
            previous = tf.reshape(symbols, [B * K])
            step += 1
        return written, scores

    return search


def forced_scoring(members: Sequence[Joined]) -> Scoring:
    """Compile: source_ids int32 [B, S], target_ids int32 [B, T] -> log probabilities of these targets, float32 [B].

    members: as for `greedy_search`.
    """

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.int32)] * 2, autograph=False)
    def score(source_ids: tf.Tensor, target_ids: tf.Tensor) -> tf.Tensor:
        log_probabilities = _averaged(
            [symbol_log_probabilities(member((source_ids, target_ids), training=False)) for member in members]
        )
        symbols = tf.gather(log_probabilities, target_ids, batch_dims=2)
        return tf.reduce_sum(tf.where(tf.equal(target_ids, PADDING), 0.0, symbols), axis=1)

    return score


def log_probabilities(scoring: Scoring, sources: StringStore, targets: StringStore) -> NDArray[np.float32]:
    """Run a compiled scoring over row-aligned sources and targets, in batches of similar length, float32 [rows]."""

    def run(rows: Rows) -> NDArray[np.float32]:
        return scoring(sources.padded(rows), targets.padded(rows, end=True)).numpy()

    scores, places = by_length(run, FORCED_BATCH, sources, targets)
    return np.concatenate([np.empty(0, dtype=np.float32), *scores])[places]


def by_length(run: Callable[[Rows], T], size: int, *stores: StringStore) -> tuple[list[T], Rows]:
    """Run batches of `size` rows of similar length in all stores, as many at once as there are cores.

    Gives the results of `run`, and where in them, one behind the other, each row is: int64 [rows].
    """
    rows = np.arange(len(stores[0]))
    order = np.argsort(sum(store.lengths(rows) for store in stores), kind="stable")
    batches = [order[start : start + size] for start in range(0, len(order), size)]
    if len(batches) <= 1:
        return list(map(run, batches)), np.argsort(order)
    from joblib import cpu_count  # takes longer to import than one batch to run

    with ThreadPoolExecutor(int(os.environ.get("TF_NUM_INTEROP_THREADS", 0)) or cpu_count()) as workers:
        return list(workers.map(run, batches)), np.argsort(order)


@as_it_is
def _start(members: Sequence[Joined], encoded: Sequence[Encoded]) -> list[States]:
    return [member.decoder.start(one) for member, one in zip(members, encoded, strict=True)]


@as_it_is
def _step(
    members: Sequence[Joined], encoded: Sequence[Encoded], previous: tf.Tensor, states: Sequence[States]
) -> tuple[tf.Tensor, list[States]]:
    """The next symbol: its log probabilities float32 [B, V], averaged as probabilities, and the states after it."""
    steps = [
        member.decoder.step(one, previous, state) for member, one, state in zip(members, encoded, states, strict=True)
    ]
    return _averaged([symbol_log_probabilities(logits) for logits, _ in steps]), [after for _, after in steps]


def _averaged(log_probabilities: Sequence[tf.Tensor]) -> tf.Tensor:
    """The logarithm of the mean of probabilities that are given by their logarithms."""
    if len(log_probabilities) == 1:
        return log_probabilities[0]
    return tf.reduce_logsumexp(tf.stack(log_probabilities), axis=0) - np.log(len(log_probabilities))


def symbol_log_probabilities(logits: tf.Tensor) -> tf.Tensor:
    """Log probabilities float32 [..., V] over the ids that can be written: END and all symbols, no other ids."""
    ids = tf.range(tf.shape(logits)[-1])
    writable = tf.logical_or(ids >= SPECIALS, tf.equal(ids, END))
    return tf.nn.log_softmax(tf.where(writable, logits, -np.inf))
