"""The name of a job's directory in a sweep: its number and the overrides that differ between jobs."""

import re
from collections.abc import Sequence

from genmodels.config.shipped import CONFIGS
from genmodels.report.differences import short

MAX_CHARACTERS = 80  # characters of the overrides in a name


def directory_name(number: int, overrides: Sequence[str], name: str) -> str:
    """Such as "3_vae_lr-0.001_seed-1": readable and valid in a path; `name` stands for missing overrides."""
    pairs = [override.lstrip("+~").partition("=")[::2] for override in overrides]
    words = [_word(key, value, [other for other, _ in pairs]) for key, value in pairs] or [name]
    plain = re.sub(r"[^A-Za-z0-9_.+-]+", "-", "_".join(words)).strip("-.")
    return f"{number}_{plain[:MAX_CHARACTERS].rstrip('-._')}"


def _word(key: str, value: str, others: Sequence[str]) -> str:
    """The name of a group's option; for other keys, the end of the key with the value."""
    if (CONFIGS / key).is_dir():
        return value
    try:
        value = f"{float(value):.4g}"
    except ValueError:
        value = value.strip("'\"[]{}")
    return f"{short(key, others)}-{value}"
