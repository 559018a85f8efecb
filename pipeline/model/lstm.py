"""Keras' LSTM and its two-directional form, computed faster on a processor: same weights, same results, same names.

Owns the arithmetic of a whole sequence and its gradient, nothing else: weights, configuration and saving stay Keras'.
The inputs of all steps are multiplied at once, the loop over the steps holds the recurrent product and the gates, and
one hand-written backward loop (`tf.custom_gradient`) leaves all weight gradients to one matrix product at its end. Both
directions of a bidirectional layer share one loop.
"""

from collections.abc import Sequence
from typing import Any

from pipeline.model.backend import keras, tf

# kernel [D, 4H], recurrent kernel [H, 4H], bias [4H]; gates i, f, c, o
Weights = tuple[tf.Tensor, tf.Tensor, tf.Tensor]

# Added to a gate it closes or opens it for good, and its derivative is zero.
SHUT = 1e4


@keras.saving.register_keras_serializable(package="tandem")
class LSTM(keras.layers.LSTM):
    """`keras.layers.LSTM`, faster in training.

    Masks must be right-padded: false from some step on. With settings it does not cover (other activations, no bias,
    dropout inside the cell, `go_backwards`, `unroll`), it computes as Keras does. The name is Keras' too: saved weights
    are found by the names of classes.
    """

    def inner_loop(
        self, sequences: tf.Tensor, initial_state: Sequence[tf.Tensor], mask: Any, training: bool = False
    ) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor]]:
        """Inputs float32 [B, S, D], states [h, c] float32 [B, H], mask bool [B, S] -> last and all outputs, states."""
        if not _covered(self) or self.go_backwards:
            return super().inner_loop(sequences, initial_state, mask, training)
        h, c = initial_state
        outputs, last = run([_weights(self)], sequences, mask, [h], [c], self.zero_output_for_mask)
        return outputs[:, -1], outputs, last


@keras.saving.register_keras_serializable(package="tandem")
class Bidirectional(keras.layers.Bidirectional):
    """`keras.layers.Bidirectional` around an LSTM that returns sequences and states side by side, faster in training.

    Masks must be right-padded. Around another layer, or with other settings, it computes as Keras does.
    """

    def call(self, sequences: tf.Tensor, initial_state: Any = None, mask: Any = None, training: Any = None) -> Any:
        """Inputs float32 [B, S, D], mask bool [B, S] -> outputs float32 [B, S, 2H], then h, c of either direction."""
        pair = [self.forward_layer, self.backward_layer]
        plain = self.merge_mode == "concat" and self.return_sequences and self.return_state and not self.stateful
        if not plain or not all(isinstance(layer, keras.layers.LSTM) and _covered(layer) for layer in pair):
            return super().call(sequences, initial_state=initial_state, mask=mask, training=training)
        if initial_state is None:
            B = tf.shape(sequences)[0]
            initial_state = [state for layer in pair for state in layer.get_initial_state(B)]
        weights = [_weights(layer) for layer in pair]
        outputs, last = run(weights, sequences, mask, initial_state[::2], initial_state[1::2], True)
        return (outputs, *last)


def _covered(layer: keras.layers.LSTM) -> bool:
    cell = layer.cell
    return (
        cell.activation is keras.activations.tanh
        and cell.recurrent_activation is keras.activations.sigmoid
        and cell.use_bias
        and not (cell.dropout or cell.recurrent_dropout or layer.unroll)
        and layer.compute_dtype == "float32"
    )


def _weights(layer: keras.layers.LSTM) -> Weights:
    cell = layer.cell
    return tuple(tf.convert_to_tensor(weight) for weight in (cell.kernel, cell.recurrent_kernel, cell.bias))


