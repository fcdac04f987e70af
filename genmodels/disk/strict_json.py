"""JSON that every program reads: numbers that are not finite, which it has none of, are the texts nan, inf and -inf."""

import json
from math import isfinite
from typing import Any

NOT_FINITE = ("nan", "inf", "-inf")  # what `float` reads again


def dumps(found: Any, **layout: Any) -> str:
    """Plain containers, texts and numbers as JSON, laid out as `json.dumps` is told to."""
    return json.dumps(_finite(found), allow_nan=False, **layout)


def _finite(found: Any) -> Any:
    if isinstance(found, dict):
        return {key: _finite(value) for key, value in found.items()}
    if isinstance(found, list | tuple):
        return [_finite(value) for value in found]
    return str(found) if isinstance(found, float) and not isfinite(found) else found
