"""JSON that every program can read: numbers that are not finite are written as the texts nan, inf and -inf."""

import json
from math import isfinite
from typing import Any

NOT_FINITE = ("nan", "inf", "-inf")  # `float` can parse them


def dumps(found: Any, **layout: Any) -> str:
    """Plain containers, texts and numbers as JSON; `layout` are keywords of `json.dumps`."""
    return json.dumps(_finite(found), allow_nan=False, **layout)


def _finite(found: Any) -> Any:
    if isinstance(found, dict):
        return {key: _finite(value) for key, value in found.items()}
    if isinstance(found, list | tuple):
        return [_finite(value) for value in found]
    return str(found) if isinstance(found, float) and not isfinite(found) else found
