"""A result and its protocol, which says on what the number was measured and how."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

Mode = Literal["min", "max"]  # whether lower or higher is better
BETTER: dict[Mode | None, str] = {"min": " ↓", "max": " ↑", None: ""}  # the mode as an arrow after a name in a table
Progress = Callable[[str, int, int], None]  # (stage, samples done, samples in total)


def silent(stage: str, done: int, total: int) -> None:
    """Shows nothing."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """One result, as in results.json.

    `std` is the standard deviation over draws or folds, None without these. `protocol` holds plain
    values only: numbers, strings, None, and lists or dicts of these.
    """

    metric: str
    split: str
    value: float
    std: float | None
    protocol: dict[str, Any]
    mode: Mode | None = None  # None: the mode of the evaluator, which `by_evaluator` fills in

    @property
    def key(self) -> str:
        """The name in logs, such as "test/bits_per_dim"."""
        return f"{self.split}/{self.metric}"

    def to_dict(self) -> dict[str, Any]:
        """A plain dict with the keys metric, split, value, std, protocol, mode."""
        return asdict(self)

    def at_step(self, step: int) -> "Record":
        """The record with the number of training steps in its protocol."""
        return replace(self, protocol=self.protocol | {"step": step})

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> "Record":
        """The record from `to_dict`, or from a file, where numbers that are not finite are strings.

        Raises TypeError where a key is missing or unknown.
        """
        numbers = {key: float(plain[key]) for key in ("value", "std") if plain.get(key) is not None}
        return cls(**plain | numbers)


def short_count(n: int) -> str:
    """A number of samples as in metric names: 2000 is "2k", 1797 is "1797"."""
    return f"{n // 1000}k" if n >= 1000 and n % 1000 == 0 else str(n)


def metric_name(kind: str, features: str, n: int) -> str:
    """The name of a metric over samples: "fid_classifier_2k", or "fid_2k" for features without a name."""
    return "_".join(part for part in (kind, features, short_count(n)) if part)
