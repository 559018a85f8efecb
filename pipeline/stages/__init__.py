"""The DVC stages: each reads files, calls the package and writes files."""

import argparse
import signal
import sys


def seed_argument(description: str | None) -> int:
    """The seed that a training stage was called with; from now on SIGTERM ends it as Ctrl-C does, cleaning up."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--seed", type=int, required=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    return int(parser.parse_args().seed)
