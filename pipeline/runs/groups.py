"""Groups of runs, and the folder models/rerank/STRATEGY: a reranker for each group, and what all were fitted with."""

import json
from pathlib import Path
from statistics import fmean
from typing import Any, ClassVar

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from pipeline.config.params import Decoding, Params, flatten
from pipeline.errors import UserError
from pipeline.hashing import joined
from pipeline.runs import folders
from pipeline.runs.folders import MODELS, PRETRAIN, JsonFile, RunMetadata, run_folder

RERANKERS = MODELS / "rerank"
ENSEMBLE = "ensemble"
RERANK_METADATA = "metadata.json"
MAX_SYMBOLS = 1_000  # of a source that a predictor in models/ takes


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class RerankMetadata(JsonFile):
    """metadata.json: what the rerankers of a strategy were fitted with, and how they predict unless asked otherwise.

    data: digest of the prepared data. networks: digest of each seed's run, `RunMetadata.content`. max_symbols: of a
    source; a bundle has `prepare.max_symbols`.
    """

    FILE: ClassVar[str] = RERANK_METADATA

    data: str
    networks: dict[int, str]
    decoding: Decoding
    max_symbols: int = MAX_SYMBOLS

    @property
    def seeds(self) -> tuple[int, ...]:
        """All seeds, those of the ensemble."""
        return tuple(sorted(self.networks))

    @classmethod
    def of(cls, strategy: str, params: Params, data: str) -> "RerankMetadata":
        """Metadata for rerankers fitted now; raises `UserError` if a run was not trained on the data of that digest."""
        runs = RunGroup(strategy, params.seeds).run_metadata(data)
        return cls(data, {run.seed: run.content for run in runs}, params.decoding)


@dataclass(frozen=True)
class RunGroup:
    """A run of a strategy, or several seeds of it as an ensemble."""

    strategy: str
    seeds: tuple[int, ...]

    @classmethod
    def choose(cls, strategy: str | None = None, seed: int | None = None, ensemble: bool = False) -> "RunGroup":
        """A group of the runs in models/; raises `UserError` if there is none such.

        Defaults: the strategy that is best on dev, greedily and on average over its seeds; of these the best one.
        """
        accuracies = {
            (path.parts[-3], int(path.parts[-2])): RunMetadata.load(path.parent).dev_word_accuracy
            for path in MODELS.glob(f"*/*/{folders.METADATA}")
            if path.parts[-3] != PRETRAIN
        }
        runs = sorted(accuracies, key=lambda run: (-accuracies[run], run))
        trained = dict.fromkeys(name for name, _ in runs)
        means = {name: fmean(accuracies[run] for run in runs if run[0] == name) for name in trained}
        strategy = strategy or max(means, key=lambda name: means[name], default="tandem")
        seeds = [trained_seed for name, trained_seed in runs if name == strategy]
        if not seeds:
            existing = ", ".join(sorted(trained)) or "none"
            raise UserError(
                f"no trained run of strategy '{strategy}' in {MODELS} (trained: {existing}): run `dvc repro`"
            )
        if ensemble:
            try:
                return cls(strategy, RerankMetadata.load(RERANKERS / strategy).seeds)
            except UserError:
                return cls(strategy, tuple(sorted(seeds)))
        if seed not in (None, *seeds):
            existing = ", ".join(map(str, sorted(seeds)))
            raise UserError(f"no run of strategy '{strategy}' with seed {seed} in {MODELS} (trained: {existing})")
        return cls(strategy, (seeds[0] if seed is None else seed,))

    @property
    def is_ensemble(self) -> bool:
        """Whether probabilities of several runs are averaged."""
        return len(self.seeds) > 1

    @property
    def name(self) -> str:
        """The seed, or `ensemble`."""
        return ENSEMBLE if self.is_ensemble else str(self.seeds[0])

    @property
    def reranker(self) -> Path:
        """The file with its reranker; metadata.json stands beside it."""
        return RERANKERS / self.strategy / f"{self.name}.json"

    @property
    def predictions(self) -> Path:
        """The file with its predictions for the test set, below the folder of reports."""
        return Path("predictions") / f"{self.strategy}-{self.name}.tsv"

    def run_metadata(self, data: str) -> list[RunMetadata]:
        """Metadata of each run; raises `UserError` if one was not trained on the data of that digest."""
        places = [run_folder(self.strategy, seed) for seed in self.seeds]
        runs = {folder: RunMetadata.load(folder) for folder in places}
        for folder, run in runs.items():
            if run.data != data:
                raise UserError(f"{folder} was trained on other data than data/prepared now holds: run `dvc repro`")
        return list(runs.values())

    def rerank_metadata(self) -> RerankMetadata:
        """Metadata of its reranker; raises `UserError` if that was fitted with other networks than models/ holds."""
        folder = self.reranker.parent
        metadata = RerankMetadata.load(folder)
        for seed in self.seeds:
            run = RunMetadata.load(run_folder(self.strategy, seed))
            if (run.data, run.content) != (metadata.data, metadata.networks.get(seed)):
                raise UserError(f"{folder} was fitted with other networks than those in {MODELS}: run `dvc repro`")
        return metadata


def single_runs(params: Params) -> list[RunGroup]:
    """Every seed of every strategy, strategy by strategy."""
    return [RunGroup(strategy, (seed,)) for strategy in params.strategies for seed in params.seeds]


def ensembles(params: Params) -> list[RunGroup]:
    """The seeds of each strategy together, if `decoding.ensemble` is on and there are several."""
    wanted = params.decoding.ensemble and len(params.seeds) > 1
    return [RunGroup(strategy, params.seeds) for strategy in params.strategies] if wanted else []


def decisive_parameters(params: Params) -> dict[str, Any]:
    """The parameters, by dotted name, that decide a comparison on prepared data, whose digest shows most others."""
    left_out, kept = ("data.", "prepare.", "checkpoints.", "tracking."), "prepare.hold_out_targets"  # decides features
    return {name: value for name, value in flatten(params).items() if name == kept or not name.startswith(left_out)}


def comparison_key(params: Params, data_digest: str) -> str:
    """Digest of the inputs of a comparison: its parameters and the prepared data, but no code."""
    return joined(json.dumps(decisive_parameters(params), sort_keys=True), data_digest)
