"""Features of (source, candidate) beside the network's score, and candidates that the search did not write.

All of it is learned from pairs and unpaired targets, once, by the stage `features`. How much each feature counts is
learned by `reranker` from dev, with features that know the training pairs alone; those to predict with know the pairs
of dev as well.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import Levenshtein

from pipeline.data.alignment import Alignment, same_symbols
from pipeline.data.alphabet import SOURCE_ALPHABET, TARGET_ALPHABET, Alphabet, load_alphabets, save_alphabets
from pipeline.data.examples import Example
from pipeline.data.prepared import Prepared
from pipeline.data.store import DAMAGE, Integers, Reals, StringStore, load_arrays, save_arrays, spans
from pipeline.errors import UserError
from pipeline.hashing import file_digest
from pipeline.reranking.channel import Channel
from pipeline.reranking.counts import Counts, fingerprints
from pipeline.reranking.language_model import CharacterLanguageModel
from pipeline.reranking.neighbours import Neighbourhood, comparable

FEATURES_FOLDER = Path("models/features")
TO_FIT, TO_PREDICT = FEATURES_FOLDER / "train", FEATURES_FOLDER / "train_and_dev"  # by the pairs that they know
ARRAYS, FEATURES_METADATA = "features.npz", "features.json"
FILES = (SOURCE_ALPHABET, TARGET_ALPHABET, ARRAYS)
DIGEST = "sha256"  # of metadata and files

POOL = 200_000  # targets among which neighbours are searched
NEAR, NEAR_BEST = 2, 4  # edits between a listed target and one of the candidates, and the best of them
MODEL_RANGE, CHANNEL_RANGE = 15.0, 30.0  # nats below the best of a list; what lies deeper is all the same
FEATURES = (
    "log_probability", "log_probability_per_symbol",  # of the network
    "listed", "list_count",  # among the unpaired targets; logarithm of how often
    "trained", "train_count",  # likewise among the targets of the pairs
    "language_model", "language_model_per_symbol",  # log p(candidate)
    "channel", "channel_per_symbol",  # log p(source | candidate)
    "pair_count", "pair_share",  # how often the pairs give this very source the candidate, and in which share
    "edits", "edits_per_symbol", "unchanged",  # from the source, where the alphabets share symbols
    "length", "length_ratio",  # symbols; distance of the logarithm of the ratio of lengths from that of the pairs
    "source_count",  # how often the pairs have this source: the same for all its candidates, of use to trees
)  # fmt: skip


class Candidate(Protocol):
    """A possible target of a source, with its score by the network: a natural log probability."""

    @property
    def text(self) -> str:
        """The target."""

    @property
    def log_probability(self) -> float:
        """Natural logarithm, at most 0."""


NBest = Sequence[Sequence[Candidate]]


@dataclass(frozen=True, eq=False)
class FeatureMatrix:
    """Features of the candidates of N sources, one behind the other.

    values: float64 [candidates, features]. Source i has rows `offsets[i]` to `offsets[i + 1]`, at least one.
    """

    values: Reals
    offsets: Integers

    def rows(self, sources: Integers) -> Integers:
        """The candidates of some of the sources, int64 [M], in that order; a source may come again."""
        return spans(self.offsets[sources], np.diff(self.offsets)[sources])[0]

    def take(self, sources: Integers) -> "FeatureMatrix":
        """The features of these sources alone."""
        rows, offsets = spans(self.offsets[sources], np.diff(self.offsets)[sources])
        return FeatureMatrix(self.values[rows], offsets)


@dataclass(frozen=True, eq=False)
class FeatureExtractor:
    """What pairs and unpaired targets say of candidates: learned once, saved, and loaded by whatever predicts.

    data: digest of the prepared data it was learned from. listed, neighbourhood: empty and None where dev and test
    targets were held out of the list: being listed would then prove a candidate wrong, by the split, not the language.
    """

    data: str
    source_alphabet: Alphabet
    target_alphabet: Alphabet
    pairs: Counts
    paired_sources: Counts
    paired_targets: Counts
    targets_of_source: dict[str, list[str]]  # the most frequent first
    length_ratio: float
    language_model: CharacterLanguageModel
    channel: Channel
    listed: Counts
    neighbourhood: Neighbourhood | None

    @classmethod
    def learn(cls, prepared: Prepared, held_out: bool) -> "FeatureExtractor":
        """Count, and learn language model and channel, from the training pairs and the unpaired targets.

        held_out: whether the list lacks the dev and test targets (`prepare.hold_out_targets`, or no list at all).
        """
        stores = prepared.train_sources, prepared.train_targets
        counts = None if held_out else prepared.target_counts
        return cls(
            data=prepared.digest,
            source_alphabet=prepared.source_alphabet,
            target_alphabet=prepared.target_alphabet,
            language_model=CharacterLanguageModel.learn(
                prepared.targets, len(prepared.target_alphabet), prepared.tempered_counts
            ),
            listed=Counts.of(np.zeros(0, np.uint64) if held_out else fingerprints(prepared.targets), counts),
            neighbourhood=None if held_out else Neighbourhood.of(prepared.targets, POOL),
            **_of_pairs(prepared.train, *stores, prepared.alignment),
        )

    def with_dev(self, prepared: Prepared) -> "FeatureExtractor":
        """The same features from the pairs of train and dev together. Symbols that only dev has stay unknown."""
        both = prepared.with_dev()
        return replace(self, **_of_pairs(both.train, both.train_sources, both.train_targets, both.alignment))

    def without_list(self) -> "FeatureExtractor":
        """The same features that do not ask which targets are listed, and add no candidate that is listed alone."""
        return replace(self, listed=Counts.of(np.zeros(0, np.uint64)), neighbourhood=None)

    def save(self, folder: Path) -> None:
        """Write arrays and metadata into a folder; the same features give identical bytes."""
        folder.mkdir(parents=True, exist_ok=True)
        save_alphabets(folder, self.source_alphabet, self.target_alphabet)
        save_arrays(
            folder / ARRAYS,
            pairs=self.pairs,
            paired_sources=self.paired_sources,
            paired_targets=self.paired_targets,
            language_model=self.language_model.levels,
            channel=self.channel,
            listed=self.listed,
            neighbourhood=self.neighbourhood.store if self.neighbourhood else (),
        )
        content = {
            "data": self.data,
            "length_ratio": self.length_ratio,
            "targets_of_source": self.targets_of_source,
        }
        text = json.dumps({**content, DIGEST: _digest(content, folder)}, ensure_ascii=False, indent=0)
        (folder / FEATURES_METADATA).write_text(text + "\n", encoding="utf-8", newline="\n")

    @classmethod
    def load(cls, folder: Path = TO_PREDICT) -> "FeatureExtractor":
        """Read what `save` wrote; raises `UserError` where a file is missing or a bit of one has changed."""
        try:
            content = json.loads((folder / FEATURES_METADATA).read_bytes().decode())
            if content.pop(DIGEST, None) != _digest(content, folder):
                raise ValueError("their content is not what this version writes")
            parts = load_arrays(folder / ARRAYS)
            source_alphabet, target_alphabet = load_alphabets(folder)
            return cls(
                **content,
                source_alphabet=source_alphabet,
                target_alphabet=target_alphabet,
                pairs=Counts(**parts["pairs"]),
                paired_sources=Counts(**parts["paired_sources"]),
                paired_targets=Counts(**parts["paired_targets"]),
                language_model=CharacterLanguageModel.of_levels(parts["language_model"], len(target_alphabet)),
                channel=Channel.of_arrays(**parts["channel"]),
                listed=Counts(**parts["listed"]),
                neighbourhood=Neighbourhood(StringStore(**near)) if (near := parts.get("neighbourhood")) else None,
            )
        except DAMAGE as error:
            raise UserError(f"{folder} is missing or damaged ({error}): run `dvc repro features`") from error

    def further_candidates(self, sources: Sequence[str], n_best: NBest, count: int) -> list[list[str]]:
        """Candidates that the search did not write, to be scored by the network as well.

        The targets that the pairs give this very source; the source itself, where it is listed; and of the listed
        targets at most `NEAR` edits from some candidate and `NEAR_BEST` from the best, the `count` by which the channel
        most likely gives the source.
        """
        lists = {source: row for source, row in zip(sources, n_best, strict=True) if row}
        further = {source: list(self.targets_of_source.get(source, ())) for source in lists}
        if self.neighbourhood is not None:
            different = list(lists)
            listed = self.listed[fingerprints(StringStore.of(different, self.target_alphabet))] > 0
            likely = self._likeliest(different, self.neighbourhood, list(lists.values()), count)
            for source, is_listed, rows in zip(different, listed, likely, strict=True):
                further[source] += [source] if is_listed else []
                further[source] += map(self.target_alphabet.decode, self.neighbourhood.store.padded(rows).tolist())
        written = {source: {candidate.text for candidate in row} for source, row in lists.items()}
        return [
            [text for text in dict.fromkeys(further.get(source, ())) if text not in written[source]]
            for source in sources
        ]

    def features(self, sources: Sequence[str], n_best: NBest) -> FeatureMatrix:
        """The features `FEATURES` of every candidate; every source needs at least one."""
        sizes = [len(row) for row in n_best]
        if not all(sizes):
            raise ValueError(f"source {sizes.index(0)} has no candidate")
        offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        list_of = np.repeat(np.arange(len(sizes)), sizes)
        source_strings = [sources[row] for row in list_of.tolist()]
        texts = [candidate.text for row in n_best for candidate in row]
        logs = np.array([candidate.log_probability for row in n_best for candidate in row])
        source_ids = StringStore.of(source_strings, self.source_alphabet)
        ids = StringStore.of(texts, self.target_alphabet)
        source_lengths, lengths = np.diff(source_ids.offsets), np.diff(ids.offsets)
        source_keys, keys = fingerprints(source_ids), fingerprints(ids)
        model = _floored(logs, offsets, MODEL_RANGE)
        channel = _floored(self.channel.log_probabilities(source_ids, ids), offsets, CHANNEL_RANGE)
        language = self.language_model.log_probabilities(ids)
        listed, trained, pairs = self.listed[keys], self.paired_targets[keys], self.pairs[_paired(source_keys, keys)]
        edits = self._edits(source_ids, ids)
        columns = {
            "log_probability": model,
            "log_probability_per_symbol": model / (lengths + 1),
            "listed": listed > 0,
            "list_count": np.log(np.maximum(listed, 1)),
            "trained": trained > 0,
            "train_count": np.log(np.maximum(trained, 1)),
            "language_model": language,
            "language_model_per_symbol": language / (lengths + 1),
            "channel": channel,
            "channel_per_symbol": channel / (source_lengths + 1),
            "pair_count": np.log1p(pairs),
            "pair_share": pairs / np.maximum(self.paired_sources[source_keys], 1),
            "source_count": np.log1p(self.paired_sources[source_keys]),
            "edits": edits,
            "edits_per_symbol": edits / np.maximum(np.maximum(source_lengths, lengths), 1),
            "unchanged": np.array([a == b for a, b in zip(source_strings, texts, strict=True)]),
            "length": lengths,
            "length_ratio": np.abs(_length_ratio(source_lengths, lengths) - self.length_ratio),
        }
        return FeatureMatrix(np.column_stack([columns[name] for name in FEATURES]).astype(np.float64), offsets)

    def _edits(self, source_ids: StringStore, ids: StringStore) -> Reals:
        same = same_symbols(self.source_alphabet, self.target_alphabet)
        if not same.any():
            return np.zeros(len(ids))
        new = len(self.source_alphabet) + np.arange(len(same))  # of symbols that the sources do not have
        in_source_ids = StringStore(np.where(same > 0, same, new)[ids.ids], ids.offsets)
        pairs = zip(comparable(source_ids), comparable(in_source_ids), strict=True)
        return np.array([Levenshtein.distance(source, target) for source, target in pairs], dtype=np.float64)

    def _likeliest(
        self, sources: Sequence[str], listed: Neighbourhood, n_best: NBest, count: int
    ) -> Iterator[Integers]:
        """For each source the `count` rows near its candidates by which the channel most likely gives it."""
        candidates = StringStore.of([one.text for row in n_best for one in row], self.target_alphabet)
        offsets = np.cumsum([0, *map(len, n_best)])
        near = listed.near(candidates, offsets, NEAR, NEAR_BEST)
        sizes = [len(rows) for rows in near]
        source_ids = StringStore.of(sources, self.source_alphabet).take(np.repeat(np.arange(len(near)), sizes))
        targets = listed.store.take(np.concatenate([*near, np.zeros(0, dtype=np.int64)]))
        scores = self.channel.log_probabilities(source_ids, targets)
        for rows, some in zip(near, np.split(scores, np.cumsum(sizes)[:-1]), strict=True):
            yield rows[np.argsort(-some, kind="stable")[:count]]


def _of_pairs(
    examples: Sequence[Example], sources: StringStore, targets: StringStore, alignment: Alignment
) -> dict[str, Any]:
    """What pairs say, by the names of the extractor's fields. sources, targets: of the examples, row-aligned."""
    source_keys, target_keys = fingerprints(sources), fingerprints(targets)
    by_source: dict[str, Counter[str]] = {}
    for example in examples:
        by_source.setdefault(example.source, Counter())[example.target] += 1
    return {
        "pairs": Counts.of(_paired(source_keys, target_keys)),
        "paired_sources": Counts.of(source_keys),
        "paired_targets": Counts.of(target_keys),
        "targets_of_source": {source: [text for text, _ in row.most_common()] for source, row in by_source.items()},
        "length_ratio": float(np.mean(_length_ratio(np.diff(sources.offsets), np.diff(targets.offsets)))),
        "channel": Channel.learn(sources, targets, alignment),
    }


def _digest(content: Mapping[str, Any], folder: Path) -> str:
    files = "".join(file_digest(folder / name) for name in FILES)
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode() + files.encode()).hexdigest()


def _paired(source_keys: NDArray[np.uint64], target_keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """One fingerprint for both."""
    return source_keys * np.uint64(3) ^ target_keys


def _length_ratio(source_lengths: Integers, lengths: Integers) -> Reals:
    return np.log((lengths + 1) / (source_lengths + 1))


def _floored(scores: Reals, offsets: Integers, depth: float) -> Reals:
    """Scores no more than `depth` below the best of their list; 0 where all of a list are -inf."""
    best = np.maximum.reduceat(scores, offsets[:-1])
    best = np.repeat(np.where(np.isfinite(best), best, depth), np.diff(offsets))
    return np.maximum(scores, best - depth)
