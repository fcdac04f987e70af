"""What the name of a metric says: which way is better, and which of a run's records it stands for."""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from genmodels.evaluators.results import Record

HIGHER = ("inception_score", "precision", "recall", "density", "coverage", "elbo_nats", "samples_per_second")
ORDER = (
    *("bits_per_dim", "nll_nats", "elbo_nats"),
    *("fid", "kid", "inception_score", "precision", "density", "recall", "coverage"),
    "samples_per_second",
)
OTHERS = len(ORDER) - 1.5  # where in that order what it does not name stands
CHANCE = ("seed", "standard_error", "world_size", "step")  # of a protocol: what tells no two ways of measuring apart
COMPARED = (  # of a protocol: what two results must share to be laid side by side
    *("reference", "reference_fingerprint", "reference_prepared", "features", "features_sha256", "resize"),
    *("device", "hardware", "threads"),
)


def direction(metric: str) -> Literal["min", "max"]:
    """Which way a metric such as "test/fid_classifier_1k" or "val/nll_nats" is better; losses are better low."""
    return "max" if any(_is(metric, kind) for kind in HIGHER) else "min"


def better(metric: str, value: float) -> float:
    """A number that is smaller the better the value is."""
    return value if direction(metric) == "min" else -value


def keys(records: Iterable[Record]) -> list[str]:
    """The names of all records, each once: likelihoods, then quality, then diversity, then others, speed last."""
    names = dict.fromkeys(record.key for record in records)
    return sorted(names, key=lambda name: next((i for i, kind in enumerate(ORDER) if _is(name, kind)), OTHERS))


def _is(metric: str, kind: str) -> bool:
    name = metric.rpartition("/")[2]
    return name == kind or name.startswith(f"{kind}_")


def chosen(records: Iterable[Record], metric: str) -> Record | None:
    """The record that stands for a metric: of the newest step, and there the first, which training itself measured."""
    found = [record for record in records if record.key == metric]
    newest = max((_step(record) for record in found), default=0)
    return next((record for record in found if _step(record) == newest), None)


def _step(record: Record) -> float:
    step = record.protocol.get("step")
    return step if isinstance(step, int | float) else -1


def way(record: Record) -> dict[str, Any]:
    """How a record was measured: its protocol without what chance or the machine gives."""
    return {key: value for key, value in record.protocol.items() if key not in CHANCE}


def comparable(protocol: Mapping[str, Any]) -> dict[str, Any]:
    """The reference, the features it was seen in, and where time was taken, as far as a protocol has them."""
    return {key: protocol[key] for key in COMPARED if key in protocol}
