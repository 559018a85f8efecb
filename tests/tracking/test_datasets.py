"""The data sets of a run."""

import hashlib
import json
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
    found = data_sets(tmp_path)
    shown = [(Path(json.loads(data.dataset.source)["uri"]).name, data.tags[0].value) for data in found]
    assert shown == [
        ("train.tsv", "training"),
        ("targets.txt", "training"),
        ("dev.tsv", "validation"),
        ("test.tsv", "testing"),
    ]
    assert [json.loads(str(data.dataset.profile))["num_rows"] for data in found] == [2, 3, 1, 4]
    (column,) = json.loads(str(found[1].dataset.schema))["mlflow_colspec"]
    assert column == {"type": "string", "name": "target", "required": True}
    assert found[0].dataset.digest == hashlib.sha256(b"a\tb\nc\td\n").hexdigest()[:16]
    assert [data.tags[0].value for data in data_sets(tmp_path, "reranking")][1] == "reranking"
