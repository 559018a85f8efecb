"""PyTorch as a competitor of the speed benchmark: the architecture that params.yaml ships, trained and decoded in it.

`TorchNetwork` takes over the weights of a `Network`, so a test can compare the two. Training is eager, with PyTorch's
best for a processor: oneDNN's LSTM and the fused Adam. Preparing the next batch in a thread gained nothing here, as
most of a step is work that holds Python's lock or all cores.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from benchmarks import workload
from benchmarks.timing import DoRound, timed
from pipeline.config.params import Model, Params
from pipeline.data.alphabet import END, PADDING, SPECIALS, START
from pipeline.data.prepared import Prepared
from pipeline.data.store import StringStore
from pipeline.model.network import load_network
from pipeline.training.batches import Batch
from pipeline.training.noise import streams
from pipeline.training.strategies import Task

BATCH = 256  # strings decoded at once, as the pipeline does
CLOSED = 1e4  # added to a gate or subtracted from it, makes it 1 or 0 to the last bit


@dataclass(frozen=True)
class Encoded:
    """memory: float32 [B, S, H]. present: bool [B, S], false at padding. hidden, cell: float32 [B, H], last states."""

    memory: torch.Tensor
    present: torch.Tensor
    hidden: torch.Tensor
    cell: torch.Tensor

    def repeated(self, times: int) -> "Encoded":
        """Repeat each row so many times."""
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
        with torch.no_grad():
            for kernel in (self.lstm.weight_ih_l0, self.lstm.weight_ih_l0_reverse):  # its rows: gates i, f, g, o
                kernel[:, -1] = torch.tensor([-CLOSED, CLOSED, 0.0, 0.0]).repeat_interleave(len(kernel) // 4)

    def forward(self, vectors: torch.Tensor, present: torch.Tensor) -> Encoded:
        """vectors float32 [B, S, D], present bool [B, S]."""
        padding = (~present).to(vectors.dtype)[:, :, None]
        memory, (hidden, cell) = self.lstm(torch.cat([vectors, padding], dim=2))
        forward, _ = memory.chunk(2, dim=2)
        # The output gate has gone on at padding: the forward state is that of the last symbol.
        hidden_forward = forward[torch.arange(len(memory)), present.sum(dim=1) - 1]
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

    def encode(self, task: Task, ids: torch.Tensor) -> Encoded:
        """ids int64 [B, S] by encoder B if the task is to autoencode, else by encoder A."""
        if task is Task.AUTOENCODE:
            return self.encoder_b(self.dropout(self.target_table(ids)), ids != PADDING)
        return self.encoder_a(self.dropout(self.source_table(ids)), ids != PADDING)

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

    def load(self, arrays: workload.Arrays) -> None:
        """Take over the weights of a `Network`'s parts."""
        source_table, *encoder_a = arrays["encoder_a"]
        target_table, *decoder = arrays["decoder"]
        (query, attended, attended_bias, dense, dense_bias, output_bias) = decoder[3:]
        with torch.no_grad():
            for encoder, weights in ((self.encoder_a, encoder_a), (self.encoder_b, arrays["encoder_b"])):
                _load_lstm(encoder.lstm, weights[:3])
                _load_lstm(encoder.lstm, weights[3:], "_reverse")
            _load_lstm(self.decoder, decoder[:3])
            for parameter, values in (
                (self.source_table.weight, source_table),
                (self.target_table.weight, target_table),
                (self.query.weight, query.T),
                (self.attended.weight, attended.T),
                (self.attended.bias, attended_bias),
                (self.dense.weight, dense.T),
                (self.dense.bias, dense_bias),
                (self.output_bias, output_bias),
            ):
                parameter.copy_(torch.from_numpy(values))


def _load_lstm(lstm: nn.LSTM, weights: Sequence[NDArray[np.float32]], direction: str = "") -> None:
    """Keras' kernel [D, 4H], recurrent kernel [H, 4H] and bias [4H]; the gates i, f, c, o are i, f, g, o here."""
    kernel, recurrent_kernel, bias = weights
    getattr(lstm, f"weight_ih_l0{direction}")[:, : len(kernel)] = torch.from_numpy(kernel.T)
    getattr(lstm, f"weight_hh_l0{direction}").copy_(torch.from_numpy(recurrent_kernel.T))
    getattr(lstm, f"bias_ih_l0{direction}").copy_(torch.from_numpy(bias))
    getattr(lstm, f"bias_hh_l0{direction}").zero_()


def training(params: Params, folder: Path, steps: int) -> DoRound:
    """Rounds of `steps` pairs of batches."""
    prepared, settings = Prepared.open(folder), params.training
    torch.manual_seed(workload.SEED)
    network = TorchNetwork(params.model, len(prepared.source_alphabet), len(prepared.target_alphabet))
    optimizer = torch.optim.Adam(network.parameters(), settings.learning_rate, eps=1e-7, fused=True)
    warming = torch.optim.lr_scheduler.LinearLR(optimizer, 1 / (settings.warmup + 1), total_iters=settings.warmup)
    batches = streams(workload.phase(), prepared, params, workload.SEED)
    before = 0

    def do_round() -> dict[str, float]:
        nonlocal before
        symbols = 0
        for cycle in range(before, before + steps):
            for task in workload.TASKS:
                batch = batches[task][cycle]
                optimizer.zero_grad()
                loss_of(network, task, batch).backward()
                nn.utils.clip_grad_norm_(network.parameters(), settings.clip_norm)
                optimizer.step()
                symbols += int(np.count_nonzero(batch.target_ids))
            warming.step()
        before += steps
        return {"symbols": symbols}

    do_round()
    return partial(timed, do_round)


