"""Processors or a GPU: what a process sees before it imports tensorflow, and what is asked of tensorflow there."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline.config.options import DEVICE, Device, Symbols
from pipeline.config.params import ConfigError
from pipeline.data.corpus import Corpus
from pipeline.data.examples import Example
from pipeline.data.prepared import PREPARED, write_prepared
from pipeline.parallel import environment, jobs_for
from tests.conftest import PROJECT, changed_params

ALLOW_GROWTH = "TF_FORCE_GPU_ALLOW_GROWTH"
NO_GPU = "error: training.device is gpu, but tensorflow sees no GPU here"

ASKED = """
import sys, importlib, tensorflow
asked, real = [], tensorflow.config.set_visible_devices
tensorflow.config.set_visible_devices = lambda *arguments: (asked.append(arguments), real(*arguments))
importlib.import_module(sys.argv[1])
print(asked)
"""

LATE = """
import tensorflow
tensorflow.zeros(1)
import pipeline.model.backend
print("imported")
"""

TRAINING = """
from pipeline.errors import explain_user_errors
@explain_user_errors
def main():
    import pipeline.training.trainer
main()
"""

CHILDREN = f"""
import json, os, sys
from pipeline.config.options import Device
from pipeline.parallel import side_by_side

def seen(item):
    names = ("CUDA_VISIBLE_DEVICES", "{ALLOW_GROWTH}", "{DEVICE}")
    forked = "tensorflow" in sys.modules
    yield item, os.getpid(), forked, [os.environ.get(name) for name in names]

if __name__ == "__main__":
    print(json.dumps(list(side_by_side(seen, [1, 2], 1, 1, ["pipeline.model.backend"], Device(sys.argv[1])))))
    print(os.environ["CUDA_VISIBLE_DEVICES"])
"""


def ran(*command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """A fresh process of Python, in which the GPUs 2 and 3 would be visible."""
    kept = {name: value for name, value in os.environ.items() if name not in (DEVICE, ALLOW_GROWTH)}
    seen = kept | {"CUDA_VISIBLE_DEVICES": "2,3", "PYTHONPATH": str(PROJECT)} | variables
    return subprocess.run([sys.executable, *command], env=seen, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("module", ["model.backend", "model.network", "matcher.training", "training.trainer"])
def test_a_process_asks_tensorflow_to_hide_all_gpus(module: str) -> None:
    assert ran("-c", ASKED, f"pipeline.{module}").stdout == "[([], 'GPU')]\n"


def test_a_process_in_which_others_have_computed_already_imports_as_well() -> None:
    assert ran("-c", LATE).stdout == "imported\n"


def test_a_process_that_is_to_train_on_a_gpu_where_there_is_none_ends_with_a_sentence() -> None:
    done = ran("-c", TRAINING, **environment(1, Device.GPU), CUDA_VISIBLE_DEVICES="-1")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith(NO_GPU)


@pytest.mark.parametrize(
    ("device", "forked", "variables"),
    [("cpu", True, ["-1", None, "cpu"]), ("gpu", False, ["2,3", "true", "gpu"])],
)
def test_processes_side_by_side_see_a_gpu_only_if_they_are_to_use_it(
    device: str, forked: bool, variables: list[str | None], tmp_path: Path
) -> None:
    program = tmp_path / "program.py"
    program.write_text(CHILDREN, encoding="utf-8")
    found, after = ran(str(program), device).stdout.splitlines()
    (one, process, *first), (two, same, *second) = json.loads(found)
    assert (one, two, process) == (1, 2, same)  # one after the other
    assert first == second == [forked, variables]
    assert after == "2,3"


@pytest.mark.parametrize("items", [1, 3, 100])
def test_on_a_gpu_there_is_one_training_at_a_time(items: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.parallel.cpu_count", lambda: 8)
    assert jobs_for(items, threads=1, device=Device.GPU) == 1


def test_several_workers_have_no_gpu() -> None:
    with pytest.raises(ConfigError, match=r"training\.workers is 2, but must be 1 with training\.device: gpu"):
        changed_params({"training.device": "gpu", "training.workers": 2})


@pytest.mark.parametrize("device", ["tpu", "GPU", 0, None])
def test_a_device_is_cpu_or_gpu(device: Any) -> None:
    with pytest.raises(ConfigError, match=r"training\.device is .*, but must be 'cpu' or 'gpu'"):
        changed_params({"training.device": device})


def test_a_stage_that_is_to_train_on_a_gpu_where_there_is_none_trains_nothing(project: Path) -> None:
    text = (PROJECT / "params.yaml").read_text(encoding="utf-8")
    (project / "params.yaml").write_text(text.replace("device: cpu", "device: gpu"), encoding="utf-8")
    pairs = [Example("a", "b"), Example("b", "c")]
    write_prepared(
        project / PREPARED, Corpus(pairs, pairs, pairs, ["b"], 0, None, "made up"), *2 * [Symbols.CHARACTERS]
    )
    done = ran("-m", "pipeline.stages.train", "supervised", CUDA_VISIBLE_DEVICES="-1")
    assert done.returncode == 2
    assert NO_GPU in done.stderr
    assert "Traceback" not in done.stderr
    assert not (project / "models").exists()


@pytest.mark.slow
def test_workers_of_ray_see_no_gpu() -> None:
    pytest.importorskip("ray", reason="needs Ray: python -m pip install '.[cluster]'")
    program = """
import os
from pipeline.prediction.engines import run_on_ray
print(*run_on_ray(lambda: os.environ.get, ["CUDA_VISIBLE_DEVICES", "TANDEM_DEVICE"]))
"""
    done = ran("-c", program)
    assert sorted(done.stdout.split()) == ["-1", "cpu"], done.stderr
