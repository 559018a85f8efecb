"""The siamese matcher: one encoder applied to two strings, and their similarity as a number between 0 and 1.

How a matcher is trained is left to `training`.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from pipeline.config import params as config
from pipeline.config.params import Cell, MatcherEncoder
from pipeline.data.alignment import same_symbols
from pipeline.data.alphabet import LARGEST_ALPHABET, PADDING, SPECIALS, START, Alphabet, load_alphabets, save_alphabets
from pipeline.data.store import Rows, StringStore
from pipeline.errors import UserError
from pipeline.model.backend import keras, tf
from pipeline.model.layers import RecurrentStack
from pipeline.model.search import by_length

MATCHER_FOLDER = Path("models/matcher")
WEIGHTS, SETTINGS = "matcher.weights.h5", "matcher.json"

WIDTHS = (2, 3, 4)  # symbols that a convolution sees at once
STRINGS_AT_ONCE = 512  # embedded in one batch
SOURCES_AT_ONCE = 64  # compared with a whole index at once
VALUES_AT_ONCE = 1024  # whose highest bounds the others in a search

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class JointAlphabet:
    """The symbols of sources and targets in one space of ids: V of them, the special ones included.

    Each side splits its strings by its own rule. Two symbols are one if they are equal and both sides split by the same
    rule: the `a` of an old spelling is the `a` of the modern one, but the phoneme `B` is not the letter `B`. Source
    symbols keep their ids; the target symbols that are not among them follow.
    """

    source: Alphabet
    target: Alphabet

    def __post_init__(self) -> None:
        if len(self) - SPECIALS > LARGEST_ALPHABET:
            raise UserError(f"sources and targets have {len(self):,} symbols, but the limit is {LARGEST_ALPHABET:,}")

    def __len__(self) -> int:
        return max(len(self.source), int(self._ids_of_targets.max()) + 1)

    def sources(self, strings: Sequence[str]) -> StringStore:
        """Sources as joint ids."""
        return StringStore.of(strings, self.source)

    def targets(self, strings: Sequence[str]) -> StringStore:
        """Targets as joint ids."""
        store = StringStore.of(strings, self.target)
        return StringStore(self._ids_of_targets.astype(np.uint16)[store.ids], store.offsets)

    @cached_property
    def _ids_of_targets(self) -> NDArray[np.int64]:
        same = same_symbols(self.source, self.target)
        joint = same if self.source.kind is self.target.kind else np.zeros_like(same)
        joint[:SPECIALS] = np.arange(SPECIALS)
        new = SPECIALS + np.flatnonzero(joint[SPECIALS:] == 0)
        joint[new] = len(self.source) + np.arange(len(new))
        return joint


@keras.saving.register_keras_serializable(package="tandem")
class Similarity(keras.layers.Layer):
    """Two batches of embeddings -> their similarities: sigmoid(scale * cosine + shift), scale and shift learned.

    Scale is positive, so similarities order pairs as cosines do. Every operation treats both sides alike and none mixes
    them but a product, which commutes also when rounded: swapping the sides changes no bit.
    """

    def build(self, input_shape: object) -> None:
        """Make scale and shift; at first a cosine of 0.5 is a similarity of 0.5."""
        self.log_scale = self.add_weight(shape=(), initializer=keras.initializers.Constant(np.log(10.0)), name="scale")
        self.shift = self.add_weight(shape=(), initializer=keras.initializers.Constant(-5.0), name="shift")

    def call(self, left: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
        """Float32 [B, E] and [B, E], of any length -> float32 [B] in [0, 1]."""
        cosines = tf.reduce_sum(self.direction(left) * self.direction(right), axis=-1)
        return tf.sigmoid(self.logits(cosines))

    def direction(self, embeddings: tf.Tensor) -> tf.Tensor:
        """Embeddings scaled to length 1."""
        return tf.math.l2_normalize(embeddings, axis=-1)

    def logits(self, cosines: tf.Tensor) -> tf.Tensor:
        """Log odds of a similarity, float32 of any shape."""
        return tf.exp(self.log_scale) * cosines + self.shift


def build_siamese(trunk: keras.Model) -> keras.Model:
    """One instance of `trunk` applied to two inputs: [left, right] -> similarity float32 [B] in [0, 1].

    score(left, right) equals score(right, left) to the bit. trunk: any model of one input and one output; an output of
    more than one axis, such as a feature map, is flattened.
    """
    (example,) = trunk.inputs
    left, right = (keras.Input(example.shape[1:], dtype=example.dtype, name=side) for side in ("left", "right"))
    embeddings = [trunk(left), trunk(right)]
    if len(embeddings[0].shape) > 2:
        flatten = keras.layers.Flatten(name="flatten")
        embeddings = [flatten(embedding) for embedding in embeddings]
    return keras.Model([left, right], Similarity(name="similarity")(*embeddings), name="siamese")


class MaskedPooling(keras.layers.Layer):
    """Of each feature the mean and the maximum over a string, padding left out."""

    def compute_mask(self, *_: object) -> None:
        """No mask: the pooled features have no steps."""

    def call(self, states: tf.Tensor, present: tf.Tensor) -> tf.Tensor:
        """States float32 [B, S, H], present bool [B, S], true somewhere in each row -> float32 [B, 2 H]."""
        present = present[:, :, None]
        lengths = tf.reduce_sum(tf.cast(present, states.dtype), axis=1)
        mean = tf.reduce_sum(tf.where(present, states, 0.0), axis=1) / lengths
        return tf.concat([mean, tf.reduce_max(tf.where(present, states, states.dtype.min), axis=1)], axis=1)


def string_trunk(settings: config.Matcher, symbols: int) -> keras.Model:
    """Ids int32 [B, S], 0 is padding -> embedding float32 [B, E], which padding does not change.

    The states of a bidirectional LSTM, or convolutions over 2 to 4 symbols; of each feature the mean and maximum over
    the string; and a dense layer.
    """
    ids = keras.Input((None,), dtype="int32", name="ids")
    present = keras.ops.not_equal(ids, PADDING)
    vectors = keras.layers.Embedding(symbols, settings.projection, name="projection")(ids)
    if settings.encoder is MatcherEncoder.LSTM:
        recurrent = RecurrentStack(Cell.LSTM, settings.units, 1, settings.dropout, bidirectional=True, name="recurrent")
        states, _ = recurrent(vectors, present=present)
    else:
        # At zero, padding is to a convolution what lies beyond the end of the longest string.
        seen = keras.layers.Dropout(settings.dropout)(vectors) * keras.ops.cast(present, "float32")[:, :, None]
        windows = [
            keras.layers.Conv1D(settings.units, width, padding="same", activation="relu", name=f"width_{width}")(seen)
            for width in WIDTHS
        ]
        states = keras.layers.Concatenate()(windows)
    pooled = keras.layers.Dropout(settings.dropout)(MaskedPooling(name="pooling")(states, present))
    embedding = keras.layers.Dense(settings.embedding, name="embedding")(pooled)
    return keras.Model(ids, embedding, name=settings.encoder.value)


class Matcher:
    """A siamese model over strings, with the alphabets of its two sides."""

    def __init__(self, settings: config.Matcher, source_alphabet: Alphabet, target_alphabet: Alphabet) -> None:
        self.settings = settings
        self.alphabet = JointAlphabet(source_alphabet, target_alphabet)
        self.trunk = string_trunk(settings, len(self.alphabet))
        self.siamese = build_siamese(self.trunk)
        self.similarity: Similarity = self.siamese.get_layer("similarity")
        self._embed = tf.function(
            lambda rows: self.similarity.direction(self.trunk(rows)),
            input_signature=[tf.TensorSpec([None, None], tf.int32)],
            autograph=False,
        )

    def embed_sources(self, sources: Sequence[str]) -> Vectors:
        """Float32 [n, E], each row of length 1."""
        return self._embeddings(self.alphabet.sources(sources))

    def embed_targets(self, targets: Sequence[str]) -> Vectors:
        """Float32 [n, E], each row of length 1."""
        return self._embeddings(self.alphabet.targets(targets))

    def save(self, folder: Path) -> None:
        """Write all that `load` needs, the same bytes for the same weights."""
        folder.mkdir(parents=True, exist_ok=True)
        settings = TypeAdapter(config.Matcher).dump_python(self.settings, mode="json")
        (folder / SETTINGS).write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")
        save_alphabets(folder, self.alphabet.source, self.alphabet.target)
        self.siamese.save_weights(folder / WEIGHTS)

    @classmethod
    def load(cls, folder: Path) -> "Matcher":
        """Read what `save` wrote; raises `UserError` if it is missing or damaged."""
        try:
            settings = TypeAdapter(config.Matcher).validate_json((folder / SETTINGS).read_bytes())
            matcher = cls(settings, *load_alphabets(folder))
            matcher.siamese.load_weights(folder / WEIGHTS)
        except (OSError, ValueError, KeyError, TypeError, UserError) as error:
            raise UserError(f"{folder} holds no trained matcher ({error}): run `dvc repro matcher`") from error
        return matcher

    def _embeddings(self, strings: StringStore) -> Vectors:
        parts, places = by_length(lambda rows: self._embed(closed(strings, rows)).numpy(), STRINGS_AT_ONCE, strings)
        none = np.empty((0, self.settings.embedding), dtype=np.float32)
        return np.concatenate([none, *parts])[places]


def closed(strings: StringStore, rows: Rows) -> NDArray[np.int32]:
    """The strings of `rows` between START and END, int32 [B, longest], padded with 0: no string is empty to a trunk."""
    return np.pad(strings.padded(rows, end=True), ((0, 0), (1, 0)), constant_values=START)


@dataclass(frozen=True)
class Match:
    """One target of a list, and its similarity to the source."""

    target: str
    similarity: float


class Index:
    """A list of targets, embedded once, to be searched many times. Of equal targets it keeps the first."""

    def __init__(self, matcher: Matcher, targets: Sequence[str]) -> None:
        self.matcher = matcher
        self.targets = list(dict.fromkeys(targets))
        self.embeddings = matcher.embed_targets(self.targets)

    def search(self, sources: Sequence[str], top: int) -> list[list[Match]]:
        """The `top` most similar targets of each source, the best first, equal ones in their order in the list.

        Exact: every target is compared, by one matrix product. sources: in normal form; if symbols of one are unknown,
        similarities are lowered by `Alphabet.trust`.
        """
        count = min(top, len(self.targets))
        if count == 0:
            return [[] for _ in sources]
        by_source = []
        embeddings = self.matcher.embed_sources(sources)
        for start in range(0, len(sources), SOURCES_AT_ONCE):
            cosines = embeddings[start : start + SOURCES_AT_ONCE] @ self.embeddings.T
            best = np.array([_highest(row, count) for row in cosines])
            logits = self.matcher.similarity.logits(np.take_along_axis(cosines, best, axis=1))
            trust = map(self.matcher.alphabet.source.trust, sources[start : start + SOURCES_AT_ONCE])
            for rows, scores in zip(best, tf.sigmoid(logits).numpy() * np.array([*trust])[:, None], strict=True):
                by_source.append([Match(self.targets[row], float(one)) for row, one in zip(rows, scores, strict=True)])
        return by_source


def _highest(values: Vectors, count: int) -> Rows:
    """The places of the `count` highest values, the highest first, equal ones in their order."""
    highest_of_parts = np.maximum.reduceat(values, np.arange(0, len(values), VALUES_AT_ONCE))
    # At least `count` values reach the last of the `count` highest of these, and seldom many more.
    bound = np.partition(highest_of_parts, -count)[-count] if count <= len(highest_of_parts) else -np.inf
    candidates = np.flatnonzero(values >= bound)
    # All that reach the last place, not any `count` of them, so that the order of the values decides between equals.
    last = np.partition(values[candidates], -count)[-count]
    reach = candidates[values[candidates] >= last]
    return reach[np.argsort(-values[reach], kind="stable")][:count]
