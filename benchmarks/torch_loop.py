"""Tandem training in PyTorch: the same network, batches and optimizer as the pipeline's.

Eager, with what PyTorch has for a processor: oneDNN's LSTM and the fused Adam. Preparing the next batch in a thread
gained nothing here, as most of a step is work that holds Python's lock or all cores.
"""

import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from benchmarks.operations import operations_of
from benchmarks.timing import DoRound, Round
from benchmarks.torch_network import TorchNetwork
from benchmarks.workload import ENDLESS, SCHEDULE, SEED
from pipeline.config.params import Params
from pipeline.data.alphabet import PADDING
from pipeline.data.prepared import Prepared
from pipeline.training.batches import Batch
from pipeline.training.noise import streams
from pipeline.training.strategies import Phase, Task


def training(params: Params, folder: Path, steps: int) -> DoRound:
    """Rounds of `steps` pairs of batches."""
    prepared, settings = Prepared.open(folder), params.training
    target_symbols = len(prepared.target_alphabet)
    torch.manual_seed(SEED)
    network = TorchNetwork(params.model, len(prepared.source_alphabet), target_symbols)
    optimizer = torch.optim.Adam(network.parameters(), settings.learning_rate, eps=1e-7, fused=True)
    warming = torch.optim.lr_scheduler.LinearLR(optimizer, 1 / (settings.warmup + 1), total_iters=settings.warmup)
    batches = streams(Phase(SCHEDULE, Task.PAIRED, ENDLESS), prepared, params, SEED)
    before = 0

    def do_round() -> Round:
        nonlocal before
        started, symbols, used = time.perf_counter(), 0, []
        for cycle in range(before, before + steps):
            for task in SCHEDULE:
                batch = batches[task][cycle]
                optimizer.zero_grad()
                loss_of(network, task, batch).backward()
                nn.utils.clip_grad_norm_(network.parameters(), settings.clip_norm)
                optimizer.step()
                symbols += int(np.count_nonzero(batch.target_ids))
                used.append(batch)
            warming.step()
        seconds = time.perf_counter() - started
        before += steps
        return Round({"symbols": symbols, **operations_of(params.model, target_symbols, used)}, seconds)

    do_round()
    return do_round


def loss_of(network: TorchNetwork, task: Task, batch: Batch) -> torch.Tensor:
    """Mean cross-entropy in nats per target symbol, padding left out."""
    source_ids, target_ids = (torch.from_numpy(ids).long() for ids in (batch.source_ids, batch.target_ids))
    encode = network.encode_targets if task is Task.AUTOENCODE else network.encode_sources
    logits = network(encode(source_ids), target_ids)
    return functional.cross_entropy(logits.flatten(0, 1), target_ids.flatten(), ignore_index=PADDING)
