"""genmodels benchmark: speed of pieces of work, as ratios to the simplest code that does the same."""

import sys
from importlib import import_module

from genmodels.config.shipped import CONFIGS
from genmodels.errors import UserError


def run(argv: list[str]) -> int:
    """Times the named benchmarks, or all; they are in a clone of the repository, not in the installed package."""
    clone = CONFIGS.parent
    if not (clone / "benchmarks").is_dir():
        raise UserError("the benchmarks are not installed; run make bench in a clone of the repository")
    sys.path.insert(0, str(clone))
    return import_module("benchmarks.timing").run(argv)
