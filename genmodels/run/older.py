"""Reads records of earlier versions, which lack `mode` and have other names for conditional likelihoods."""

from collections.abc import Mapping
from typing import Any

from genmodels.evaluators.results import Record

LIKELIHOODS = ("bits_per_dim", "nll_nats", "elbo_nats")
LOWER = (*LIKELIHOODS[:2], "fid", "kid", "nearest_distance")  # beginnings of the metric names of that time
HIGHER = ("elbo_nats", "inception_score", "precision", "recall", "density", "coverage", "samples_per_second")


def as_record(plain: Mapping[str, Any], config: Mapping[str, Any]) -> Record:
    """The record of an entry in results.json, for a run with this config.

    An entry without `mode` is from an earlier version: its name decides which values are better, and a likelihood of a
    conditional model, which had the name of an unconditional one, gets its present name.
    """
    return Record.from_dict(dict(plain) if "mode" in plain else _renewed(dict(plain), config.get("model")))


def _renewed(plain: dict[str, Any], model: Any) -> dict[str, Any]:
    name = plain["metric"]
    mode = "max" if _begins(name, HIGHER) else "min" if _begins(name, LOWER) else None
    if name in LIKELIHOODS and isinstance(model, Mapping) and model.get("conditional") is True:
        conditional = {"metric": f"conditional_{name}", "protocol": {**plain["protocol"], "conditional_on": ["label"]}}
        return {**plain, **conditional, "mode": mode}
    return {**plain, "mode": mode}


def _begins(name: str, kinds: tuple[str, ...]) -> bool:
    return any(name == kind or name.startswith(f"{kind}_") for kind in kinds)