def loss_of(network: TorchNetwork, task: Task, batch: Batch) -> torch.Tensor:
    """Mean cross-entropy in nats per target symbol, padding left out."""
    source_ids, target_ids = (torch.from_numpy(ids).long() for ids in (batch.source_ids, batch.target_ids))
    logits = network(network.encode(task, source_ids), target_ids)
    return functional.cross_entropy(logits.flatten(0, 1), target_ids.flatten(), ignore_index=PADDING)


def decoding(params: Params, folder: Path, weights: Path, beam: int | None, passes: int) -> DoRound:
    """Rounds of decoding all strings so many times, greedily or with a beam."""
    prepared, ours = Prepared.open(folder), load_network(weights)
    network = TorchNetwork(params.model, len(prepared.source_alphabet), len(prepared.target_alphabet))
    network.load(workload.arrays_of(ours))
    sources, longest = workload.sources_to_decode(prepared), ours.sizes.longest_output

    def do_round() -> None:
        for _ in range(passes):
            decode(network, sources, longest, beam)

    return workload.decoding_rounds(do_round, passes * len(sources))


@torch.inference_mode()
def decode(network: TorchNetwork, sources: StringStore, longest: int, beam: int | None) -> list[NDArray[np.int64]]:
    """The most likely target ids of each source, int64 [K, T], best first; K is 1 without a beam.

    sources: sorted by length, so that batches have little padding.
    """
    network.eval()
    search = partial(beam_search, beam=beam) if beam else greedy_search
    found: list[NDArray[np.int64]] = []
    for rows in np.split(np.arange(len(sources)), range(BATCH, len(sources), BATCH)):
        encoded = network.encode(Task.PAIRED, torch.from_numpy(sources.padded(rows)).long())
        found.extend(search(network, encoded, longest).numpy())
    return found


def greedy_search(network: TorchNetwork, encoded: Encoded, longest: int) -> torch.Tensor:
    """The most likely symbol at each step, until all rows have ended: int64 [B, 1, T], padded with 0."""
    B = len(encoded.memory)
    hidden, cell = encoded.hidden, encoded.cell
    previous = torch.full((B,), START)
    ended = torch.zeros(B, dtype=torch.bool)
    written: list[torch.Tensor] = []
    while len(written) < longest and not ended.all():
        scores, hidden, cell = _next(network, encoded, previous, hidden, cell)
        previous = scores.argmax(dim=1).masked_fill(ended, PADDING)
        ended = ended | (previous == END)
        written.append(previous)
    return torch.stack(written, dim=1)[:, None]


def beam_search(network: TorchNetwork, encoded: Encoded, longest: int, beam: int) -> torch.Tensor:
    """The K most likely hypotheses at each step, until all have ended: int64 [B, K, T], best first, padded with 0."""
    B, K = len(encoded.memory), beam
    encoded = encoded.repeated(K)
    hidden, cell = encoded.hidden, encoded.cell
    previous = torch.full((B * K,), START)
    ended = torch.zeros(B, K, dtype=torch.bool)
    totals = torch.tensor([0.0] + [-torch.inf] * (K - 1)).repeat(B, 1)  # at first there is one hypothesis
    written = torch.zeros(B, K, 0, dtype=torch.long)
    first_rows = torch.arange(B)[:, None] * K
    while written.shape[2] < longest and not ended.all():
        scores, hidden, cell = _next(network, encoded, previous, hidden, cell)
        steps = scores.log_softmax(dim=1).view(B, K, -1)
        V = steps.shape[2]
        only_padding = torch.full((V,), -torch.inf)
        only_padding[PADDING] = 0.0
        steps = torch.where(ended[:, :, None], only_padding, steps)
        totals, places = (totals[:, :, None] + steps).view(B, K * V).topk(K)
        parents, symbols = places // V, places % V
        ended = ended.gather(1, parents) | (symbols == END)
        written = torch.cat([written.gather(1, parents[:, :, None].expand_as(written)), symbols[:, :, None]], dim=2)
        rows = (parents + first_rows).flatten()
        hidden, cell, previous = hidden[rows], cell[rows], symbols.flatten()
    return written


def _next(
    network: TorchNetwork, encoded: Encoded, previous: torch.Tensor, hidden: torch.Tensor, cell: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Logits float32 [B, V] of the next symbol, -inf where it cannot be written, and the states after it."""
    logits, hidden, cell = network.step(encoded, previous[:, None], hidden, cell)
    scores = logits[:, 0]
    scores[:, :SPECIALS].masked_fill_(torch.arange(SPECIALS) != END, -torch.inf)
    return scores, hidden, cell
