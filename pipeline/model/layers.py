"""Layers of our own: a tied dense layer, dropout, a stack of recurrent layers that can also be stepped, attention."""

from typing import Any

from pipeline.config.params import Cell
from pipeline.model import lstm
from pipeline.model.backend import keras, tf

States = list[list[tf.Tensor]]  # per layer the tensors of its cell: [h, c] or [h], each float32 [B, H]


@keras.saving.register_keras_serializable(package="tandem")
class TiedDense(keras.layers.Layer):
    """A dense layer whose kernel is the transpose of another layer's.

    tied_to: a `Dense` (kernel [inputs, units]) or `Embedding` (embeddings [symbols, width]). Its kernel is read at
    every call and stays its own; this layer adds one bias for each row of it. Input: float32 [..., columns of the
    kernel]. Output: float32 [..., rows of the kernel].

    Source: tied weights of autoencoders, Vincent et al. 2010, "Stacked denoising autoencoders"; of language models,
    Press and Wolf 2017, "Using the output embedding to improve language models".
    """

    def __init__(self, tied_to: keras.layers.Layer, activation: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not isinstance(tied_to, keras.layers.Dense | keras.layers.Embedding):
            raise TypeError(f"TiedDense ties to a Dense or an Embedding layer, not to {type(tied_to).__name__}")
        self._tied_to = lambda: tied_to  # Keras would own a layer that is an attribute
        self.bias: Any = None
        self.activation = keras.activations.get(activation)
        self.supports_masking = True

    @property
    def tied_to(self) -> keras.layers.Layer:
        """The layer whose kernel this layer uses."""
        return self._tied_to()

    def __call__(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: D102
        if self.bias is None:
            # A model rebuilt from its configuration has made the other layer anew, before this one.
            tied_to = _upstream(inputs, self.tied_to.name) or self.tied_to
            self._tied_to = lambda: tied_to
            self.built = False  # Keras takes it for built after `build_from_config`
        return super().__call__(inputs, *args, **kwargs)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make the bias; the other layer must have its kernel by now."""
        rows, columns = self._kernel().shape
        if input_shape[-1] != columns:
            raise ValueError(
                f"{self.name} expects inputs of width {columns}, as {self.tied_to.name} has, got {input_shape}"
            )
        self.bias = self.add_weight(shape=(rows,), initializer="zeros", name="bias")

    def build_from_config(self, config: dict[str, Any]) -> None:
        """Wait for the first call, which knows the other layer."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """inputs @ transpose(kernel) + bias, with the kernel as it is now."""
        # Transposed here and not in `build`: there, eager execution would keep a copy of the first values.
        return self.activation(keras.ops.matmul(inputs, keras.ops.transpose(self._kernel())) + self.bias)

    def get_config(self) -> dict[str, Any]:
        """Names the other layer with its own configuration."""
        tied_to = keras.saving.serialize_keras_object(self.tied_to)
        return {**super().get_config(), "tied_to": tied_to, "activation": keras.activations.serialize(self.activation)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "TiedDense":
        """The inverse of `get_config`; called in a model with a layer of that name before it, it ties to that one."""
        return cls(**{**config, "tied_to": keras.saving.deserialize_keras_object(config["tied_to"])})

    def _kernel(self) -> Any:
        layer = self.tied_to
        if not layer.built:
            raise ValueError(f"{self.name} is tied to {layer.name}, which has no kernel yet: call that one first")
        return layer.kernel if isinstance(layer, keras.layers.Dense) else layer.embeddings


def _upstream(inputs: Any, name: str) -> keras.layers.Layer | None:
    """The layer called `name` that a symbolic input of a functional model has passed through."""
    seen: set[int] = set()
    waiting = [inputs] if isinstance(inputs, keras.KerasTensor) else []
    while waiting:
        operation = waiting.pop()._keras_history.operation
        if operation.name == name:
            return operation
        if id(operation) not in seen:
            seen.add(id(operation))
            waiting += [tensor for node in operation._inbound_nodes for tensor in node.input_tensors]
    return None


@keras.saving.register_keras_serializable(package="tandem")
class Dropout(keras.layers.Dropout):
    """`keras.layers.Dropout` whose numbers differ between workers, and need 16 random bits each where Keras draws 32.

    The share that is set to zero is `rate` to the nearest 1/65536, and what stays is scaled by just that share. Fewer
    bits make a training step at 128 units 3% faster.
    """

    stream = 0  # the same seed gives other numbers in another stream

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Float32 of any shape -> the same shape; outside of training the inputs as they are."""
        dropped = round(self.rate * 2**16)
        if not training or not dropped:
            return inputs
        size = tf.size(inputs)
        seed = tf.cast(self.seed_generator.next(), tf.int32)
        if self.stream:
            seed += [self.stream, 0]
        pairs = tf.random.stateless_uniform([(size + 1) // 2], seed, minval=None, maxval=None, dtype=tf.int32)
        numbers = tf.reshape(tf.bitcast(pairs, tf.int16), [-1])[:size]
        kept = tf.reshape(numbers >= dropped - 2**15, tf.shape(inputs))
        return inputs * (tf.cast(kept, inputs.dtype) * (2**16 / (2**16 - dropped)))


class RecurrentStack(keras.layers.Layer):
    """Recurrent layers on top of each other, runnable over a sequence or step by step with the same weights.

    cell: lstm or gru. units: H, of each layer; a bidirectional one gives half of them to each direction. dropout:
    share of a layer's inputs set to zero in training, recurrent connections excepted.
    """

    def __init__(
        self, cell: Cell, units: int, layers: int, dropout: float, bidirectional: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True
        self.units = units
        self.bidirectional = bidirectional
        kind = {Cell.LSTM: lstm.LSTM, Cell.GRU: keras.layers.GRU}[cell]

        def layer(index: int) -> keras.layers.Layer:
            if not bidirectional:
                return kind(units, return_sequences=True, return_state=True, name=f"layer_{index}")
            inner = kind(units // 2, return_sequences=True, return_state=True, name=f"direction_{index}")
            return lstm.Bidirectional(inner, name=f"layer_{index}")

        self.recurrent = [layer(index) for index in range(layers)]
        self.dropouts = [Dropout(dropout, name=f"dropout_{index}") for index in range(layers)]

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make the weights for inputs [B, S, D]."""
        for layer, dropout in zip(self.recurrent, self.dropouts, strict=True):
            dropout.build(input_shape)
            layer.build(input_shape)
            input_shape = (*input_shape[:-1], self.units)

    def call(
        self, inputs: tf.Tensor, present: tf.Tensor | None = None, start: States | None = None, training: bool = False
    ) -> tuple[tf.Tensor, States]:
        """Inputs float32 [B, S, D] -> outputs float32 [B, S, H] and each layer's last states.

        present: bool [B, S], false where there is padding, which follows the string and leaves the states as they are.
        (Keras gives a meaning of its own to an argument called mask.)

        The last state of a bidirectional layer is that of its forward direction beside that of its backward one.
        """
        outputs, states = inputs, []
        for index, (layer, dropout) in enumerate(zip(self.recurrent, self.dropouts, strict=True)):
            first = None if start is None else start[index]
            outputs, *last = layer(dropout(outputs, training=training), mask=present, initial_state=first)
            if self.bidirectional:
                half = len(last) // 2
                last = [tf.concat(pair, axis=1) for pair in zip(last[:half], last[half:], strict=True)]
            states.append(last)
        return outputs, states

    def zero_states(self, batch_size: tf.Tensor) -> States:
        """The states before the first step."""
        return [list(layer.cell.get_initial_state(batch_size)) for layer in self.recurrent]

    def step(self, inputs: tf.Tensor, states: States) -> tuple[tf.Tensor, States]:
        """One step without dropout: inputs float32 [B, D] -> outputs float32 [B, H] and the states after it."""
        outputs, after = inputs, []
        for layer, state in zip(self.recurrent, states, strict=True):
            outputs, new = layer.cell(outputs, state)
            after.append(list(new))
        return outputs, after


class Attention(keras.layers.Layer):
    """Every decoder state takes in a weighted mean of all encoder states.

    score = state W memory / sqrt(H), attended = tanh(V [state; mean]): the "general" form with an attentional layer of
    Luong et al. 2015, "Effective approaches to attention-based neural machine translation", equations 5 and 8.
    """

    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True
        self.units = units
        self.query = keras.layers.Dense(units, use_bias=False, name="query")
        self.attended = keras.layers.Dense(units, activation="tanh", name="attended")

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make the weights for states [B, T, H]."""
        self.query.build(input_shape)
        self.attended.build((*input_shape[:-1], 2 * self.units))

    def call(self, states: tf.Tensor, memory: tf.Tensor, present: tf.Tensor) -> tf.Tensor:
        """States float32 [B, T, H], memory float32 [B, S, H], present bool [B, S] -> float32 [B, T, H]."""
        mean = tf.matmul(self.weights_of(states, memory, present), memory)
        return self.attended(tf.concat([states, mean], axis=-1))

    def weights_of(self, states: tf.Tensor, memory: tf.Tensor, present: tf.Tensor) -> tf.Tensor:
        """How much of each encoder state is taken in, float32 [B, T, S]; rows sum to 1, padding has 0."""
        scores = tf.matmul(self.query(states), memory, transpose_b=True) / self.units**0.5
        return tf.nn.softmax(tf.where(present[:, None, :], scores, -1e9))