def run(
    weights: Sequence[Weights],
    inputs: tf.Tensor,
    present: tf.Tensor | None,
    h: Sequence[tf.Tensor],
    c: Sequence[tf.Tensor],
    zero_padding: bool,
) -> tuple[tf.Tensor, list[tf.Tensor]]:
    """An LSTM over sequences in one direction or two: weights, h and c hold one entry for each, the second backward.

    inputs: float32 [B, S, D], S at least 1. present: bool [B, S], right-padded. h, c: float32 [B, H] each, the states
    before the first step. zero_padding: for two directions always true. Gives the outputs of the directions side by
    side, float32 [B, S, G * H], and their last states, h and c of each. Outputs at padding are zero, or the last ones
    before it (zero where there are none).
    """
    G, (D, H) = len(weights), (inputs.shape[2], weights[0][1].shape[0])
    B, S = tf.shape(inputs)[0], tf.shape(inputs)[1]
    lengths = tf.fill([B], S) if present is None else tf.reduce_sum(tf.cast(present, tf.int32), axis=1)
    step, string = tf.range(S)[:, None], tf.range(B)[None, :]
    # Which symbol, [S, B], a direction reads at each step. The backward one starts at the last that is there; padding
    # stays behind them. Either order is its own inverse.
    ahead = tf.broadcast_to(step, [S, B])
    orders = [ahead, tf.where(step < lengths, lengths - 1 - step, step)][:G]
    flat = tf.reshape(inputs, [B * S, D])
    rows, used = [], []
    for order, (kernel, recurrent_kernel, bias) in zip(orders, weights, strict=True):
        row = _take(flat, _flat(string * S + order), _flat(tf.transpose(order * B + string)))
        if present is not None:
            # At padding the input gate is shut and the forget gate open: c stays as it is.
            padding = tf.cast(step >= lengths, inputs.dtype)
            row = tf.concat([row, tf.reshape(padding, [S * B, 1])], axis=1)
            kernel = tf.concat([kernel, tf.constant([[-SHUT] * H + [SHUT] * H + [0.0] * 2 * H])], axis=0)
        rows.append(row)
        used.append((kernel, recurrent_kernel, bias))
    steps, h_last, c_last = _recur(rows, tf.concat(h, axis=0), tf.concat(c, axis=0), used)
    # Row (s, g, b) of the steps is row (b, order(s), g) of the outputs.
    there = tf.stack([(order * G + g) * B + string for g, order in enumerate(orders)], axis=2)  # [S, B, G]
    back = tf.stack([(string * S + order) * G + g for g, order in enumerate(orders)], axis=1)  # [S, G, B]
    outputs = _take(tf.reshape(steps, [S * G * B, H]), _flat(tf.transpose(there, [1, 0, 2])), _flat(back))
    outputs = tf.reshape(outputs, [B, S, G * H])
    if present is not None:
        real = tf.cast(present, outputs.dtype)[:, :, None]
        ends = tf.concat([(tf.maximum(lengths - 1, 0) * G + g) * B + string[0] for g in range(G)], axis=0)
        empty = tf.tile(tf.equal(lengths, 0), [G])[:, None]
        ended = tf.gather(tf.reshape(steps, [S * G * B, H]), ends)
        h_last = tf.where(empty, tf.concat(h, axis=0), ended)
        outputs *= real
        if not zero_padding:
            outputs += (1.0 - real) * tf.where(empty, 0.0, ended)[:, None, :]
    pairs = zip(tf.split(h_last, G), tf.split(c_last, G), strict=True)
    return outputs, [state for pair in pairs for state in pair]


def _flat(places: tf.Tensor) -> tf.Tensor:
    return tf.reshape(places, [-1])


@tf.custom_gradient
def _take(rows: tf.Tensor, places: tf.Tensor, back: tf.Tensor) -> Any:
    """The rows at `places`, each taken once; the gradient goes back the same way, many times faster than by sums."""
    return tf.gather(rows, places), lambda gradient: (tf.gather(gradient, back), None, None)


