"""Decoding in PyTorch: batched greedy and beam search over the strings, and with the weights, of the pipeline."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.timing import DoRound, timed
from benchmarks.torch_network import Encoded, TorchNetwork
from benchmarks.weights import ARRAYS, load_arrays
from benchmarks.workload import sources_to_decode
from pipeline.config.params import Params
from pipeline.data.alphabet import END, PADDING, SPECIALS, START
from pipeline.data.prepared import Prepared
from pipeline.data.store import StringStore

BATCH = 256  # strings decoded at once, as the pipeline does

Search = Callable[[TorchNetwork, Encoded, int], torch.Tensor]


def decoding(params: Params, folder: Path, weights: Path, beam: int | None, passes: int) -> DoRound:
    """Rounds of decoding all strings so many times, greedily or with a beam."""
    prepared = Prepared.open(folder)
    network = TorchNetwork(params.model, len(prepared.source_alphabet), len(prepared.target_alphabet))
    network.load(load_arrays(weights / ARRAYS))
    sources, longest = sources_to_decode(prepared), longest_output(prepared)

    def do_round() -> dict[str, float]:
        for _ in range(passes):
            decode(network, sources, longest, beam)
        return {"strings": passes * len(sources)}

    do_round()
    return partial(timed, do_round)


def longest_output(prepared: Prepared) -> int:
    """The bound on what is written, in symbols: that of `pipeline.training.strategies.new_network`."""
    return prepared.longest_target * 3 // 2 + 1


@torch.inference_mode()
def decode(network: TorchNetwork, sources: StringStore, longest: int, beam: int | None) -> list[NDArray[np.int64]]:
    """The most likely target ids of each source, int64 [K, T], best first; K is 1 without a beam."""
    network.eval()
    search = partial(beam_search, beam=beam) if beam else greedy_search
    order = np.argsort(sources.lengths(np.arange(len(sources))), kind="stable")
    found: list[NDArray[np.int64]] = [np.empty(0, np.int64)] * len(order)
    for start in range(0, len(order), BATCH):
        rows = order[start : start + BATCH]
        encoded = network.encode_sources(torch.from_numpy(sources.padded(rows)).long())
        for row, ids in zip(rows, search(network, encoded, longest).numpy(), strict=True):
            found[row] = ids
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
    """The K most likely beginnings at each step, until all have ended: int64 [B, K, T], best first, padded with 0."""
    B, K = len(encoded.memory), beam
    encoded = encoded.repeated(K)
    hidden, cell = encoded.hidden, encoded.cell
    previous = torch.full((B * K,), START)
    ended = torch.zeros(B, K, dtype=torch.bool)
    totals = torch.tensor([0.0] + [-torch.inf] * (K - 1)).repeat(B, 1)  # at first there is one beginning
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
