"""What a store holds of a comparison: its runs, known by their tags."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.hashing import digest_of
from pipeline.runs.folders import METADATA

# Tags of a run: its comparison, what it is (`PARENT` or `CHILD`), which child; the digest of the training that it
# shows; set last, the digest of all that was published of it; and, on one that was made from files, REUSED.
COMPARISON, KIND, STRATEGY, SEED = "tandem.comparison", "tandem.kind", "tandem.strategy", "tandem.seed"
TRAINED, PUBLISHED, REUSED = "tandem.trained", "tandem.published", "tandem.reused"
PARENT, CHILD = "comparison", "run"


@dataclass(frozen=True)
class StoredRun:
    """A run in a store that is not deleted."""

    run_id: str
    status: str
    tags: Mapping[str, str]
    has_artifacts: bool

    def shows(self, digest: str) -> bool:
        """Whether everything with that digest was published there."""
        return self.status == "FINISHED" and self.tags.get(PUBLISHED) == digest and self.has_artifacts

    def was_trained_as(self, digest: str) -> bool:
        """Whether it shows the whole of the training with that digest."""
        return self.status == "FINISHED" and self.tags.get(TRAINED) == digest

    @property
    def child(self) -> tuple[str, int]:
        """Strategy and seed of a child."""
        return self.tags.get(STRATEGY, ""), int(self.tags.get(SEED, -1))


def training_digest(folder: Path) -> str:
    """What tells the training in a run folder from any other, of the same parameters too: it spent other seconds."""
    return digest_of([folder / METADATA])
