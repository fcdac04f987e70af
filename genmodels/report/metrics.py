"""What a result's name and protocol say: what it may be compared with, how it was sampled, and its place in tables."""

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from genmodels.evaluators.results import Record

ORDER = (
    *("bits_per_dim", "nll_nats", "elbo_nats"),
    *("conditional_bits_per_dim", "conditional_nll_nats", "conditional_elbo_nats"),
    *("fid", "kid", "inception_score", "precision", "density", "recall", "coverage"),
    "samples_per_second",
)
CHANCE = ("seed", "noise", "standard_error", "world_size", "step")  # keys of a protocol that say nothing of the method
FOUND = (  # keys of a protocol that were measured with the number, or change it by chance only
    *("note", "seeded", "subset_seed"),
    *("features_accuracy", "features_weights", "distance_within_reference"),
)
MODEL = ("weights", "dtype")  # keys of a protocol: which weights of a run were measured, in which precision
SAMPLED_BY = ("sampler",)  # beginnings of keys: how samples were drawn
DRAWN = (*SAMPLED_BY, "labels", "conditions")  # the same, and what samples were conditioned on
BOUND = ("bound", "draws", "dequantization", "first_stage")  # beginnings of keys: which bound a likelihood is


def in_order(metrics: Iterable[str]) -> list[str]:
    """Names of metrics, each once: likelihoods, then quality, then diversity, then speed, then others."""
    names = list(dict.fromkeys(metrics))
    return list(dict.fromkeys([*of_kinds(names, ORDER), *names]))


def of_kinds(metrics: Iterable[str], kinds: Sequence[str]) -> list[str]:
    """The metrics of these kinds, such as "fid", in the order of the kinds, each once."""
    return list(dict.fromkeys(name for kind in kinds for name in metrics if _is_of(name, (kind,))))


def newest(records: Sequence[Record]) -> list[Record]:
    """The records of each metric at the newest step at which it was measured."""
    last: dict[str, float] = {}
    for record in records:
        last[record.key] = max(last.get(record.key, -1), _step(record))
    return [record for record in records if _step(record) == last[record.key]]


def _step(record: Record) -> float:
    step = record.protocol.get("step")
    return step if isinstance(step, int | float) else -1


def without_chance(protocol: Mapping[str, Any]) -> dict[str, Any]:
    """The protocol without keys that depend on chance or the machine."""
    return {key: value for key, value in protocol.items() if key not in CHANCE}


def drawn(protocol: Mapping[str, Any]) -> dict[str, Any]:
    """How the model's samples were drawn; empty where the protocol does not say.

    A speed has no conditions here, since they take no time.
    """
    kinds = SAMPLED_BY if is_timed(protocol) else DRAWN
    return {key: value for key, value in protocol.items() if _is_of(key, kinds)}


def of_model(protocol: Mapping[str, Any]) -> dict[str, Any]:
    """Which weights were measured, in which precision."""
    return {key: protocol[key] for key in MODEL if key in protocol}


def compared(protocol: Mapping[str, Any]) -> dict[str, Any]:
    """What two results of one metric must share to be compared: see docs/metrics.md.

    That is everything except chance and what belongs to the run: its weights and how its samples were drawn. For a
    speed the number of processes counts, too.
    """
    apart = {*CHANCE, *FOUND, *MODEL} - ({"world_size"} if is_timed(protocol) else set())
    return {key: value for key, value in protocol.items() if key not in apart and not _is_of(key, DRAWN)}


def compared_but_bound(protocol: Mapping[str, Any]) -> dict[str, Any]:
    """The same without the kind of bound of a likelihood; for figures that show the bound beside each number."""
    return {key: value for key, value in compared(protocol).items() if not _is_of(key, BOUND)}


def is_timed(protocol: Mapping[str, Any]) -> bool:
    """Whether the result is a speed."""
    return "hardware" in protocol


def is_of_samples(protocol: Mapping[str, Any]) -> bool:
    """Whether samples were measured, which depend on the seed; a likelihood is over fixed data."""
    return "n_generated" in protocol


@cache
def _is_of(name: str, kinds: tuple[str, ...]) -> bool:
    """Whether a key of a protocol, or a metric with or without its split, begins with one of these words."""
    return any(f"{name.rpartition('/')[2]}_".startswith(f"{kind}_") for kind in kinds)


def canonical(plain: Any) -> str:
    """Plain containers as one text; equal containers have equal texts."""
    return json.dumps(plain, sort_keys=True, default=str)
