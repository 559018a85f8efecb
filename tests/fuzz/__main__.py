"""Fuzz one target for some seconds: `python -m tests.fuzz rows --seconds 60`. Ends at the first finding."""

import argparse
import logging
import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import atheris

with atheris.instrument_imports(include=["pipeline", "ruamel.yaml"]):
    from tests.fuzz.targets import Targets


def main() -> None:
    """Run libFuzzer on a target, from the nasty inputs."""
    parser = argparse.ArgumentParser(description=__doc__)
    with TemporaryDirectory() as place:
        targets = Targets(Path(place) / "work")
        parser.add_argument("target", choices=targets.by_name)
        parser.add_argument("--seconds", type=int, default=60)
        parser.add_argument("--seed", type=int, default=1)
        options = parser.parse_args()
        logging.disable(logging.WARNING)
        targets.set_up(options.target)
        corpus = Path(place) / "corpus"
        corpus.mkdir()
        for number, seed in enumerate(targets.seeds(options.target)):
            (corpus / str(number)).write_bytes(seed)
        limits = [f"-max_total_time={options.seconds}", f"-seed={options.seed}", "-max_len=16384", "-timeout=20"]
        artifacts = [f"-artifact_prefix={Path(place).parent}/tandem-fuzz-{options.target}-"]
        atheris.Setup(
            [sys.argv[0], str(corpus), *limits, *artifacts, "-rss_limit_mb=6000"], targets.by_name[options.target]
        )
        atheris.Fuzz()


if __name__ == "__main__":
    main()
