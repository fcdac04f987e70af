"""The user's cache directory, for data that are computed once and kept for all runs."""

import os
from pathlib import Path


def cache_dir() -> Path:
    """GENMODELS_CACHE, or genmodels/ in XDG_CACHE_HOME or in ~/.cache."""
    if own := os.environ.get("GENMODELS_CACHE"):
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "genmodels"
