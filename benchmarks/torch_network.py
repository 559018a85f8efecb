"""`pipeline.model.network` as a PyTorch user writes it: the architecture that params.yaml ships, at any size.

Rival of the speed benchmark in training and decoding. It takes over the weights of a `Network`, so a test can hold the
two against each other.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from benchmarks.weights import Arrays
from pipeline.config.params import Model
from pipeline.data.alphabet import PADDING, START

CLOSED = 1e4  # what a gate gets added or subtracted to be 1 or 0 to the last bit


@dataclass(frozen=True)
class Encoded:
    """memory: float32 [B, S, H]. present: bool [B, S], false at padding. hidden, cell: float32 [B, H], last states."""

    memory: torch.Tensor
    present: torch.Tensor
    hidden: torch.Tensor
    cell: torch.Tensor

    def repeated(self, times: int) -> "Encoded":
        """Each row as often, one behind the other."""
        return Encoded(*(tensor.repeat_interleave(times, dim=0) for tensor in vars(self).values()))


class TorchEncoder(nn.Module):
    """Symbol vectors -> all states and the last ones of an LSTM that reads in both directions.

    Padding leaves the states as they are: a further input, 1 at padding, shuts the input gate and opens the forget
    gate. Gates that far out have no gradient, so those weights stay. oneDNN's kernel for whole sequences thereby serves
    batches with padding; it knows no packed sequences, which take twice as long.
    """

    def __init__(self, width: int, units: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(width + 1, units // 2, batch_first=True, bidirectional=True)
        for kernel in (self.lstm.weight_ih_l0, self.lstm.weight_ih_l0_reverse):
            _hold_states_at_padding(kernel)

    def forward(self, vectors: torch.Tensor, present: torch.Tensor) -> Encoded:
        """vectors float32 [B, S, D], present bool [B, S]."""
        padding = (~present).to(vectors.dtype)[:, :, None]
        memory, (hidden, cell) = self.lstm(torch.cat([vectors, padding], dim=2))
        forward, _ = memory.chunk(2, dim=2)
        last = (
            present.sum(dim=1) - 1
        )  # the output gate has gone on at padding: the forward state is that of the last symbol
        hidden_forward = forward[torch.arange(len(last)), last]
        return Encoded(memory, present, torch.cat([hidden_forward, hidden[1]], dim=1), torch.cat([*cell], dim=1))


class TorchNetwork(nn.Module):
    """Encoder A, encoder B and the one decoder."""

    def __init__(self, model: Model, source_symbols: int, target_symbols: int) -> None:
        super().__init__()
        P, H = model.projection, model.units
        self.dropout = nn.Dropout(model.dropout)
        self.units = H
        self.source_table = nn.Embedding(source_symbols, P)
        self.target_table = nn.Embedding(target_symbols, P)  # encoder B's, the decoder's and the output's
        self.encoder_a = TorchEncoder(P, H)
        self.encoder_b = TorchEncoder(P, H)
        self.decoder = nn.LSTM(P, H, batch_first=True)
        self.query = nn.Linear(H, H, bias=False)
        self.attended = nn.Linear(2 * H, H)
        self.dense = nn.Linear(H, P)
        self.output_bias = nn.Parameter(torch.zeros(target_symbols))
        for table in (self.source_table, self.target_table):
            nn.init.normal_(table.weight, std=P**-0.5)

    def encode_sources(self, ids: torch.Tensor) -> Encoded:
        """ids int64 [B, S] by encoder A."""
        return self.encoder_a(self.dropout(self.source_table(ids)), ids != PADDING)

    def encode_targets(self, ids: torch.Tensor) -> Encoded:
        """ids int64 [B, S] by encoder B."""
        return self.encoder_b(self.dropout(self.target_table(ids)), ids != PADDING)

    def forward(self, encoded: Encoded, target_ids: torch.Tensor) -> torch.Tensor:
        """target_ids int64 [B, T] -> logits float32 [B, T, V]; those of step t see the symbols before it."""
        previous = functional.pad(target_ids[:, :-1], (1, 0), value=START)
        logits, _, _ = self.step(encoded, previous, encoded.hidden, encoded.cell)
        return logits

    def step(
        self, encoded: Encoded, previous: torch.Tensor, hidden: torch.Tensor, cell: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """previous int64 [B, T], states float32 [B, H] -> logits float32 [B, T, V] and the states after the last."""
        inputs = self.dropout(self.target_table(previous))
        states, (hidden, cell) = self.decoder(inputs, (hidden[None], cell[None]))
        scores = self.query(states) @ encoded.memory.transpose(1, 2) / self.units**0.5
        weights = scores.masked_fill(~encoded.present[:, None, :], -torch.inf).softmax(dim=2)
        attended = self.attended(torch.cat([states, weights @ encoded.memory], dim=2)).tanh()
        projected = self.dense(self.dropout(attended))
        return functional.linear(projected, self.target_table.weight, self.output_bias), hidden[0], cell[0]

    def load(self, arrays: Arrays) -> None:
        """Take over the weights of a `Network`'s parts."""
        source_table, *encoder_a = arrays["encoder_a"]
        target_table, *decoder = arrays["decoder"]
        (query, attended, attended_bias, dense, dense_bias, output_bias) = decoder[3:]
        with torch.no_grad():
            _assign(self.source_table.weight, source_table)
            _assign(self.target_table.weight, target_table)
            for encoder, weights in ((self.encoder_a, encoder_a), (self.encoder_b, arrays["encoder_b"])):
                _load_lstm(encoder.lstm, weights[:3])
                _load_lstm(encoder.lstm, weights[3:], "_reverse")
            _load_lstm(self.decoder, decoder[:3])
            _assign(self.query.weight, query.T)
            _assign(self.attended.weight, attended.T)
            _assign(self.attended.bias, attended_bias)
            _assign(self.dense.weight, dense.T)
            _assign(self.dense.bias, dense_bias)
            _assign(self.output_bias, output_bias)


def _hold_states_at_padding(kernel: torch.Tensor) -> None:
    """The weights of the input that is 1 at padding, for the gates i, f, g, o."""
    with torch.no_grad():
        kernel[:, -1] = torch.tensor([-CLOSED, CLOSED, 0.0, 0.0]).repeat_interleave(len(kernel) // 4)


def _load_lstm(lstm: nn.LSTM, weights: Sequence[NDArray[np.float32]], direction: str = "") -> None:
    """Keras' kernel [D, 4H], recurrent kernel [H, 4H] and bias [4H]; the gates i, f, c, o are i, f, g, o here."""
    kernel, recurrent_kernel, bias = weights
    _assign(getattr(lstm, f"weight_ih_l0{direction}")[:, : len(kernel)], kernel.T)
    _assign(getattr(lstm, f"weight_hh_l0{direction}"), recurrent_kernel.T)
    _assign(getattr(lstm, f"bias_ih_l0{direction}"), bias)
    getattr(lstm, f"bias_hh_l0{direction}").zero_()


def _assign(parameter: torch.Tensor, values: NDArray[np.float32]) -> None:
    if parameter.shape != values.shape:
        raise ValueError(f"weights of shape {values.shape} where {tuple(parameter.shape)} is expected")
    parameter.copy_(torch.from_numpy(np.ascontiguousarray(values)))
