"""What has to be equal when a training is done again."""

import hashlib
from pathlib import Path


def comparable(folder: Path) -> dict[str, str]:
    """The digest of each file of a run folder, by name: nothing in it depends on the clock."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }
