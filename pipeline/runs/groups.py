"""The folder models/rerank: a reranker for every run and every ensemble, and what all of them were fitted with.

Networks are left to `networks`: what only names or copies files needs no tensorflow.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from pydantic import ConfigDict, TypeAdapter
from pydantic.dataclasses import dataclass as checked_dataclass

from pipeline.config.params import Decoding, Params
from pipeline.errors import UserError
from pipeline.runs.folders import MODELS, RunMetadata, run_folder

RERANKERS = MODELS / "rerank"
ENSEMBLE = "ensemble"
METADATA = "record.json"


@checked_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class RerankMetadata:
    """record.json: what the rerankers were fitted with, and thus are good for.

    data: digest of the prepared data. seeds: those of every ensemble. held_out: as in `Evidence.learn`.
    """

    data: str
    seeds: tuple[int, ...]
    held_out: bool
    decoding: Decoding

    @classmethod
    def load(cls, folder: Path = RERANKERS) -> "RerankMetadata":
        """Read what `save` wrote; raises `UserError` for anything else."""
        try:
            return TypeAdapter(cls).validate_json((folder / METADATA).read_bytes())
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "its content is not that of this version"
            raise UserError(f"{folder / METADATA} cannot be used ({reason}): run `dvc repro`") from error

    def save(self, folder: Path = RERANKERS) -> None:
        """Write the record."""
        content = TypeAdapter(RerankMetadata).dump_python(self, mode="json")
        (folder / METADATA).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


@dataclass(frozen=True)
class RunGroup:
    """What predicts: a run of a strategy, or several seeds of it as an ensemble."""

    strategy: str
    seeds: tuple[int, ...]

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
        """Where its reranker is kept."""
        return RERANKERS / self.strategy / f"{self.name}.json"

    @property
    def predictions(self) -> Path:
        """Where its predictions for the test set stand, below the folder of reports."""
        return Path("predictions") / f"{self.strategy}-{self.name}.tsv"

    def records(self, data: str) -> list[RunMetadata]:
        """What each run spent and reached; raises `UserError` if one was not trained on the data of that digest."""
        records = []
        for seed in self.seeds:
            folder = run_folder(self.strategy, seed)
            metadata = RunMetadata.load(folder)
            if metadata.data != data:
                raise UserError(f"{folder} was trained on other data than data/prepared now holds: run `dvc repro`")
            records.append(metadata)
        return records

    def rerank_metadata(self, data: str) -> RerankMetadata:
        """What its reranker was fitted with; raises `UserError` if that, or a run, is not of the data of a digest."""
        metadata = RerankMetadata.load()
        if metadata.data != data:
            raise UserError(f"{RERANKERS} was made with other data than data/prepared now holds: run `dvc repro`")
        self.records(data)
        return metadata


def single_runs(params: Params) -> list[RunGroup]:
    """Every seed of every strategy, strategy by strategy."""
    return [RunGroup(strategy, (seed,)) for strategy in params.strategies for seed in params.seeds]


def ensembles(params: Params) -> list[RunGroup]:
    """The seeds of each strategy together, if `decoding.ensemble` is on and there are several."""
    wanted = params.decoding.ensemble and len(params.seeds) > 1
    return [RunGroup(strategy, params.seeds) for strategy in params.strategies] if wanted else []
