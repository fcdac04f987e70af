"""genmodels benchmark: how fast pieces of work are, as ratios to the plainest code that does the same."""

import sys
from importlib import import_module

from genmodels.config.shipped import CONFIGS
from genmodels.errors import UserError


def run(argv: list[str]) -> int:
    """Times the works that are named, or all of them; they are part of a clone, and not of the installed package."""
    clone = CONFIGS.parent
    if not (clone / "benchmarks").is_dir():
        raise UserError("the benchmarks are not installed; run make bench in a clone of the repository")
    sys.path.insert(0, str(clone))
    return import_module("benchmarks.timing").run(argv)
