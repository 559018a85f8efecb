"""The monotonic bridge: a decoder that reads the source from its start to its end, one place at a time.

It owns the sum over all ways to do so. The parts around it, encoders, recurrent layers and tables, are those of
`network`.
"""

from collections.abc import Callable
from typing import Any

from pipeline.data.alphabet import END, PADDING, SPECIALS, START
from pipeline.model.backend import keras, tf
from pipeline.model.layers import Dropout

Encoded = dict[str, tf.Tensor]  # by an encoder: memory float32 [B, S, H] of closed strings, present bool [B, S]
Output = Callable[[tf.Tensor], tf.Tensor]

STEP = START  # to the next place of the source: an output in the place of the one symbol that is never written
NEVER = -1e9  # a log probability


def closed(ids: tf.Tensor) -> tf.Tensor:
    """Strings int32 [B, S], 0 is padding -> the same between START and END, int32 [B, S + 2]."""
    ids = tf.pad(ids, [[0, 0], [1, 1]], constant_values=PADDING)
    ends = 1 + tf.math.count_nonzero(ids, axis=1, keepdims=True, dtype=tf.int32)
    places = tf.range(tf.shape(ids)[1])[None]
    return tf.where(places == 0, START, tf.where(places == ends, END, ids))


class Reader(keras.layers.Layer):
    """Probabilities of symbols, summed over all places of the source at which they may be written.

    Before each symbol the reader moves on any number of places, then writes at the place where it is: END at the last
    one, and nothing else makes it stop. Which place it is at is not known, only how probable each is; the sum over all
    is exact, a forward algorithm. At place i and step t all depends on z = tanh(W s_t + V h_i), where s_t, the output
    of the decoder's recurrent layers, has seen the symbols before alone.

    width: of z. Calls get the dense layer from z to the logits of V symbols, which belongs to the decoder.

    Source: Wu and Cotterell 2019, "Exact hard monotonic attention for character-level transduction"; the moves are
    those of Graves 2012, "Sequence transduction with recurrent neural networks".
    """

    def __init__(self, width: int, dropout: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.of_state = keras.layers.Dense(width, use_bias=False, name="of_state")
        self.of_place = keras.layers.Dense(width, name="of_place")
        self.dropout = Dropout(dropout, name="dropout")

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make the weights for states [B, T, H] and a memory of the same width."""
        self.of_state.build(input_shape)
        self.of_place.build(input_shape)
        self.dropout.build(input_shape)

    def call(
        self, states: tf.Tensor, encoded: Encoded, target_ids: tf.Tensor, output: Output, training: bool = False
    ) -> tf.Tensor:
        """Log probabilities of each symbol after those before it, float32 [B, T, V].

        states: float32 [B, T, H]. target_ids: int32 [B, T], the symbols that are written.
        """
        states, memory = (self.dropout(one, training=training) for one in (states, encoded["memory"]))
        logs = self._logs(states, memory, encoded["present"], output)  # [B, T, S, V]
        written = tf.einsum("btsv,btv->bts", logs, tf.one_hot(target_ids, tf.shape(logs)[3]))
        steps = tf.transpose(_moves(logs), [1, 0, 2]), tf.transpose(written, [1, 0, 2])
        first = _first(encoded["present"])

        def forward(at: tuple[tf.Tensor, tf.Tensor], step: tuple[tf.Tensor, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
            moved = _moved(at[1], step[0])
            return moved, _normalised(moved + step[1])

        moved, _ = tf.scan(forward, steps, (first, first))
        return _mixed(tf.transpose(moved, [1, 0, 2]), logs)

    def start(self, encoded: Encoded, hypotheses: tf.Tensor, symbols: int) -> list[tf.Tensor]:
        """The state before the first step, for a number of hypotheses of each string.

        It has the log probabilities of places, float32 [N, S], and of symbols there, float32 [N, S, V].
        """
        first = tf.repeat(_first(encoded["present"]), hypotheses, axis=0)
        return [first, tf.zeros([*tf.unstack(tf.shape(first)), symbols])]

    def step(
        self, states: tf.Tensor, encoded: Encoded, previous_ids: tf.Tensor, at: list[tf.Tensor], output: Output
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """One symbol further: log probabilities float32 [N, V], and the state of the reader after it.

        states: float32 [N, H]. previous_ids: int32 [N], the symbols that were written last.
        """
        strings, S = tf.unstack(tf.shape(encoded["present"]))
        places = _where(at, previous_ids)
        states = tf.reshape(states, [strings, -1, states.shape[-1]])
        logs = self._logs(states, encoded["memory"], encoded["present"], output)
        logs = tf.reshape(logs, [-1, S, logs.shape[-1]])
        places = _moved(places, _moves(logs))
        return _mixed(places, logs), [places, logs]

    def where(self, at: list[tf.Tensor], ids: tf.Tensor) -> tf.Tensor:
        """The probabilities of the places at which the next symbols are written if they are `ids`, float32 [N, S]."""
        return tf.exp(_where(at, ids))

    def _logs(self, states: tf.Tensor, memory: tf.Tensor, present: tf.Tensor, output: Output) -> tf.Tensor:
        """Log probabilities of what is done at each place, float32 [B, T, S, V]; STEP is one of the V."""
        logits = output(tf.tanh(self.of_state(states)[:, :, None] + self.of_place(memory)[:, None]))
        ids, places = tf.range(logits.shape[3]), tf.range(tf.shape(present)[1])[None]
        last = tf.math.count_nonzero(present, axis=1, keepdims=True, dtype=tf.int32) - 1
        is_last = (places >= last)[:, None, :, None]
        possible = (ids >= SPECIALS) | tf.where(is_last, ids == END, ids == STEP)
        return tf.nn.log_softmax(tf.where(possible, logits, NEVER))


def _first(present: tf.Tensor) -> tf.Tensor:
    """Log probabilities of places, float32 [B, S]: the first one for sure."""
    return tf.where(tf.range(tf.shape(present)[1])[None] == 0, 0.0, NEVER) + tf.zeros(tf.shape(present))


def _where(at: list[tf.Tensor], ids: tf.Tensor) -> tf.Tensor:
    """Log probabilities of the places at which symbols int32 [N] are written, float32 [N, S]."""
    places, logs = at
    return _normalised(places + tf.gather(logs, ids, axis=2, batch_dims=1))


def _moves(logs: tf.Tensor) -> tf.Tensor:
    """Log probabilities of moving from the first place to each, float32 [..., S]. logs: float32 [..., S, V]."""
    return tf.cumsum(logs[..., STEP], axis=-1, exclusive=True)


def _moved(places: tf.Tensor, moves: tf.Tensor) -> tf.Tensor:
    """Log probabilities of places after moving on, float32 [..., S]."""
    return moves + tf.math.cumulative_logsumexp(places - moves, axis=-1)


def _normalised(logs: tf.Tensor) -> tf.Tensor:
    return logs - tf.reduce_logsumexp(logs, axis=-1, keepdims=True)


def _mixed(places: tf.Tensor, logs: tf.Tensor) -> tf.Tensor:
    """Log probabilities of symbols, float32 [..., V], from those of places, [..., S], and of symbols there."""
    ids = tf.range(logs.shape[-1])
    return tf.where((ids >= SPECIALS) | (ids == END), tf.reduce_logsumexp(places[..., None] + logs, axis=-2), NEVER)
