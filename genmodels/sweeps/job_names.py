"""What the directory of a sweep's job is called: its number and what tells it from the others."""

import re
from collections.abc import Sequence

from genmodels.config.shipped import CONFIGS
from genmodels.report.differences import short

LONGEST = 80  # characters of what differs


def directory_name(number: int, overrides: Sequence[str], name: str) -> str:
    """Such as "3_vae_lr-0.001_seed-1": readable, and safe in a path; `name` where nothing differs."""
    pairs = [override.lstrip("+~").partition("=")[::2] for override in overrides]
    words = [_word(key, value, [other for other, _ in pairs]) for key, value in pairs] or [name]
    plain = re.sub(r"[^A-Za-z0-9_.+-]+", "-", "_".join(words)).strip("-.")
    return f"{number}_{plain[:LONGEST].rstrip('-._')}"


def _word(key: str, value: str, others: Sequence[str]) -> str:
    """An option of a group by its name, anything else with the end of its key."""
    if (CONFIGS / key).is_dir():
        return value
    try:
        value = f"{float(value):.4g}"
    except ValueError:
        value = value.strip("'\"[]{}")
    return f"{short(key, others)}-{value}"
