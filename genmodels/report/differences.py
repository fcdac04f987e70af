"""What tells a run from others: its settings, without its seed, places, and what only watches or measures."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from genmodels.config.roles import Role, without
from genmodels.run.run import Run

FRACTION = re.compile(r"-?\d+\.\d+(e[+-]?\d+)?")
BESIDE = (Role.REPEATS, Role.PLACE, Role.WATCHES, Role.MEASURES, Role.ABOUT)


def settings(run: Run) -> dict[str, Any]:
    """The config without its seed, without places, and without what only watches or measures."""
    return without(run.config, *BESIDE)


def differences(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """For each run what tells it from others on its dataset: what its sweep set, or its model, where there are several,
    and the keys in which runs of its model differ."""
    flat = [dict(_dotted(settings(run))) for run in runs]
    kinds: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for run, keys_of in zip(runs, flat, strict=True):
        kinds.setdefault((run.dataset, run.model), []).append(keys_of)
    varying = {kind: _varying(members) for kind, members in kinds.items()}
    models = Counter(dataset for dataset, _ in kinds)
    named = [{"model": run.model} if models[run.dataset] > 1 else {} for run in runs]
    return [
        _set_by_sweep(run) or {**name, **_part(keys_of, varying[run.dataset, run.model])}
        for run, name, keys_of in zip(runs, named, flat, strict=True)
    ]


def _set_by_sweep(run: Run) -> dict[str, Any]:
    pairs = (word.partition("=") for word in run.overrides)
    return {key.lstrip("+~"): text for key, _, text in pairs if key != "seed"}


def _varying(members: Sequence[dict[str, Any]]) -> list[str]:
    """The keys that have not the same value in all; of those of one name that always agree only the first."""
    columns = {key: [member.get(key, ...) for member in members] for member in members for key in member}
    found: list[str] = []
    for key, column in columns.items():
        same = any(_name(key) == _name(other) and column == columns[other] for other in found)
        if not same and any(v != column[0] for v in column):
            found.append(key)
    return found


def _name(key: str) -> str:
    return key.rpartition(".")[2]


def _part(keys_of: dict[str, Any], varying: Sequence[str]) -> dict[str, Any]:
    return {key: keys_of[key] for key in varying if key in keys_of and key != "name"}


def _dotted(node: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The values of a config with their keys in full; a list is a value."""
    for key, child in node.items():
        if isinstance(child, dict):
            yield from _dotted(child, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", child


def short(key: str, others: Iterable[str]) -> str:
    """The end of a dotted key that none of the others has: "lr" for "optimizer.lr"."""
    parts = key.split(".")
    ends = [".".join(parts[-n:]) for n in range(1, len(parts))]
    others = {other for other in others if other != key}
    return next((end for end in ends if not any(f".{other}".endswith(f".{end}") for other in others)), key)


def labels(told: Sequence[dict[str, Any]]) -> list[list[str]]:
    """What `differences` gives as words, each key as short as it can be: ["lr=0.001", "width=8"]."""
    names = {key: short(key, {key for keys_of in told for key in keys_of}) for keys_of in told for key in keys_of}
    return [[f"{names[key]}={_text(v)}" for key, v in keys_of.items()] for keys_of in told]


def _text(v: Any) -> str:
    """A value as a person writes it, a fraction to six digits, also where a sweep tells it as text."""
    if isinstance(v, str) and FRACTION.fullmatch(v):
        v = float(v)
    return "null" if v is None else f"{v:.6g}" if isinstance(v, float) else str(v)