def _recur(
    rows: list[tf.Tensor], h_first: tf.Tensor, c_first: tf.Tensor, weights: list[Weights]
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """All steps of G independent directions, N = G * B strings in all: h after each step, and the last h and c.

    rows: for each direction the inputs, float32 [S * B, D], step by step. h_first, c_first: float32 [N, H].
    Gives float32 [S, N, H], [N, H] and [N, H].
    """
    G, (D, H) = len(weights), (weights[0][0].shape[0], weights[0][1].shape[0])

    @tf.custom_gradient
    def recur(h_first: tf.Tensor, c_first: tf.Tensor, *flat: tf.Tensor) -> Any:
        rows, kernels, recurrent_kernels, biases = (flat[G * k : G * (k + 1)] for k in range(4))
        N = tf.shape(h_first)[0]
        B = N // G
        S = tf.shape(rows[0])[0] // B
        from_inputs = _side_by_side(
            [tf.nn.bias_add(tf.matmul(*pair), bias) for *pair, bias in zip(rows, kernels, biases, strict=True)], S, N
        )
        recurrent_kernel = tf.stack(recurrent_kernels) if G > 1 else recurrent_kernels[0]

        def forward(t: tf.Tensor, h: tf.Tensor, c: tf.Tensor, hs: Any, cs: Any, *gates: Any) -> tuple[Any, ...]:
            i, f, g, o = tf.split(_product(h, recurrent_kernel) + from_inputs[t], 4, axis=1)
            i, f, g, o = tf.sigmoid(i), tf.sigmoid(f), tf.tanh(g), tf.sigmoid(o)
            c = f * c + i * g
            squashed = tf.tanh(c)
            h = o * squashed
            hs, cs = hs.write(t, h), cs.write(t + 1, c)
            written = [array.write(t, new) for array, new in zip(gates, (i, f, g, o, squashed), strict=True)]
            return t + 1, h, c, hs, cs, *written

        hs, cs = _array(S, H), _array(S + 1, H).write(0, c_first)
        gates = [_array(S, H) for _ in range(5)]
        _, h_last, c_last, hs, cs, *gates = tf.while_loop(
            lambda t, *_: t < S, forward, (0, h_first, c_first, hs, cs, *gates)
        )
        steps = hs.stack()

        def gradient(d_steps: tf.Tensor, d_h: tf.Tensor, d_c: tf.Tensor) -> Any:
            # The kernel of tensorflow's own LSTM cell does all gates at once. Of these it reads the shapes alone.
            unread = {"x": tf.zeros([N, 0]), "w": tf.zeros([H, 4 * H]), "b": tf.zeros([4 * H]), "h_prev": h_first}
            unread |= dict.fromkeys(("wci", "wcf", "wco"), tf.zeros([H])) | {"use_peephole": False}
            transposed = [_transposed(kernel, H) for kernel in recurrent_kernels]
            back = tf.stack(transposed) if G > 1 else transposed[0]

            def backward(t: tf.Tensor, d_h: tf.Tensor, d_c: tf.Tensor, c: tf.Tensor, d_gates: tf.TensorArray) -> Any:
                read = [array.read(t) for array in (cs, *gates)]
                kept = dict(zip(("cs_prev", "i", "f", "ci", "o", "co"), read, strict=True))
                cell = tf.raw_ops.LSTMBlockCellGrad(cs=c, cs_grad=d_c, h_grad=d_h + d_steps[t], **kept, **unread)
                return t - 1, _product(cell.dicfo, back), cell.cs_prev_grad, read[0], d_gates.write(t, cell.dicfo)

            start = (S - 1, d_h, d_c, c_last, _array(S, 4 * H))
            _, d_h, d_c, _, d_gates = tf.while_loop(lambda t, *_: t >= 0, backward, start)
            each = _apart(d_gates.stack(), G, 4 * H)
            ones = tf.ones([S * B, 1])
            d_weights = []
            befores = _apart(tf.concat([h_first[None], steps[:-1]], axis=0), G, H)
            for row, before, d in zip(rows, befores, each, strict=True):
                product = tf.matmul(tf.concat([row, before, ones], axis=1), d, transpose_a=True)
                i, g, f, o = tf.split(product, 4, axis=1)
                d_weights.append(tf.split(tf.concat([i, f, g, o], axis=1), [D, H, 1]))
            d_kernels, d_recurrent_kernels, d_biases = zip(*d_weights, strict=True)
            d_rows = [tf.matmul(d, _transposed(kernel, H)) for d, kernel in zip(each, kernels, strict=True)]
            return d_h, d_c, *d_rows, *d_kernels, *d_recurrent_kernels, *(bias[0] for bias in d_biases)

        return (steps, h_last, c_last), gradient

    kernels, recurrent_kernels, biases = zip(*weights, strict=True)
    return recur(h_first, c_first, *rows, *kernels, *recurrent_kernels, *biases)


def _array(S: tf.Tensor, M: int) -> tf.TensorArray:
    return tf.TensorArray(tf.float32, S, element_shape=[None, M], clear_after_read=False)


def _product(rows: tf.Tensor, kernels: tf.Tensor) -> tf.Tensor:
    """[N, K] x [K, M], or each direction's part of the rows by its own: x [G, K, M] -> [N, M]."""
    if len(kernels.shape) == 2:
        return tf.matmul(rows, kernels)
    G, K, M = kernels.shape
    return tf.reshape(tf.matmul(tf.reshape(rows, [G, -1, K]), kernels), [-1, M])


def _transposed(kernel: tf.Tensor, H: int) -> tf.Tensor:
    """[K, 4H] of gates i, f, c, o -> [4H, K] of gates i, c, f, o, the order of tensorflow's cell.

    Made once, not in each product: one by a transposed matrix takes up to three times as long.
    """
    i, f, g, o = tf.split(tf.transpose(kernel), 4, axis=0)
    return tf.concat([i, g, f, o], axis=0)


def _side_by_side(directions: list[tf.Tensor], S: tf.Tensor, N: tf.Tensor) -> tf.Tensor:
    """G of [S * B, M] -> [S, N, M]."""
    M = directions[0].shape[1]
    # Long rows are copied fast.
    return tf.reshape(tf.concat([tf.reshape(rows, [S, -1]) for rows in directions], axis=1), [S, N, M])


def _apart(steps: tf.Tensor, G: int, M: int) -> list[tf.Tensor]:
    """[S, N, M] -> G of [S * B, M]."""
    return [tf.reshape(part, [-1, M]) for part in tf.split(tf.reshape(steps, [tf.shape(steps)[0], -1]), G, axis=1)]
