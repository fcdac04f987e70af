"""Numbers, durations, values and protocols as texts for people."""

import re
from collections.abc import Iterator, Mapping
from math import floor, isfinite, log10
from typing import Any

from genmodels.console import PROTOCOL_KEYS

MOST_PLACES = 4  # decimal places, of numbers above 1
FRACTION = re.compile(r"-?\d+\.\d+(e[+-]?\d+)?")
HASHED = re.compile(r"[0-9a-f]{32,}")
SHOWN_OF_HASH = 12  # characters


def plural(n: int, noun: str) -> str:
    """ "1 run", "2 runs"."""
    return f"{n} {noun}{'' if n == 1 else 's'}"


def four_digits(x: float) -> str:
    """A number with four significant digits; a large one without decimals."""
    if 1000 <= abs(x) < 1e6:
        return f"{x:.0f}" if abs(x) >= 10_000 else f"{x:.1f}"
    return f"{x:.4g}"


def with_spread(mean: float, std: float | None) -> str:
    """Such as "84.12 ± 0.31": two digits of the spread, and the mean with as many places."""
    if not std or not isfinite(mean) or not isfinite(std):
        return four_digits(mean)
    places = max(0, 1 - floor(log10(std)))
    if abs(mean) >= 1:
        places = min(places, MOST_PLACES)
    return f"{mean:.{places}f} ± {std:.{places}f}"


def duration(seconds: float | None) -> str:
    """In the largest unit that leaves a number above 1: "36 s", "2.1 min", "17.1 h"; "unknown" for None."""
    if seconds is None:
        return "unknown"
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s"


def brief(v: Any) -> str:
    """A value in short: a fraction with six digits, also one that is a text; only the beginning of a hash."""
    if isinstance(v, float) or (isinstance(v, str) and FRACTION.fullmatch(v)):
        return str(float(f"{float(v):.6g}"))
    if isinstance(v, str) and HASHED.fullmatch(v):
        return v[:SHOWN_OF_HASH]
    return "null" if v is None else str(v)


def settings_in_words(settings: Mapping[str, Any]) -> list[str]:
    """Such as ["lr=0.001", "width=8"]."""
    return [f"{key}={brief(v)}" for key, v in settings.items()]


def dotted(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The values of nested mappings, such as a config, with their dotted keys; a list is a value."""
    for key, child in node.items():
        if isinstance(child, Mapping):
            yield from dotted(child, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", child


def in_full(protocol: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The whole protocol, as pairs of texts."""
    return [(key, "null" if v is None else str(v)) for key, v in dotted(protocol)]


def in_short(protocol: Mapping[str, Any]) -> str:
    """The most important keys of a protocol: "reference digits/train, n_reference 1297, ..."."""
    return ", ".join(f"{key} {brief(protocol[key])}" for key in PROTOCOL_KEYS if protocol.get(key) is not None)


def is_web(link: str) -> bool:
    """Whether this is a web address, to which a page may link."""
    return re.fullmatch(r"https?://[^\s()<>\[\]]+", link) is not None
