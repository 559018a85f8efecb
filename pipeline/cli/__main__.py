"""`python -m pipeline.cli` is the command `tandem`."""

from pipeline.cli import main

main()
