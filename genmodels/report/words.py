"""How numbers, times and protocols are written for people."""

from collections.abc import Iterator, Mapping
from math import floor, isfinite, log10
from typing import Any

from genmodels.report.seeds import Spread

MOST_PLACES = 4  # of numbers above 1
PHRASES = {  # what a protocol says in short, in this order
    "bound": "{}",
    "draws": "draws {}",
    "n_generated": "{} samples",
    "sampler": "by {}",
    "sampler_steps": "{} steps",
    "reference": "against {}",
    "features": "in the features of {}",
    "batch": "batches of {}",
    "hardware": "on {}",
    "weights": "{} weights",
    "note": "{}",
}


def plural(n: int, noun: str) -> str:
    """ "1 run", "2 runs"."""
    return f"{n} {noun}{'' if n == 1 else 's'}"


def number(x: float | None) -> str:
    """Four significant digits; nothing for None."""
    if x is None:
        return ""
    if 1000 <= abs(x) < 1e6:
        return f"{x:.0f}" if abs(x) >= 10_000 else f"{x:.1f}"
    return f"{x:.4g}"


def mean_and_spread(spread: Spread | None) -> str:
    """Such as "84.12 ± 0.31", the mean to as many places as the spread's two digits."""
    return "" if spread is None else with_spread(spread.mean, spread.std)


def with_spread(mean: float, std: float | None) -> str:
    """Likewise, of two numbers."""
    if not std or not isfinite(mean) or not isfinite(std):
        return number(mean)
    places = max(0, 1 - floor(log10(std)))
    if abs(mean) >= 1:
        places = min(places, MOST_PLACES)
    return f"{mean:.{places}f} ± {std:.{places}f}"


def shown(metric: str) -> str:
    """A metric as a heading; the split of a test is not said."""
    return metric.removeprefix("test/")


def duration(seconds: float | None) -> str:
    """ "36 s", "2 min 04 s", "17 h 05 min"; nothing for None."""
    if seconds is None:
        return ""
    minutes, hours = divmod(round(seconds), 60), divmod(round(seconds) // 60, 60)
    if hours[0]:
        return f"{hours[0]} h {hours[1]:02d} min"
    return f"{minutes[0]} min {minutes[1]:02d} s" if minutes[0] else f"{minutes[1]} s"


def in_short(protocol: Mapping[str, Any]) -> str:
    """What matters most of how something was measured: "1,000 samples, against digits/train, ..."."""
    there = {key: grouped(protocol[key]) for key in PHRASES if protocol.get(key) is not None}
    if "reference" in there and protocol.get("n_reference") is not None:
        there["reference"] += f" ({grouped(protocol['n_reference'])})"
    phrases = PHRASES | ({"reference": "on {}"} if "bound" in protocol else {})
    return ", ".join(phrases[key].format(text) for key, text in there.items())


def grouped(v: Any) -> str:
    """A value as text, a large integer with commas."""
    return f"{v:,}" if isinstance(v, int) and not isinstance(v, bool) else str(v)


def lines(protocol: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """All that a protocol says, as pairs of texts; what is nested has dotted keys."""
    for key, v in protocol.items():
        if isinstance(v, dict):
            yield from lines(v, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", "null" if v is None else str(v)
