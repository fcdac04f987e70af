"""Records that were written before they said themselves what they are, read as those that do."""

from collections.abc import Mapping
from typing import Any

from genmodels.evaluators.results import Record

LIKELIHOODS = ("bits_per_dim", "nll_nats", "elbo_nats")
LOWER = (*LIKELIHOODS[:2], "fid", "kid", "nearest_distance")  # the evaluators of that time, by how their names begin
HIGHER = ("elbo_nats", "inception_score", "precision", "recall", "density", "coverage", "samples_per_second")


def as_record(plain: Mapping[str, Any], config: Mapping[str, Any]) -> Record:
    """The record that a results.json holds, of a run with this config.

    One without `mode` is as old as such files: which values are better is told by its name, and a likelihood of a
    conditional model, which had the name of an unconditional one, is given the name that it has now.
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
