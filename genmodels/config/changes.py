"""What differs between two configs."""

from collections.abc import Mapping
from typing import Any


def changes(before: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> dict[str, list]:
    """Every dotted key whose value differs: [before, now]; None: no value. A whole part is shown as its class."""
    found: dict[str, list] = {}
    for key in sorted({*before, *now}):
        old, new = before.get(key), now.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            found |= changes(old, new, f"{prefix}{key}.")
        elif old != new:
            found[f"{prefix}{key}"] = [_class_of(old), _class_of(new)]
    return found


def _class_of(value: Any) -> Any:
    return value.get("_target_") if isinstance(value, Mapping) else value
