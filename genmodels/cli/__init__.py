"""The command line: `genmodels COMMAND overrides...`, and the same as `python scripts/COMMAND.py overrides...`."""

from genmodels.cli.main import main

__all__ = ["main"]
