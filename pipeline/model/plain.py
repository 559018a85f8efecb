"""Trained models in NumPy: for a few strings, in a process that would spend its time on the import of tensorflow.

It owns encoder A, the decoder, beam search and forced scoring once more, as `network`, `layers`, `monotonic` and
`search` define them, from the same weights and to the same results but for rounding. One symbol is written at a time,
and a whole batch waits for its longest string.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from pipeline.config.params import Bridge, Cell, DecoderKind, Model
from pipeline.data.alphabet import END, PADDING, SPECIALS, START
from pipeline.data.store import StringStore
from pipeline.errors import UserError
from pipeline.model.files import UNREADABLE, WEIGHTS, Sizes, read_architecture
from pipeline.model.inference import TrainedModel

NEVER = np.float32(-1e9)  # a log probability
STEP = START  # to the next place of the source: an output in the place of the one symbol that is never written

Floats = NDArray[np.float32]
Ids = NDArray[np.int32]
States = list[Floats]  # of all layers one behind the other, [N, H] each; of a monotonic bridge also [N, S], [N, S, V]


@dataclass(frozen=True)
class Encoded:
    """What the bridge carries of B strings, K hypotheses of each.

    vector: [B * K, E], the dense embedding, or the last states of all layers side by side. memory: [B, S, H], the
    states of the last layer. present: bool [B, S].
    """

    vector: Floats
    memory: Floats
    present: NDArray[np.bool_]


@dataclass(frozen=True)
class PlainNetwork:
    """Encoder A and the decoder. weights: of each layer, by its name in the file of weights."""

    architecture: Model
    sizes: Sizes
    weights: dict[str, list[Floats]]

    @classmethod
    def load(cls, folder: Path) -> "PlainNetwork":
        """Read what `network.save_network` wrote; raises `UserError` if it is missing or damaged."""
        weights: dict[str, list[Floats]] = {}

        def keep(name: str, item: h5py.Group | h5py.Dataset) -> None:
            if name.endswith("/vars"):
                weights[name.removesuffix("/vars")] = [item[str(number)][()] for number in range(len(item))]

        try:
            config = read_architecture(folder)
            with h5py.File(folder / WEIGHTS) as file:
                file.visititems(keep)
            model = TypeAdapter(Model).validate_json(json.dumps(config["model"]))
            network = cls(model, Sizes(**config["sizes"]), weights)
            encoded = network.encode(np.full((1, 1), END, np.int32))
            network.step(encoded, np.full(1, START, np.int32), network.start(encoded))  # weights of other shapes fail
            return network
        except UNREADABLE as error:
            raise UserError(f"{folder} holds no trained network ({error}): run `dvc repro`") from error

    def encode(self, ids: Ids, hypotheses: int = 1) -> Encoded:
        """ids int32 [B, S], 0 is padding."""
        if self.architecture.bridge is Bridge.MONOTONIC:
            ids = _closed(ids)
        present = ids != PADDING
        memory, states = self.weights["encoder_a/layers/embedding"][0][ids], []
        for layer in range(self.architecture.layers):
            runs = [self._run(name, memory, present) for name in self._directions(layer)]
            memory = np.concatenate([outputs for outputs, _ in runs], axis=2)
            states += [np.concatenate(pair, axis=1) for pair in zip(*(last for _, last in runs), strict=True)]
        if self.architecture.decoder is DecoderKind.REPEAT:
            vector = self._dense("encoder_a/embedding", states[-self._tensors])
        else:
            vector = np.concatenate(states, axis=1)
        return Encoded(np.repeat(vector, hypotheses, axis=0), memory, present)

    def start(self, encoded: Encoded) -> States:
        """The states before the first symbol."""
        N, layers = len(encoded.vector), self._tensors * self.architecture.layers
        zeros = [np.zeros((N, self.architecture.units), np.float32)] * layers
        if self.architecture.bridge is Bridge.MONOTONIC:
            S = encoded.present.shape[1]
            first = np.where(np.arange(S) == 0, np.float32(0), NEVER)
            return [*zeros, np.tile(first, (N, 1)), np.zeros((N, S, self.sizes.target_symbols), np.float32)]
        if self.architecture.decoder is DecoderKind.REPEAT:
            return zeros
        return np.split(encoded.vector, layers, axis=1)

    def step(self, encoded: Encoded, previous_ids: Ids, states: States) -> tuple[Floats, States]:
        """One symbol further: previous_ids int32 [N] -> logits [N, V] and the states after it; N = B * K."""
        if self.architecture.decoder is DecoderKind.REPEAT:
            outputs = encoded.vector
        else:
            outputs = self.weights["autoencoder/decoder/layers/embedding"][0][previous_ids]
        after: States = []
        for layer in range(self.architecture.layers):
            name = self._layer("autoencoder/decoder", self.architecture.cell, layer)
            after += self._cell(name, outputs, states[layer * self._tensors :][: self._tensors])
            outputs = after[-self._tensors]
        outputs = outputs.reshape(len(encoded.present), -1, self.architecture.units)  # [B, K, H]
        if self.architecture.bridge is Bridge.MONOTONIC:
            logits, *at = self._read(outputs, encoded, previous_ids, *states[-2:])
            return logits, [*after, *at]
        if self.architecture.bridge is Bridge.ATTENTION:
            outputs = self._attended(outputs, encoded)
        logits = self._output(self._dense("autoencoder/decoder/dense", outputs))
        return logits.reshape(len(previous_ids), -1), after

    @property
    def _tensors(self) -> int:
        """Of the state of a layer."""
        return 2 if self.architecture.cell is Cell.LSTM else 1

    def _directions(self, layer: int) -> list[str]:
        if not self.architecture.bidirectional:
            return [self._layer("encoder_a", self.architecture.cell, layer)]
        name = self._layer("encoder_a", "bidirectional", layer)
        return [f"{name}/forward_layer", f"{name}/backward_layer"]

    @staticmethod
    def _layer(part: str, kind: str, number: int) -> str:
        """The name of a recurrent layer in the file of weights."""
        return f"{part}/layers/recurrent_stack/recurrent/{kind}" + (f"_{number}" if number else "")

    def _run(self, name: str, inputs: Floats, present: NDArray[np.bool_]) -> tuple[Floats, States]:
        """A layer over [B, S, D]: outputs [B, S, H] and its last state. At padding the state stays as it is."""
        B, S = present.shape
        state = [np.zeros((B, len(self.weights[f"{name}/cell"][1])), np.float32)] * self._tensors
        outputs = np.zeros((B, S, state[0].shape[1]), np.float32)
        for t in reversed(range(S)) if name.endswith("backward_layer") else range(S):
            after = self._cell(name, inputs[:, t], state)
            state = [np.where(present[:, t, None], new, old) for new, old in zip(after, state, strict=True)]
            outputs[:, t] = state[0]
        return outputs, state

    def _cell(self, name: str, inputs: Floats, state: States) -> States:
        kernel, recurrent_kernel, bias = self.weights[f"{name}/cell"]
        if self.architecture.cell is Cell.LSTM:
            h, c = state
            i, f, g, o = np.split(inputs @ kernel + h @ recurrent_kernel + bias, 4, axis=1)
            c = _sigmoid(f) * c + _sigmoid(i) * np.tanh(g)
            return [_sigmoid(o) * np.tanh(c), c]
        (h,) = state
        z, r, new = np.split(inputs @ kernel + bias[0], 3, axis=1)
        of_z, of_r, of_new = np.split(h @ recurrent_kernel + bias[1], 3, axis=1)
        z = _sigmoid(z + of_z)
        return [z * h + (1 - z) * np.tanh(new + _sigmoid(r + of_r) * of_new)]

    def _dense(self, name: str, inputs: Floats) -> Floats:
        kernel, *bias = self.weights[name]
        return sum(bias, inputs @ kernel)

    def _output(self, inputs: Floats) -> Floats:
        if not self.architecture.tie_weights:
            return self._dense("autoencoder/decoder/layers/dense_1", inputs)
        (table,), (bias,) = (self.weights[f"autoencoder/decoder/layers/{name}"] for name in ("embedding", "tied_dense"))
        return inputs @ table.T + bias

    def _attended(self, outputs: Floats, encoded: Encoded) -> Floats:
        """Outputs [B, K, H], with a weighted mean of the memory taken in."""
        query = self._dense("autoencoder/decoder/attention/query", outputs)
        scores = query @ encoded.memory.transpose(0, 2, 1) / np.float32(self.architecture.units**0.5)
        weights = np.exp(_log_softmax(np.where(encoded.present[:, None], scores, NEVER)))
        both = np.concatenate([outputs, weights @ encoded.memory], axis=2)
        return np.tanh(self._dense("autoencoder/decoder/attention/attended", both))

    def _read(
        self, outputs: Floats, encoded: Encoded, previous_ids: Ids, places: Floats, logs: Floats
    ) -> tuple[Floats, Floats, Floats]:
        """A step of the monotonic bridge: log probabilities [N, V], and those of the places and of symbols there.

        outputs: [B, K, H]. places, logs: the latter two after the step before.
        """
        places = places + logs[np.arange(len(logs)), :, previous_ids]
        places = places - _logsumexp(places)
        name = "autoencoder/decoder/layers/reader"
        z = self._dense(f"{name}/of_state", outputs)[:, :, None]
        z = np.tanh(z + self._dense(f"{name}/of_place", encoded.memory)[:, None])
        ids, S = np.arange(self.sizes.target_symbols), encoded.present.shape[1]
        is_last = np.arange(S) >= encoded.present.sum(axis=1, keepdims=True) - 1
        possible = (ids >= SPECIALS) | np.where(is_last[:, None, :, None], ids == END, ids == STEP)
        logs = _log_softmax(np.where(possible, self._output(z), NEVER)).reshape(len(previous_ids), S, -1)
        moves = np.pad(np.cumsum(logs[:, :-1, STEP], axis=1), ((0, 0), (1, 0)))
        places = moves + np.logaddexp.accumulate(places - moves, axis=1)
        return _logsumexp(places[:, :, None] + logs, axis=1)[:, 0], places, logs


@dataclass(frozen=True)
class PlainModel(TrainedModel):
    """A `TrainedModel` in NumPy. All strings make one batch: it is for a few."""

    networks: tuple[PlainNetwork, ...]  # type: ignore[assignment]

    @staticmethod
    def _load_network(folder: Path, into: Any) -> Any:
        return PlainNetwork.load(folder)

    def _search(self, sources: StringStore, beam_width: int) -> tuple[Ids, Floats]:
        source_ids = sources.padded(np.arange(len(sources)))
        return beam_search(self.networks, source_ids, self.networks[0].sizes.longest_output, beam_width)

    def _score(self, sources: StringStore, targets: StringStore) -> Floats:
        rows = np.arange(len(sources))
        return forced_scores(self.networks, sources.padded(rows), targets.padded(rows, end=True))


def beam_search(members: Sequence[PlainNetwork], source_ids: Ids, longest: int, beam_width: int) -> tuple[Ids, Floats]:
    """As `search.beam_search`, or with a width of 1 as `search.greedy_search`: ids int32 [B, K, T], scores [B, K]."""
    B, K = len(source_ids), beam_width
    encoded = [member.encode(source_ids, K) for member in members]
    states = [member.start(one) for member, one in zip(members, encoded, strict=True)]
    previous, ended = np.full(B * K, START, np.int32), np.zeros((B, K), np.bool_)
    scores = np.tile(np.where(np.arange(K) == 0, np.float32(0), -np.inf).astype(np.float32), (B, 1))
    written = np.zeros((B, K, 0), np.int32)
    while written.shape[2] < longest and not ended.all():
        logs, states = _step(members, encoded, previous, states)
        V = logs.shape[1]
        steps = logs.reshape(B, K, V)
        steps[ended] = np.where(np.arange(V) == PADDING, 0.0, -np.inf)  # an ended one goes on with padding, at no cost
        totals = (scores[:, :, None] + steps).reshape(B, K * V)
        best = np.argsort(-totals, axis=1, kind="stable")[:, :K]
        scores = np.take_along_axis(totals, best, axis=1)
        parents, symbols = np.divmod(best.astype(np.int32), V)
        ended = np.take_along_axis(ended, parents, axis=1) | (symbols == END)
        written = np.take_along_axis(written, parents[:, :, None], axis=1)
        written = np.concatenate([written, symbols[:, :, None]], axis=2)
        rows = (parents + np.arange(B)[:, None] * K).ravel()
        states = [[tensor[rows] for tensor in state] for state in states]
        previous = symbols.ravel()
    return written, scores


def forced_scores(members: Sequence[PlainNetwork], source_ids: Ids, target_ids: Ids) -> Floats:
    """As `search.forced_scoring`: log probabilities [B] of target_ids int32 [B, T]."""
    encoded = [member.encode(source_ids) for member in members]
    states = [member.start(one) for member, one in zip(members, encoded, strict=True)]
    rows, scores = np.arange(len(target_ids)), np.zeros(len(target_ids), np.float32)
    previous = np.full(len(target_ids), START, np.int32)
    for ids in target_ids.T:
        logs, states = _step(members, encoded, previous, states)
        scores += np.where(ids == PADDING, np.float32(0), logs[rows, ids])
        previous = ids
    return scores


def _step(
    members: Sequence[PlainNetwork], encoded: Sequence[Encoded], previous: Ids, states: Sequence[States]
) -> tuple[Floats, list[States]]:
    """The next symbol: its log probabilities [N, V], averaged as probabilities, and the states after it."""
    steps = [member.step(one, previous, state) for member, one, state in zip(members, encoded, states, strict=True)]
    ids = np.arange(members[0].sizes.target_symbols)
    writable = (ids >= SPECIALS) | (ids == END)
    logs = [_log_softmax(np.where(writable, logits, np.float32(-np.inf))) for logits, _ in steps]
    mean = np.logaddexp.reduce(logs, axis=0) - np.float32(np.log(len(members)))
    return mean, [after for _, after in steps]


def _closed(ids: Ids) -> Ids:
    """Strings int32 [B, S], 0 is padding -> the same between START and END, int32 [B, S + 2]."""
    ends = 1 + np.count_nonzero(ids, axis=1)
    ids = np.pad(ids, ((0, 0), (1, 1)))
    ids[:, 0], ids[np.arange(len(ids)), ends] = START, END
    return ids


def _sigmoid(values: Floats) -> Floats:
    return np.float32(0.5) + np.float32(0.5) * np.tanh(np.float32(0.5) * values)


def _logsumexp(values: Floats, axis: int = -1) -> Floats:
    """Along an axis, which is kept."""
    top = values.max(axis=axis, keepdims=True)
    return top + np.log(np.exp(values - top).sum(axis=axis, keepdims=True))


def _log_softmax(logits: Floats) -> Floats:
    return logits - _logsumexp(logits)
