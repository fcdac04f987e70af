"""What a result's name and protocol say: what it may be laid beside, how its samples were drawn, where it stands."""

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, Protocol, TypeVar, runtime_checkable

from genmodels.evaluators.results import Mode, Record

ORDER = (
    *("bits_per_dim", "nll_nats", "elbo_nats"),
    *("conditional_bits_per_dim", "conditional_nll_nats", "conditional_elbo_nats"),
    *("fid", "kid", "inception_score", "precision", "density", "recall", "coverage"),
    "samples_per_second",
)
OTHERS = len(ORDER) - 1.5  # where in that order what it does not name stands
CHANCE = ("seed", "standard_error", "world_size", "step")  # of a protocol: what tells no two ways of measuring apart
BESIDE = (  # of a protocol: what was found beside the number, or changes it by chance only
    *("note", "seeded", "subset_seed"),
    *("features_accuracy", "features_weights", "distance_within_reference"),
)
MODEL = ("weights", "dtype")  # of a protocol: which of a run's models was measured, and in which precision
CONDITIONS = ("labels", "conditions")  # likewise: what its samples were conditioned on
DRAWN = ("sampler", *CONDITIONS)  # likewise, with all that begins so: how it drew its samples


@runtime_checkable
class Measured(Protocol):
    """A result: a record of one run, or the mean over several."""

    @property
    def key(self) -> str:
        """Split and metric, such as "test/bits_per_dim"."""

    @property
    def mode(self) -> Mode | None:
        """Which values are better; None: neither."""

    @property
    def protocol(self) -> dict[str, Any]:
        """How it was measured."""


M = TypeVar("M", bound=Measured)


def keys(results: Iterable[Measured]) -> list[str]:
    """The names of all results, each once: likelihoods, then quality, then diversity, then others, speed last."""
    names = dict.fromkeys(result.key for result in results)
    return sorted(names, key=lambda name: next((i for i, kind in enumerate(ORDER) if _is(name, kind)), OTHERS))


def _is(metric: str, kind: str) -> bool:
    name = metric.rpartition("/")[2]
    return name == kind or name.startswith(f"{kind}_")


def newest(records: Sequence[Record]) -> list[Record]:
    """Of each metric the records of the newest step that it was measured at."""
    last: dict[str, float] = {}
    for record in records:
        last[record.key] = max(last.get(record.key, -1), _step(record))
    return [record for record in records if _step(record) == last[record.key]]


def chosen(records: Sequence[Record], metric: str) -> Record | None:
    """The record that stands for a metric: of the newest step, and there the first, which training itself measured."""
    return next((record for record in newest(records) if record.key == metric), None)


def _step(record: Record) -> float:
    step = record.protocol.get("step")
    return step if isinstance(step, int | float) else -1


def way(record: Record) -> dict[str, Any]:
    """How a record was measured: its protocol without what chance or the machine gives."""
    return {key: value for key, value in record.protocol.items() if key not in CHANCE}


def drawn(protocol: Mapping[str, Any]) -> dict[str, Any]:
    """How the model's samples were drawn; empty where the protocol does not say."""
    return {key: value for key, value in protocol.items() if _is_of(key, DRAWN)}


def is_condition(key: str) -> bool:
    """Whether a key of a protocol says what samples were conditioned on."""
    return _is_of(key, CONDITIONS)


def of_model(protocol: Mapping[str, Any]) -> dict[str, Any]:
    """Which weights were measured, and in which precision."""
    return {key: protocol[key] for key in MODEL if key in protocol}


def compared(protocol: Mapping[str, Any]) -> dict[str, Any]:
    """What two results of one metric must share to be laid side by side: see docs/metrics.md.

    That is all but chance and what belongs to the run: its weights and how its samples were drawn. Where time was
    taken the number of processes counts, too.
    """
    apart = {*CHANCE, *BESIDE, *MODEL} - ({"world_size"} if "hardware" in protocol else set())
    return {key: value for key, value in protocol.items() if key not in apart and not _is_of(key, DRAWN)}


@cache
def _is_of(key: str, kinds: tuple[str, ...]) -> bool:
    return any(key == kind or key.startswith(f"{kind}_") for kind in kinds)


def as_text(protocol: Mapping[str, Any]) -> str:
    """A part of a protocol as one text: the same for the same."""
    return json.dumps(protocol, sort_keys=True, default=str)
