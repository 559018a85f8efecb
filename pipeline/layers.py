"""Layers of our own."""

from typing import Any

from pipeline.backend import keras, tf
from pipeline.config import Cell

States = list[list[tf.Tensor]]  # per layer the tensors of its cell: [h, c] or [h], each float32 [B, H]


class RecurrentStack(keras.layers.Layer):
    """Recurrent layers on top of each other, runnable over a sequence or step by step with the same weights.

    cell: lstm or gru. units: H, of each layer. layers: how many. dropout: share of a layer's inputs set to zero in
    training, recurrent connections excepted.
    """

    def __init__(self, cell: Cell, units: int, layers: int, dropout: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True
        self.units = units
        kind = {Cell.LSTM: keras.layers.LSTM, Cell.GRU: keras.layers.GRU}[cell]
        self.recurrent = [
            kind(units, return_sequences=True, return_state=True, name=f"layer_{index}") for index in range(layers)
        ]
        self.dropouts = [keras.layers.Dropout(dropout, name=f"dropout_{index}") for index in range(layers)]

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make the weights for inputs [B, S, D]."""
        for layer, dropout in zip(self.recurrent, self.dropouts, strict=True):
            dropout.build(input_shape)
            layer.build(input_shape)
            input_shape = (*input_shape[:-1], self.units)

    def call(
        self,
        inputs: tf.Tensor,
        mask: tf.Tensor | None = None,
        initial_states: States | None = None,
        training: bool = False,
    ) -> tuple[tf.Tensor, States]:
        """Inputs float32 [B, S, D], mask bool [B, S] -> outputs float32 [B, S, H] and each layer's last states."""
        outputs, states = inputs, []
        for index, (layer, dropout) in enumerate(zip(self.recurrent, self.dropouts, strict=True)):
            first = None if initial_states is None else initial_states[index]
            outputs, *last = layer(dropout(outputs, training=training), mask=mask, initial_state=first)
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
