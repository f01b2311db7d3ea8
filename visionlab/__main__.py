"""``python -m visionlab`` is the command line, for use under ``torchrun``."""

from visionlab.cli import main

main()
