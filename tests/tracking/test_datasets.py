"""The data sets of a run."""

import hashlib
from pathlib import Path

from pipeline.tracking.runs import data_sets


def test_each_has_its_rows_its_use_and_a_digest_of_its_content(tmp_path: Path) -> None:
    contents = {
        "train.tsv": "a\tb\nc\td\n",
        "targets.txt": "b\nd\ne\n",
        "dev.tsv": "f\tg\n",
        "test.tsv": "h\ti\tj\nk\tl\nm\tn\no\tp\n",
    }
    for name, text in contents.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    found = list(data_sets(tmp_path))
    assert [(data.path.name, data.rows, data.context) for data in found] == [
        ("train.tsv", 2, "training"),
        ("targets.txt", 3, "training"),
        ("dev.tsv", 1, "validation"),
        ("test.tsv", 4, "testing"),
    ]
    assert found[1].columns == ("target",)
    assert found[0].digest == hashlib.sha256(b"a\tb\nc\td\n").hexdigest()[:16]
